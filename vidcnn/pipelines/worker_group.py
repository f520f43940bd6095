"""The workers of a training run, as the driver sees them: Ray Train starts them, and again when they have failed.

How often is for the driver to decide (see `vidcnn.training.restarts`), as Ray Train counts failures and not what was
done between them.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import ray
from pyarrow.fs import FileSelector
from ray.exceptions import RayTaskError
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer

from vidcnn.cluster import Machine, is_attached, plan_resources
from vidcnn.cluster.ray_internals import without_idle_callbacks
from vidcnn.errors import RunInterruptedError, VidcnnError
from vidcnn.pipelines.loading import find_no_sample
from vidcnn.pipelines.meeting import LocalTorchConfig
from vidcnn.pipelines.status_actor import start_status_actor
from vidcnn.pipelines.train_worker import WorkerConfig, work
from vidcnn.pipelines.worker_crashes import describe_attempt, waited_in_vain
from vidcnn.reporting.live import ProgressDisplay
from vidcnn.storage.uris import open_filesystem
from vidcnn.training.plan import TrainingPlan
from vidcnn.training.progress import progress_line
from vidcnn.training.restarts import may_start_again, num_fruitless, pause_seconds
from vidcnn.training.state import RunState
from vidcnn.video.stopwatch import Confined, weakest

_RAY_DIRECTORY = ".ray"
"""Folder of a run in which Ray Train keeps its own records while it runs."""

_COLLECTIVE_TIMEOUT_SECONDS = 600
_POLL_SECONDS = 0.2
_CHECK_SECONDS = 5.0

_STOP_SECONDS = 10.0
"""Time that workers have to save a run that is interrupted."""


class WorkerGroup:
    """The workers of a run, as the driver sees them.

    Args:
        plan: The job.
        machine: What there is to run on.
        num_workers: Processes that train together.
        device: ``cuda`` or ``cpu``.
        newest_step: Returns the step of the run's newest checkpoint, 0 where there is none.

    Attributes:
        state: How far they were when they were last heard of.
        first_step: Steps that were done when they began.
        confined: What confined the processes that read videos, as far as that was heard of.
    """

    def __init__(
        self, plan: TrainingPlan, machine: Machine, num_workers: int, device: str, newest_step: Callable[[], int]
    ) -> None:
        self._plan = plan
        self.state: RunState | None = None
        self.first_step = 0
        self.confined: Confined = ()
        self._num_workers, self._device, self._newest_step = num_workers, device, newest_step
        resources = plan_resources(
            machine,
            use_gpus=device == "cuda",
            actors=(num_workers, num_workers),
            num_decoders=plan.spec.decoders,
            actors_option="--workers",
        )
        self._worker_cpus = resources.actor_cpus
        self._status_actor = start_status_actor()
        self._data = ray.put(plan.data)
        look = ray.remote(find_no_sample).options(num_cpus=0, max_retries=1)
        self._looking = look.remote(self._data, resources.decoders_yield)
        self._job = WorkerConfig(
            bundle=[ray.put(plan.bundle)],
            data=[self._data],
            recipe=plan.recipe,
            run=plan.run,
            resources=resources,
            status_actor=self._status_actor,
        )
        self._storage, root = open_filesystem(plan.run.mirror or str(plan.run.directory))
        self._records = f"{root}/{_RAY_DIRECTORY}"
        self._own_records: list[str] = []

    def describe(self) -> tuple[float, str]:
        """Return how far the run is."""
        if self.state is None:
            return 0.0, "starting"
        return self.state.step / self._plan.recipe.num_steps, progress_line(self._plan, self.state)

    def run(self, display: ProgressDisplay, check: Callable[[], None]) -> None:
        """Let the workers train, and show how far they are.

        Args:
            display: Is kept up to date.
            check: Is called now and then, and raises an error if the workers must stop.

        Raises:
            VidcnnError: They gave up, or `check` raised it.
            RunInterruptedError: The user interrupted them; they saved what they had, if they could do it in time.
        """
        self._check_samples()
        saved = [self._newest_step()]
        fitting: _Fitting | None = None
        try:
            while True:
                fitting = _Fitting(self._trainer())
                fitting.start()
                self._watch(fitting, display, check)
                if waited_in_vain(fitting.error):
                    continue
                saved.append(self._newest_step())
                if fitting.error is None and saved[-1] >= self._plan.recipe.num_steps:
                    return
                if not may_start_again(saved):
                    raise _gave_up(fitting.error, saved) from fitting.error
                time.sleep(pause_seconds(saved))
        except KeyboardInterrupt:
            outcome = self._stop(fitting)
            self._remove_records()
            raise RunInterruptedError("interrupted", outcome) from None

    def _watch(self, fitting: _Fitting, display: ProgressDisplay, check: Callable[[], None]) -> None:
        """Show how far an attempt is, until it has ended."""
        checked = time.monotonic()
        while not fitting.ended.wait(_POLL_SECONDS):
            if time.monotonic() - checked > _CHECK_SECONDS:
                check()
                checked = time.monotonic()
            self._read_status()
            display.update()
        failure = self._read_status()
        self._remove_records()
        if failure is not None:
            raise failure

    def _trainer(self) -> TorchTrainer:
        """Prepare an attempt, which continues from the newest checkpoint."""
        use_gpu = self._device == "cuda"
        name = f"{os.getpid()}-{time.time_ns()}"  # under a name that it knows, Ray would continue by itself
        self._own_records.append(f"{self._records}/{name}")
        config = TorchConfig if is_attached() else LocalTorchConfig
        trainer: TorchTrainer = without_idle_callbacks(TorchTrainer)(
            work,
            train_loop_config={"job": self._job},
            torch_config=config(backend="nccl" if use_gpu else "gloo", timeout_s=_COLLECTIVE_TIMEOUT_SECONDS),
            scaling_config=ScalingConfig(
                num_workers=self._num_workers,
                use_gpu=use_gpu,
                placement_strategy="PACK" if use_gpu else "SPREAD",  # processors are better not shared
                resources_per_worker={"CPU": self._worker_cpus} | ({"GPU": 1} if use_gpu else {}),
            ),
            run_config=RunConfig(
                name=name,
                storage_path=self._records,
                storage_filesystem=self._storage,
                failure_config=FailureConfig(max_failures=0, controller_failure_limit=0),  # type: ignore[call-arg]
            ),
        )
        return trainer

    def _check_samples(self) -> None:
        """Raise before the workers start, which takes a while, if there is nothing to train on."""
        try:
            failure, confined = ray.get(self._looking)
        except RayTaskError as error:
            raise error.cause if isinstance(error.cause, VidcnnError) else error from None
        self.confined = weakest(self.confined, confined)
        if failure is not None:
            raise failure

    def _stop(self, fitting: _Fitting | None) -> str:
        """Let the workers save the run, and return what becomes of it."""
        deadline = time.monotonic() + _STOP_SECONDS
        is_over = fitting is None
        while fitting is not None and not is_over:
            self._status_actor.stop.remote()  # again each time: one that was lost starts empty
            is_over = fitting.ended.wait(_POLL_SECONDS) or time.monotonic() > deadline
            self._read_status()
            if self.state is None:
                break  # they have not begun, and have nothing to save
            if self.state.phase in ("stopped", "done"):
                return f"step {self.state.step} is saved, and the same command continues from there"
        return "the run continues from its last checkpoint with the same command"

    def _remove_records(self) -> None:
        """Remove what Ray Train wrote for this process; another run that took the directory over has its own there."""
        while self._own_records:
            with suppress(OSError):
                self._storage.delete_dir(self._own_records.pop())
        with suppress(OSError):
            if not self._storage.get_file_info(FileSelector(self._records)):
                self._storage.delete_dir(self._records)

    def _read_status(self) -> VidcnnError | None:
        """Take in how far the workers are, and return why they cannot continue."""
        state: RunState | None
        failure: VidcnnError | None
        confined: Confined
        state, failure, confined = ray.get(self._status_actor.read.remote())
        self.confined = weakest(self.confined, confined)
        if self.state is None and state is not None:
            self.first_step = state.first_step
        self.state = state or self.state
        return failure


def _gave_up(error: BaseException | None, saved: Sequence[int]) -> VidcnnError:
    """Return why workers are not started again."""
    since = f"after step {saved[-1]}" if saved[-1] else "before the first checkpoint"
    return VidcnnError(
        f"training failed {num_fruitless(saved)} times {since}: {describe_attempt(error)}",
        "the last checkpoint is whole, and the same command continues; --debug shows more",
    )


class _Fitting(threading.Thread):
    """Lets Ray Train work; the main thread stays free for signals, and need not wait for this one."""

    def __init__(self, trainer: TorchTrainer) -> None:
        super().__init__(daemon=True)
        self._trainer = trainer
        self.error: BaseException | None = None
        self.ended = threading.Event()  # a thread whose `join` is interrupted passes for one that has ended

    def run(self) -> None:
        try:
            self._trainer.fit()
        except BaseException as error:
            self.error = error
        finally:
            self.ended.set()
