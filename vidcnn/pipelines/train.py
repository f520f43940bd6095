"""Train on Ray: workers that train together, and tasks that load their clips anywhere in the cluster.

Ray Train starts the workers and starts them again when one dies; each then continues from the run's newest checkpoint.
What they do is in `vidcnn.training`.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from vidcnn.annotations import Annotations
from vidcnn.cluster import Machine, is_attached, open_ray, prepare_environment
from vidcnn.config import TrainSpec
from vidcnn.errors import UsageError, VidcnnError
from vidcnn.interrupts import background, interruptible
from vidcnn.pipelines.hardware import ask_there
from vidcnn.reporting.confined import confinement_json
from vidcnn.reporting.live import LiveLine, ProgressDisplay, say
from vidcnn.training.data import flip_rule, read_data
from vidcnn.training.record import check_record
from vidcnn.training.report import TrainReport
from vidcnn.training.run_directory import RunDirectory, hold_run
from vidcnn.training.state import CHECKPOINTS
from vidcnn.version import __version__
from vidcnn.video.stopwatch import Confined

if TYPE_CHECKING:
    from vidcnn.pipelines.worker_group import WorkerGroup
    from vidcnn.training.checkpoints import CheckpointStore
    from vidcnn.training.plan import TrainingPlan
    from vidcnn.training.state import RunState


def run_training(
    spec: TrainSpec, *, show_progress: bool = True, announce: Callable[[TrainingPlan], None] = lambda plan: None
) -> TrainReport:
    """Train on a Ray of its own, or on that of the cluster whose job this is, from where the run stopped.

    Args:
        spec: The job.
        show_progress: Whether to show on stderr how far the run is.
        announce: Is called with what will be done, before anything is started.

    Raises:
        VidcnnError: The job cannot be done, or was interrupted.
    """
    began = time.monotonic()
    with ExitStack() as stack:
        stack.enter_context(interruptible("the run continues from its last checkpoint with the same command"))
        stack.enter_context(LiveLine(enabled=show_progress)).begin("starting: reading the data and the model")
        annotations = read_data(spec)
        flip_rule(spec, annotations.labels)  # what the labels alone forbid is an error before anything is loaded
        assert spec.out is not None, "`read_data` has seen to it"
        run_directory = stack.enter_context(hold_run(spec.out))
        groups: list[WorkerGroup] = []
        ray_opened = open_ray(
            use_gpus=spec.device != "cpu", has_begun=lambda: any(group.state is not None for group in groups)
        )
        start_ray = partial(stack.enter_context, ray_opened)
        machine: Machine | None
        if is_attached():
            machine = start_ray()
            plan, num_workers, device = _plan(spec, annotations, run_directory, int(machine.num_gpus))
        else:
            is_new = not (run_directory.directory / "bundle").exists()
            with background() as pool:
                planning = pool.submit(_plan, spec, annotations, run_directory)
                if is_new:  # torch and Ray Train load while Ray's processes start
                    prepare_environment()
                    pool.submit(importlib.import_module, "vidcnn.pipelines.worker_group")
                machine = start_ray() if is_new else None
                plan, num_workers, device = planning.result()
        check_record(run_directory.directory, plan.record, has_begun=run_directory.newest_step() > 0)
        run_directory.push()
        announce(plan)
        from vidcnn.training.checkpoints import CheckpointStore

        store = CheckpointStore(run_directory.directory / CHECKPOINTS, plan.run.num_best)
        state: RunState | None = None
        num_steps_done = 0
        confined: Confined = ()
        if not _is_done(store, plan.recipe.num_steps):
            from vidcnn.pipelines.worker_group import WorkerGroup

            group = WorkerGroup(plan, machine or start_ray(), num_workers, device, run_directory.newest_step)
            groups.append(group)
            try:
                with ProgressDisplay(group.describe, enabled=show_progress) as display:
                    group.run(display, run_directory.check)
                run_directory.pull()
            finally:
                _note_run(run_directory, group, time.monotonic() - began)
            state, confined = group.state, group.confined
            num_steps_done = plan.recipe.num_steps - group.first_step
        return _report(plan, run_directory, store, num_steps_done, time.monotonic() - began, state, confined)


def _is_done(store: CheckpointStore, num_steps: int) -> bool:
    """Return whether a checkpoint of the last step can be read; those of other steps are left to the workers."""
    checkpoints = store.list()
    if not checkpoints or checkpoints[-1].step < num_steps:
        return False
    newest = store.load_newest()
    return newest is not None and newest[0].step >= num_steps


def _plan(
    spec: TrainSpec, annotations: Annotations, run_directory: RunDirectory, num_gpus: int | None = None
) -> tuple[TrainingPlan, int, str]:
    """Work out the job, and how many workers train on what.

    Args:
        spec: The job.
        annotations: Its data.
        run_directory: Where the run goes.
        num_gpus: GPUs that there are; None looks for those of this machine.
    """
    from vidcnn.training.plan import plan_training

    num_workers, device = _workers(spec, num_gpus)
    precision = spec.precision if spec.precision != "auto" else ask_there(_fastest_precision, device, device=device)
    plan = plan_training(spec, annotations, run_directory.directory, num_workers=num_workers, precision=precision)
    plan = replace(plan, run=replace(plan.run, lease=run_directory.lease))
    return plan, num_workers, device


def _workers(spec: TrainSpec, num_gpus: int | None) -> tuple[int, str]:
    """Return how many workers train, and on what."""
    if spec.device == "cpu":
        num_gpus = 0
    elif num_gpus is None:
        import torch

        num_gpus = torch.cuda.device_count()
    device = "cuda" if num_gpus or spec.device == "cuda" else "cpu"
    if device == "cuda" and (spec.workers or 1) > num_gpus:
        raise UsageError(
            f"{spec.workers or 1} workers on GPUs do not fit on {num_gpus} GPUs", "lower --workers, or use --device cpu"
        )
    num_workers = spec.workers or (num_gpus if device == "cuda" else 1)
    if spec.sync_bn and device == "cpu":
        raise UsageError("batch statistics can be taken over GPUs only", "leave --sync-bn out")
    return num_workers, device


def _fastest_precision(device: str) -> Any:
    from vidcnn.inference.devices import fastest_precision, resolve_device

    return fastest_precision(resolve_device(device))


def _note_run(run_directory: RunDirectory, group: WorkerGroup, seconds: float) -> None:
    """Note what this command did, however it ended; that it cannot be noted changes nothing about how."""
    from vidcnn.training.journal import note_run

    if group.state is None:
        return
    try:
        run_directory.check()
        note_run(
            run_directory.directory,
            group.state.step,
            version=__version__,
            seconds=round(seconds, 3),
            confinement=confinement_json(dict(group.confined)),
        )
    except VidcnnError as error:
        say(f"vidcnn: what this command did is not noted: {error.message}")


def _report(
    plan: TrainingPlan,
    run_directory: RunDirectory,
    store: CheckpointStore,
    num_steps_done: int,
    seconds: float,
    state: RunState | None,
    confined: Confined,
) -> TrainReport:
    """Write the bundle of the best weights, and return how the run ended."""
    from vidcnn.inference.golden import with_golden
    from vidcnn.training.journal import read_journal
    from vidcnn.training.result import trained_bundle

    found = store.load_best()
    assert found is not None
    best, weights = found
    notes = [note for note in read_journal(run_directory.directory) if note["kind"] == "validation"]
    reached: dict[str, Any] = next((note for note in reversed(notes) if note["step"] == best.step), {})
    validation = {name: value for name, value in reached.items() if name not in ("kind", "step")}
    failure: VidcnnError | None = None
    try:
        with_golden(trained_bundle(plan.bundle, weights, validation)).save(run_directory.directory / "bundle")
        run_directory.push()
    except VidcnnError as error:  # what was reached is reported all the same
        hint = "the checkpoints are whole: the same command writes the bundle, without training again"
        failure = type(error)(error.message, f"{error.hint}; {hint}" if error.hint else hint)
    return TrainReport(
        plan=plan,
        directory=run_directory.shown,
        best_step=best.step,
        validation=validation,
        num_steps_done=num_steps_done,
        seconds=seconds,
        state=state,
        failure=failure,
        confinement=dict(confined),
    )
