"""Train on Ray: workers that train together, and tasks that load their clips anywhere in the cluster.

Ray Train starts the workers and starts them again when one dies; each then goes on from the run's newest checkpoint.
What they do is in `vidcnn.training`.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import ray
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer

from vidcnn import __version__
from vidcnn.annotations import Annotations
from vidcnn.cluster import Machine, local_ray, share_resources
from vidcnn.config import TrainSpec
from vidcnn.errors import OutputError, SettingsDifferError, UsageError, VidcnnError
from vidcnn.interrupts import interruptible
from vidcnn.pipelines.loading import RayLoader
from vidcnn.pipelines.train_worker import Board, Job, work
from vidcnn.predictions import lock
from vidcnn.progress import ProgressDisplay
from vidcnn.training.checkpoints import CheckpointStore, write_whole
from vidcnn.training.journal import read_journal
from vidcnn.training.plan import TrainingPlan, check_early, plan_training, read_data, run_directory
from vidcnn.training.progress import progress_line
from vidcnn.training.result import trained_bundle
from vidcnn.training.run import RunState

_MAX_FAILURES = 3
"""How often workers are started again in one run of the command."""

_RAY_DIRECTORY = ".ray"
"""Folder of a run in which Ray Train keeps its own records while it runs."""

_COLLECTIVE_TIMEOUT_SECONDS = 600
_POLL_SECONDS = 0.2


@dataclass(frozen=True)
class TrainReport:
    """How a training run ended.

    Attributes:
        plan: The job.
        bundle: Directory of the model bundle.
        best_step: Step of the weights that are in it.
        validation: What they reached, by name; empty where nothing was validated.
        num_steps_done: Steps that this command did.
        seconds: Time that this command took.
        state: How far the run was when it was last heard of.
    """

    plan: TrainingPlan
    bundle: Path
    best_step: int
    validation: dict[str, Any]
    num_steps_done: int
    seconds: float
    state: RunState | None


def run_training(
    spec: TrainSpec, *, show_progress: bool = True, announce: Callable[[TrainingPlan], None] = lambda plan: None
) -> TrainReport:
    """Train on an embedded Ray, from where the run directory says that it stopped.

    Args:
        spec: The job.
        show_progress: Whether to show on stderr how far the run is.
        announce: Is told what is going to be done, before anything is started.

    Raises:
        VidcnnError: The job cannot be done, or was interrupted.
    """
    began = time.monotonic()
    with ExitStack() as stack:
        stack.enter_context(interruptible("the run goes on from its last checkpoint with the same command"))
        annotations = read_data(spec)
        check_early(spec, annotations)
        directory = stack.enter_context(_hold(run_directory(spec)))
        start_ray = partial(stack.enter_context, local_ray(num_gpus=0 if spec.device == "cpu" else None))
        with ThreadPoolExecutor(1) as pool:  # torch loads as long as Ray's processes start
            planning = pool.submit(_plan, spec, annotations)
            machine = start_ray() if not (directory / "bundle").exists() else None
            plan, num_workers, device = planning.result()
        _check_record(directory, plan.record)
        announce(plan)
        store = CheckpointStore(plan.run.directory / "checkpoints", plan.run.num_best)
        newest = store.load_newest()
        first_step = 0 if newest is None else newest[0].step
        del newest
        state = None
        if first_step < plan.recipe.num_steps:
            crew = _Crew(plan, machine or start_ray(), num_workers, device)
            with ProgressDisplay(crew.describe, enabled=show_progress) as display:
                crew.run(display)
            state = crew.state
        return _report(plan, store, first_step, time.monotonic() - began, state)


def _plan(spec: TrainSpec, annotations: Annotations) -> tuple[TrainingPlan, int, str]:
    """Work out the job, and how many workers train on what."""
    num_workers, device = _workers(spec)
    plan = plan_training(spec, annotations, num_workers=num_workers, precision=_precision(spec, device))
    return plan, num_workers, device


def _workers(spec: TrainSpec) -> tuple[int, str]:
    """Return how many workers train, and on what."""
    import torch

    num_gpus = 0 if spec.device == "cpu" else torch.cuda.device_count()
    device = "cuda" if num_gpus or spec.device == "cuda" else "cpu"
    if device == "cuda" and (spec.workers or 1) > num_gpus:
        raise UsageError(
            f"{spec.workers or 1} workers on GPUs do not fit on {num_gpus} GPUs", "lower --workers, or use --device cpu"
        )
    num_workers = spec.workers or (num_gpus if device == "cuda" else 1)
    if spec.sync_bn and device == "cpu":
        raise UsageError("batch statistics can be taken over GPUs only", "leave --sync-bn out")
    return num_workers, device


def _precision(spec: TrainSpec, device: str) -> Any:
    if spec.precision != "auto":
        return spec.precision
    from vidcnn.network import has_bf16, resolve_device

    return "bf16" if has_bf16(resolve_device(device)) else "fp32"


class _Crew:
    """The workers of a run, as the driver sees them.

    Attributes:
        state: How far they were when they were last heard of.
    """

    def __init__(self, plan: TrainingPlan, machine: Machine, num_workers: int, device: str) -> None:
        self._plan = plan
        self.state: RunState | None = None
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
        self._warm = RayLoader.warm_up(job.data, shares)
        self._trainer = TorchTrainer(
            work,
            train_loop_config={"job": job},
            torch_config=TorchConfig(
                backend="nccl" if device == "cuda" else "gloo", timeout_s=_COLLECTIVE_TIMEOUT_SECONDS
            ),
            scaling_config=ScalingConfig(
                num_workers=num_workers,
                use_gpu=device == "cuda",
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
            self.state, failure = ray.get(self._board.read.remote())
            display.update()
        self.state, failure = ray.get(self._board.read.remote())
        shutil.rmtree(self._plan.run.directory / _RAY_DIRECTORY, ignore_errors=True)
        if failure is not None:
            raise failure
        if fitting.error is not None:
            error = fitting.error
            text = " ".join(str(error).split())[:300] or type(error).__name__
            hint = "the last checkpoint is whole, and the same command goes on; --debug shows more"
            raise VidcnnError(f"training failed: {text}", hint) from error


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


def _report(
    plan: TrainingPlan, store: CheckpointStore, first_step: int, seconds: float, state: RunState | None
) -> TrainReport:
    """Write the bundle of the best weights, and say how the run ended."""
    found = store.load_best()
    assert found is not None
    best, weights = found
    notes = [note for note in read_journal(plan.run.directory) if note["kind"] == "validation"]
    reached: dict[str, Any] = next((note for note in reversed(notes) if note["step"] == best.step), {})
    validation = {name: value for name, value in reached.items() if name not in ("kind", "step")}
    directory = plan.run.directory / "bundle"
    trained_bundle(plan.bundle, weights, validation).save(directory)
    return TrainReport(
        plan=plan,
        bundle=directory,
        best_step=best.step,
        validation=validation,
        num_steps_done=plan.recipe.num_steps - first_step,
        seconds=seconds,
        state=state,
    )


@contextmanager
def _hold(directory: Path) -> Iterator[Path]:
    """Keep other runs out of a run directory."""
    try:
        held = lock.acquire(str(directory), str(directory))
    except OSError as error:
        raise OutputError(f"cannot write to '{directory}': {error.strerror}", "choose another --out") from error
    try:
        yield directory
    finally:
        lock.release(str(directory), held)


def _check_record(directory: Path, record: dict[str, Any]) -> None:
    """Refuse to continue a run with other settings; note those of a new one."""
    path = directory / "run.json"
    try:
        recorded = json.loads(path.read_text())["settings"]
    except FileNotFoundError:
        strange = [entry.name for entry in directory.iterdir() if entry.name not in ("lock", f".{path.name}.part")]
        if strange:
            raise OutputError(
                f"'{directory}' holds {strange[0]} and is not a training run", "choose another --out"
            ) from None
        write_whole(path, json.dumps({"vidcnn": __version__, "settings": record}, indent=2).encode() + b"\n")
        return
    except (OSError, ValueError, KeyError) as error:
        raise OutputError(f"{path} cannot be read ({error})", "choose another --out") from error
    record = json.loads(json.dumps(record))
    defaults = TrainSpec().model_dump()  # of a setting that was not there when the run was begun
    for name in sorted(recorded.keys() | record.keys()):
        before, now = (settings.get(name, defaults.get(name)) for settings in (recorded, record))
        if before == now:
            continue
        if name == "data_sha256":
            raise SettingsDifferError(
                f"the videos or their labels are not those that '{directory}' was begun with",
                "restore them, or choose another --out",
            )
        raise SettingsDifferError(
            f"'{directory}' was begun with other settings: {name} was {json.dumps(before)}, now {json.dumps(now)}",
            "restore the setting to go on with the run, or choose another --out",
        )
