"""The workers of a training run, as the driver sees them: Ray Train starts them, and starts them again."""

from __future__ import annotations

import os
import shutil
import threading
import time

import ray
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer

from vidcnn.cluster import Machine, share_resources
from vidcnn.errors import VidcnnError
from vidcnn.pipelines.train_worker import Board, Job, work
from vidcnn.progress import ProgressDisplay
from vidcnn.training.plan import TrainingPlan
from vidcnn.training.progress import progress_line
from vidcnn.training.state import RunState

_MAX_FAILURES = 3
"""How often workers are started again in one run of the command."""

_RAY_DIRECTORY = ".ray"
"""Folder of a run in which Ray Train keeps its own records while it runs."""

_COLLECTIVE_TIMEOUT_SECONDS = 600
_POLL_SECONDS = 0.2


class Crew:
    """The workers of a run, as the driver sees them.

    Attributes:
        state: How far they were when they were last heard of.
        first_step: Steps that were done when they began.
    """

    def __init__(self, plan: TrainingPlan, machine: Machine, num_workers: int, device: str) -> None:
        self._plan = plan
        self.state: RunState | None = None
        self.first_step = 0
        shares = share_resources(
            machine, use_gpus=device == "cuda", actors=(num_workers, num_workers), num_decoders=plan.spec.decoders
        )
        self._board = Board.options(num_cpus=0).remote()  # type: ignore[attr-defined]
        job = Job(
            bundle=[ray.put(plan.bundle)],
            data=[ray.put(plan.data)],
            recipe=plan.recipe,
            run=plan.run,
            shares=shares,
            board=self._board,
        )
        self._trainer = TorchTrainer(
            work,
            train_loop_config={"job": job},
            torch_config=TorchConfig(
                backend="nccl" if device == "cuda" else "gloo", timeout_s=_COLLECTIVE_TIMEOUT_SECONDS
            ),
            scaling_config=ScalingConfig(
                num_workers=num_workers,
                use_gpu=device == "cuda",
                placement_strategy="PACK" if device == "cuda" else "SPREAD",  # processors are better not shared
                resources_per_worker={"CPU": shares.actor_cpus} | ({"GPU": 1} if device == "cuda" else {}),
            ),
            run_config=RunConfig(
                name=f"{os.getpid()}-{time.time_ns()}",  # under a name that it knows, Ray would go on by itself
                storage_path=str(plan.run.directory / _RAY_DIRECTORY),
                failure_config=FailureConfig(max_failures=_MAX_FAILURES),
            ),
        )

    def describe(self) -> tuple[float, str]:
        """Return how far the run is."""
        if self.state is None:
            return 0.0, "starting"
        return self.state.step / self._plan.recipe.num_steps, progress_line(self._plan, self.state)

    def run(self, display: ProgressDisplay) -> None:
        """Let the workers train, and show how far they are.

        Raises:
            VidcnnError: They gave up.
        """
        fitting = _Fitting(self._trainer)
        fitting.start()
        while fitting.is_alive():
            fitting.join(_POLL_SECONDS)
            failure = self._read_board()
            display.update()
        failure = self._read_board()
        shutil.rmtree(self._plan.run.directory / _RAY_DIRECTORY, ignore_errors=True)
        if failure is not None:
            raise failure
        if fitting.error is not None:
            error = fitting.error
            text = " ".join(str(error).split())[:300] or type(error).__name__
            hint = "the last checkpoint is whole, and the same command goes on; --debug shows more"
            raise VidcnnError(f"training failed: {text}", hint) from error

    def _read_board(self) -> VidcnnError | None:
        """Take in how far the workers are, and return why they cannot go on."""
        state: RunState | None
        failure: VidcnnError | None
        state, failure = ray.get(self._board.read.remote())
        if self.state is None and state is not None:
            self.first_step = state.first_step
        self.state = state
        return failure


class _Fitting(threading.Thread):
    """Lets Ray Train work; the main thread stays free for signals, and need not wait for this one."""

    def __init__(self, trainer: TorchTrainer) -> None:
        super().__init__(daemon=True)
        self._trainer = trainer
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self._trainer.fit()
        except BaseException as error:
            self.error = error
