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
from functools import cached_property, partial

import ray

from vidcnn.cluster import Machine, ResourcePlan, open_ray, plan_resources
from vidcnn.config import InferSpec, parse_pool
from vidcnn.inference.job import InferenceJob
from vidcnn.inference.runtime import Runtime, choose_runtime
from vidcnn.interrupts import background, interruptible
from vidcnn.models.bundle import Bundle
from vidcnn.models.resolve import resolve_model
from vidcnn.pipelines.dataset import StageSettings
from vidcnn.pipelines.hardware import ask_there, uses_gpus
from vidcnn.pipelines.pending import Pending, list_pending
from vidcnn.predictions.output import Output
from vidcnn.predictions.output_storage import OutputStorage
from vidcnn.sampling.segments import MAX_SEGMENT_FRAMES
from vidcnn.sources import Listing
from vidcnn.storage.uris import is_remote, local_path
from vidcnn.streams import STDIN

_QUICK_FAILURE_SECONDS = 0.2
"""What is wrong with a model's name shows in less than this, and then Ray need not start."""


class PreparedJob:
    """A job whose output is open and whose source is listed.

    Args:
        job: The job.
        output: Its output.
        start_ray: Starts Ray.
        machine: What Ray runs on, if it was started already.

    Attributes:
        recorded: How the model ran when the output was written, so that rows do not depend on an interruption; None
            for a new output.
        pending: What is left to do.
    """

    def __init__(
        self, job: InferenceJob, output: Output, start_ray: Callable[[], Machine], machine: Machine | None
    ) -> None:
        self.job = job
        self.output = output
        self.recorded: Runtime | None = None
        if output.recorded_settings is not None:
            self.recorded = Runtime.from_settings(output.recorded_settings, job.spec)
            output.use_settings(job.settings(self.recorded))
        self.pending: Pending = list_pending(job.listing, output, job.spec.limit, job.spec.settle)
        self._start_ray = start_ray
        self._machine = machine

    @cached_property
    def machine(self) -> Machine:
        """What Ray runs on; Ray is started where it was not."""
        return self._machine or self._start_ray()

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
        """Clips that go through the model at once."""
        from vidcnn.inference.classifier import choose_batch_size

        return ask_there(choose_batch_size, self.job.bundle, self.device, self.job.spec.batch_size, device=self.device)

    def plan_resources(self, num_clips: int) -> ResourcePlan:
        """Return how the model and the decoders share the machine.

        Args:
            num_clips: As for `choose_runtime`.
        """
        spec = self.job.spec
        return plan_resources(
            self.machine,
            use_gpus=self.device == "cuda",
            actors=parse_pool(spec.actors) if spec.actors else None,
            num_decoders=spec.decoders,
            num_clips=num_clips,
        )

    def stage_settings(self, runtime: Runtime, resources: ResourcePlan) -> StageSettings:
        """Return what the stages depend on; the model goes into Ray's object store."""
        job = self.job
        return StageSettings(
            plan=job.plan,
            decode=job.decode_settings(exact=runtime.precision == "exact", batch_size=self.batch_size),
            classifier={
                "bundle": ray.put(job.bundle),
                "device": self.device,
                "precision": runtime.precision,
                "compile": "on" if runtime.compiled else "off",
                "batch_size": self.batch_size,
                "num_threads": resources.actor_threads,
            },
            row_format=job.row_format,
            max_unit_frames=MAX_SEGMENT_FRAMES,
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
        open_storage: Takes hold of the output, or only looks at it; before anything is started, so that a run which
            overlaps another ends at once.
        hint: What becomes of the work that is done where the block is interrupted.
        computes: Whether the model is going to run, on a GPU if there is one.
        run_id: The run's name, if it writes.
        tell: Takes what is being done, in words for people.
        has_begun: Returns whether the block has made any headway.

    Raises:
        VidcnnError: The job cannot be done, or the block was interrupted.
    """
    with ExitStack() as stack:
        stack.enter_context(interruptible(hint))
        if STDIN in spec.source:
            tell("starting: reading the list on standard input")
        _check_source(Listing(spec.source))
        storage = open_storage(spec.out)
        stack.callback(storage.close)
        tell("starting: loading the model, and Ray")
        may_use_gpus = computes and spec.device != "cpu"
        start_ray = partial(stack.enter_context, open_ray(use_gpus=may_use_gpus, has_begun=has_begun))
        machine, bundle = _start_and_load(spec, start_ray, loads_torch=computes)
        job = InferenceJob(spec, bundle)
        output = stack.enter_context(_open_output(job, storage, run_id))
        tell("starting: listing the source")
        yield PreparedJob(job, output, start_ray, machine)


def _open_output(job: InferenceJob, storage: OutputStorage, run_id: str | None) -> Output:
    """Read what is committed in the storage of the output; errors that are done again count as not done."""
    output = Output.in_storage(storage, schema=job.schema, run_id=run_id)
    try:
        if job.spec.redo_errors is not None:
            output.redo_errors(job.spec.redo_kinds)
    except BaseException:
        output.close()
        raise
    return output


def _check_source(listing: Listing) -> None:
    """Raise for a source on this machine that has no video, before anything is loaded: its first video shows it.

    Raises:
        SourceError: It does not exist, or has no video.
    """
    if listing.is_local:
        next(iter(listing), None)


def load_bundle(spec: InferSpec) -> Bundle:
    """Return the model that a spec means."""
    return resolve_model(spec.model, weights=spec.weights, labels=spec.labels, seed=spec.seed)


def _start_and_load(
    spec: InferSpec, start_ray: Callable[[], Machine], *, loads_torch: bool
) -> tuple[Machine | None, Bundle]:
    """Load the model, and start Ray meanwhile where it is sure to be needed: for an output that is not there yet."""
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
