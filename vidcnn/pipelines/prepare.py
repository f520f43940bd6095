"""What is settled before an inference job runs, is tried on a sample, or is only counted: the same way for all three.

`prepare` turns a spec into a `PreparedJob`: the model, the clips, what is committed, and what is left to do. Ray
starts when the first of the three needs it.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import cached_property, partial
from itertools import islice

from vidcnn.cluster import Machine, ResourcePlan, is_attached, open_ray, plan_resources
from vidcnn.cluster.this_machine import this_machine
from vidcnn.config import InferSpec, parse_pool
from vidcnn.errors import UsageError
from vidcnn.inference.job import InferenceJob
from vidcnn.inference.runtime import Runtime, choose_runtime
from vidcnn.interrupts import background, interruptible
from vidcnn.models.bundle import Bundle
from vidcnn.models.resolve import resolve_model
from vidcnn.pipelines.counting import estimate_clips
from vidcnn.pipelines.executors import MOST_VIDEOS, Executor, StageSettings, fits_in_process
from vidcnn.pipelines.hardware import ask_there, uses_gpus
from vidcnn.pipelines.pending import Pending, list_pending
from vidcnn.predictions.output import Output
from vidcnn.predictions.output_storage import OutputStorage
from vidcnn.scans.columns import check_kind
from vidcnn.sources import Listing
from vidcnn.storage.uris import is_remote, local_path
from vidcnn.streams import STDIN
from vidcnn.video.batching import frames_per_unit

_QUICK_FAILURE_SECONDS = 0.2
"""What is wrong with a model's name shows in less than this, and then Ray need not start."""


class PreparedJob:
    """A job whose output is open and whose source is being listed.

    Args:
        job: The spec with all that it names.
        output: Open for writing or reading.
        start_ray: Is called once, when processes are needed first.
        machine: What Ray runs on, if it was started already.
        stack: Ends the listing.
        needs_ray: Whether it cannot run in this process.

    Attributes:
        recorded: How the model ran when the output was written, so that rows do not depend on an interruption; None
            for a new output.
        pending: What is left to do.
        in_process: Whether it runs in this process, without Ray; known when `choose_executor` has chosen.
    """

    def __init__(
        self,
        job: InferenceJob,
        output: Output,
        start_ray: Callable[[], Machine],
        machine: Machine | None,
        stack: ExitStack,
        *,
        needs_ray: bool,
    ) -> None:
        self.job = job
        self.output = output
        self.recorded: Runtime | None = None
        if output.recorded_settings is not None:
            self.recorded = Runtime.from_settings(output.recorded_settings, job.spec)
            output.use_settings(job.settings(self.recorded))
        self.pending: Pending = stack.enter_context(list_pending(job.listing, output, job.spec.limit, job.spec.settle))
        self._start_ray = start_ray
        self._machine = machine
        self._needs_ray = needs_ray
        self.in_process = False

    @property
    def machine(self) -> Machine:
        """What the job runs on; Ray is started where `choose_executor` did not do without."""
        if self._machine is None:
            self._machine = self._start_ray()
        return self._machine

    def estimate_clips(self) -> int:
        """Return about how many clips are left to do of what is listed, from some of the videos and the size of all."""
        if self._needs_ray and self.pending.num_videos:
            _ = self.machine  # a cluster's own machines see the videos
        return estimate_clips(self.pending, self.job.plan)

    def choose_planner(self) -> tuple[Executor, ResourcePlan]:
        """Return what plans the videos, and how it shares the machine."""
        if self._needs_ray:
            return _ray_executor(), plan_resources(self.machine, use_gpus=False)
        return _this_process(), plan_resources(this_machine(use_gpus=False), use_gpus=False)

    def choose_executor(self, num_clips: int) -> Executor:
        """Return what runs the job: this process, where it is as fast as Ray is, or Ray.

        Args:
            num_clips: As for `choose_runtime`.
        """
        if not self._needs_ray:
            here = this_machine(use_gpus=self.job.spec.device != "cpu")
            if fits_in_process(self.job.spec, here, num_clips):
                self._machine, self.in_process = here, True
                return _this_process()
        _ = self.machine
        return _ray_executor()

    @cached_property
    def device(self) -> str:
        """What the model runs on: ``cpu`` or ``cuda``.

        Raises:
            UsageError: The user wants a GPU, and there is none.
        """
        return "cuda" if uses_gpus(self.job.spec.device, self.machine) else "cpu"

    def choose_runtime(self, num_clips: int) -> Runtime:
        """Return how the model is to run.

        Args:
            num_clips: Clips that are left to do, as far as that is known.
        """
        return self.recorded or ask_there(
            choose_runtime, self.job.bundle, self.job.spec, self.device, num_clips, device=self.device
        )

    @cached_property
    def batch_size(self) -> int:
        """Clips that the model takes at once."""
        from vidcnn.inference.batch_sizes import choose_batch_size

        return ask_there(choose_batch_size, self.job.bundle, self.device, self.job.spec.batch_size, device=self.device)

    def plan_resources(self, num_clips: int) -> ResourcePlan:
        """Return how the model and the decoders share the machine.

        Args:
            num_clips: As for `choose_runtime`.
        """
        spec = self.job.spec
        resources = plan_resources(
            self.machine,
            use_gpus=self.device == "cuda",
            actors=parse_pool(spec.actors) if spec.actors else None,
            num_decoders=spec.decoders,
            num_clips=num_clips,
        )
        return replace(resources, num_planners=1) if self.in_process else resources

    def stage_settings(self, runtime: Runtime, resources: ResourcePlan, num_clips: int = 0) -> StageSettings:
        """Return what the stages depend on.

        Args:
            runtime: How the model computes.
            resources: How the machine is shared.
            num_clips: As for `choose_runtime`.
        """
        job = self.job
        return StageSettings(
            plan=job.plan,
            decode=job.decode_settings(exact=runtime.precision == "exact", batch_size=self.batch_size),
            bundle=job.bundle,
            classifier={
                "device": self.device,
                "precision": runtime.precision,
                "compile": "on" if runtime.compiled else "off",
                "batch_size": self.batch_size,
                "num_threads": resources.actor_threads,
            },
            row_format=job.row_format,
            max_unit_frames=frames_per_unit(self.batch_size, num_clips, resources.num_decoders),
        )


@contextmanager
def prepare(
    spec: InferSpec,
    open_storage: Callable[[str], OutputStorage],
    *,
    hint: str,
    computes: bool,
    run_id: str | None = None,
    tell: Callable[[str], None] = lambda text: None,
    has_begun: Callable[[], bool] = lambda: False,
) -> Iterator[PreparedJob]:
    """Prepare an inference job.

    Args:
        spec: The job.
        open_storage: Opens the output for writing, or only for reading; before anything is started, so that a run which
            overlaps another ends at once.
        hint: What becomes of the work that is done where the block is interrupted.
        computes: Whether the model is going to run, on a GPU if there is one.
        run_id: The run's name, if it writes.
        tell: Prints what is being done.
        has_begun: Returns whether the block has made any headway.

    Raises:
        VidcnnError: The job cannot be done, or the block was interrupted.
    """
    with ExitStack() as stack:
        stack.enter_context(interruptible(hint))
        if STDIN in spec.source:
            tell("starting: reading the list on standard input")
        needs_ray = _needs_ray(spec)
        storage = open_storage(spec.out)
        stack.callback(storage.close)
        tell("starting: loading the model, and Ray" if needs_ray else "starting: loading the model")
        may_use_gpus = computes and spec.device != "cpu"
        start_ray = partial(stack.enter_context, open_ray(use_gpus=may_use_gpus, has_begun=has_begun))
        machine, bundle = _start_and_load(spec, start_ray if needs_ray else None, loads_torch=computes)
        job = InferenceJob(spec, bundle)
        output = stack.enter_context(_open_output(job, storage, run_id))
        tell("starting: listing the source")
        prepared = PreparedJob(job, output, start_ray, machine, stack, needs_ray=needs_ray)
        with background() as pool:
            if computes and prepared.pending.num_videos:  # takes as long as planning the first videos
                pool.submit(importlib.import_module, "vidcnn.inference.classifier")
            yield prepared


def _open_output(job: InferenceJob, storage: OutputStorage, run_id: str | None) -> Output:
    """Read what is committed in the storage of the output; errors that are done again count as not done."""
    output = Output.in_storage(storage, schema=job.schema, run_id=run_id)
    try:
        check_kind(output.recorded_settings, job.spec.out, is_scan=False)
        if job.spec.redo_errors is not None:
            output.redo_errors(job.spec.redo_kinds)
    except BaseException:
        output.close()
        raise
    return output


def _needs_ray(spec: InferSpec) -> bool:
    """Return whether a job is for Ray for sure. Looking at the source shows, too, whether there is any video at all.

    Raises:
        SourceError: A source on this machine does not exist, or has no video.
        UsageError: The job is that of a cluster, and is to run in a process.
    """
    listing = Listing(spec.source, where=spec.where, follow_links=spec.follow_links)
    if spec.in_process == "on" and is_attached():
        raise UsageError("--in-process on is for this machine, not for a cluster", "leave it out, or --cluster")
    wants_pool = spec.in_process == "auto" and (spec.actors is not None or spec.decoders is not None)
    if is_attached() or spec.in_process == "off" or wants_pool:
        if listing.is_local:
            next(iter(listing), None)
        return True
    num_videos = sum(1 for _ in islice(listing, 1 if spec.in_process == "on" else MOST_VIDEOS + 1))
    return num_videos > MOST_VIDEOS


def _this_process() -> Executor:
    from vidcnn.pipelines import in_process

    return in_process


def _ray_executor() -> Executor:
    from vidcnn.pipelines import dataset

    return dataset


def load_bundle(spec: InferSpec) -> Bundle:
    """Return the model that a spec means."""
    return resolve_model(spec.model, weights=spec.weights, labels=spec.labels, seed=spec.seed)


def _start_and_load(
    spec: InferSpec, start_ray: Callable[[], Machine] | None, *, loads_torch: bool
) -> tuple[Machine | None, Bundle]:
    """Load the model, and start Ray meanwhile where it is sure to be needed: for an output that is not there yet.

    Args:
        spec: The job.
        start_ray: Starts Ray; None where the job may run without.
        loads_torch: Whether torch is going to be needed.
    """
    if start_ray is None:
        return None, load_bundle(spec)
    with background() as pool:
        loading = pool.submit(load_bundle, spec)
        wait([loading], timeout=_QUICK_FAILURE_SECONDS)
        is_new = not is_remote(spec.out) and not os.path.exists(local_path(spec.out))
        fails = loading.done() and loading.exception() is not None
        if not is_new or fails:
            return None, loading.result()
        if loads_torch:  # takes as long as Ray's processes take to start
            pool.submit(importlib.import_module, "vidcnn.inference.classifier")
        return start_ray(), loading.result()
