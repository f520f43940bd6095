"""Classify the videos of a source, and commit their rows.

The driver lists the source, leaves out what is done, lets Ray Data stream the rest through planning, decoding and the
model, and is the only writer of the output.
"""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import ray

from vidcnn.clips.segments import MAX_SEGMENT_FRAMES, ClipSpec
from vidcnn.cluster import Machine, Shares, open_ray, share_resources
from vidcnn.config import InferSpec, parse_pool
from vidcnn.errors import CompileError, UsageError
from vidcnn.inference.runtime import Runtime, choose_runtime
from vidcnn.inference.scoring import RowFormat
from vidcnn.interrupts import interruptible
from vidcnn.models.bundle import Bundle
from vidcnn.models.registry import architecture
from vidcnn.models.resolve import resolve_model
from vidcnn.pipelines.commit import Committer, redo_lost
from vidcnn.pipelines.counting import estimate_clips
from vidcnn.pipelines.dataset import StageSettings, score_videos
from vidcnn.pipelines.hardware import ask_there
from vidcnn.pipelines.todo import Todo, list_todo
from vidcnn.predictions import prediction_schema
from vidcnn.predictions.output import Output
from vidcnn.predictions.places import OutputStorage, look_at, open_storage
from vidcnn.reporting.bottleneck import Meter, find_limits
from vidcnn.reporting.progress import ProgressDisplay, RunProgress, describe
from vidcnn.reporting.results import InferReport
from vidcnn.reporting.run_report import RunRecord
from vidcnn.sources import Listing
from vidcnn.sources.keys import video_text
from vidcnn.storage.uris import is_remote, local_path, public_location
from vidcnn.video.batching import DecodeSettings, clips_per_task
from vidcnn.video.planning import PlanSettings

_QUICK_FAILURE_SECONDS = 0.2
"""What is wrong with a model's name shows in less than this, and then Ray need not start."""


class Job:
    """A spec with what it stands for: the model, the clips, the source, the columns."""

    def __init__(self, spec: InferSpec, bundle: Bundle) -> None:
        self.spec = spec
        self.listing = Listing(spec.source)
        self.clips = _clip_spec(spec, bundle)
        self.bundle = replace(bundle, sampling=self.clips.sampling)
        self.plan = PlanSettings(self.clips, spec.image_fps, spec.max_pixels, spec.decode_timeout)
        self.schema = prediction_schema(
            num_classes_for_probabilities=len(self.bundle.labels) if spec.probabilities else None,
            embedding_size=self.bundle.embedding_size if spec.embedding else None,
        )

    def settings(self, runtime: Runtime) -> dict[str, Any]:
        """Return all that the rows depend on, for the output's metadata."""
        return {
            "model": self.bundle.architecture,
            "weights_sha256": self.bundle.weights_sha256,
            "weights": self.bundle.provenance.weights,
            "labels": self.bundle.labels,
            **{f"clip_{name}": value for name, value in asdict(self.clips.sampling).items()},
            "step": self.clips.step,
            "num_clips": self.clips.num_clips,
            "short_clips": self.clips.short_clips,
            "image_fps": self.spec.image_fps,
            "max_pixels": self.spec.max_pixels,
            "preprocessing": asdict(self.bundle.preprocessing),
            "top_k": self.spec.top_k,
            "precision": runtime.precision,
            "compiled": runtime.compiled,
        }

    def open_output(self, storage: OutputStorage, run_id: str | None = None) -> Output:
        """Read what is committed in the storage of the output; errors that are done again count as not done."""
        output = Output.in_storage(storage, schema=self.schema, run_id=run_id)
        try:
            if self.spec.redo_errors is not None:
                output.redo_errors(self.spec.redo_kinds)
        except BaseException:
            output.close()
            raise
        return output

    def todo(self, output: Output) -> Todo:
        """List what is left to do."""
        return list_todo(self.listing, output, self.spec.limit, self.spec.settle)

    def recorded_runtime(self, output: Output) -> Runtime | None:
        """Return how the model ran when the output was written, so that rows do not depend on an interruption."""
        recorded = output.recorded_settings
        if recorded is None:
            return None
        runtime = Runtime.from_settings(recorded, self.spec)
        output.use_settings(self.settings(runtime))
        return runtime


def run_inference(spec: InferSpec, *, show_progress: bool = True, record: RunRecord | None = None) -> InferReport:
    """Run an inference job on a Ray of its own, or on that of the cluster whose job this is.

    Args:
        spec: The job.
        show_progress: Show on stderr how far it is.
        record: Is kept up to date with what the run has come to.

    Raises:
        VidcnnError: The job cannot be done, or was interrupted; single bad videos are rows instead.
    """
    began = time.monotonic()
    record = record or RunRecord()
    with ExitStack() as stack:
        stack.enter_context(interruptible("what was committed stays; the same command continues"))
        storage = hold_output(spec, stack)
        start_ray = partial(stack.enter_context, open_ray(use_gpus=spec.device != "cpu"))
        machine, bundle = start_and_load(spec, start_ray, loads_torch=True)
        job = Job(spec, bundle)
        output = stack.enter_context(job.open_output(storage, record.run_id))
        runtime = job.recorded_runtime(output)
        todo = job.todo(output)
        progress = RunProgress(todo.num_videos, todo.size_bytes)
        record.num_listed, record.num_waiting, record.progress = todo.num_listed, todo.num_waiting, progress
        record.settings = job.settings(runtime) if runtime else None
        if todo.num_videos:
            machine = machine or start_ray()
            device = "cuda" if uses_gpus(spec.device, machine) else "cpu"
            num_clips = estimate_clips(todo, job.plan)
            if runtime is None:
                runtime = ask_there(choose_runtime, job.bundle, spec, device, num_clips, device=device)
                record.settings = job.settings(runtime)
                output.use_settings(record.settings)
            shares = share_resources(
                machine,
                use_gpus=device == "cuda",
                actors=parse_pool(spec.actors) if spec.actors else None,
                num_decoders=spec.decoders,
                num_clips=num_clips,
            )
            if spec.compile == "on" and runtime.precision == "exact":
                record.notice("exact precision is not compiled")
            run = partial(_run, job, output, shares, todo, device, record, num_clips, show_progress=show_progress)
            try:
                meter = run(runtime)
            except CompileError as error:
                if not output.is_empty:
                    raise CompileError(
                        f"the rows of {public_location(spec.out)} are of a compiled model, and it cannot be compiled "
                        f"everywhere: {error.message}",
                        error.hint or "mend that, and the same command goes on; or choose another --out",
                    ) from error
                runtime = replace(runtime, compiled=False)
                record.notice(f"the model runs uncompiled: {error}")
                meter = None
            if meter is None:  # what the actors that could compile it have done is not kept: rows are all of one kind
                output.discard()
                record.settings = job.settings(runtime)
                output.use_settings(record.settings)
                meter = run(runtime)
            assert record.progress is not None
            progress = record.progress
            figures = meter.figures(
                elapsed_seconds=time.monotonic() - began, num_decoders=shares.num_decoders, uses_gpus=device == "cuda"
            )
            record.limits = find_limits(figures) if figures else None
        output.publish()
        record.summary = output.summary()
        return InferReport(
            summary=record.summary,
            num_videos=todo.num_listed,
            num_videos_done=progress.num_videos_done,
            num_videos_waiting=todo.num_waiting,
            undone=tuple(sorted((video_text(name), reason) for name, reason in record.undone.items())),
            num_clips_done=progress.num_clips,
            elapsed_seconds=time.monotonic() - began,
            clips_per_second=progress.mean_clips_per_second,
            ignored=dict(job.listing.ignored),
            empty_sources=tuple(job.listing.empty_sources),
            unused_columns=dict(job.listing.unused_columns),
            runtime=runtime,
            limits=record.limits,
            notices=tuple(record.notices),
        )


def hold_output(spec: InferSpec, stack: ExitStack) -> OutputStorage:
    """Take hold of the output before anything is started, so that a run which overlaps another ends at once."""
    Listing(spec.source)  # a source that does not exist is told first
    storage = open_storage(spec.out)
    stack.callback(storage.close)
    return storage


def look_at_output(spec: InferSpec) -> OutputStorage:
    """Look at the output of a job that is not going to be done: nothing of it is made or changed."""
    Listing(spec.source)
    return look_at(spec.out)


def start_and_load(
    spec: InferSpec, start_ray: Callable[[], Machine], *, loads_torch: bool
) -> tuple[Machine | None, Bundle]:
    """Load the model, and start Ray meanwhile where it is sure to be needed: for an output that is not there yet."""
    with ThreadPoolExecutor(1) as pool:
        loading = pool.submit(load_bundle, spec)
        wait([loading], timeout=_QUICK_FAILURE_SECONDS)
        is_new = not is_remote(spec.out) and not os.path.exists(local_path(spec.out))
        fails = loading.done() and loading.exception() is not None
        if not is_new or fails:
            return None, loading.result()
        if loads_torch:
            pool.submit(
                importlib.import_module, "vidcnn.inference.classifier"
            )  # takes as long as Ray's processes take to start
        return start_ray(), loading.result()


def load_bundle(spec: InferSpec) -> Bundle:
    """Return the model that a spec means."""
    return resolve_model(spec.model, weights=spec.weights, labels=spec.labels, seed=spec.seed)


def stage_settings(job: Job, runtime: Runtime, shares: Shares, device: str) -> StageSettings:
    """Return what the stages of a job depend on; the model goes into Ray's object store."""
    from vidcnn.inference.classifier import default_batch_size

    spec = job.spec
    batch_size = spec.batch_size or ask_there(default_batch_size, job.bundle, device, device=device)
    return StageSettings(
        plan=job.plan,
        decode=DecodeSettings(
            job.bundle.preprocessing,
            runtime.precision == "exact",
            clips_per_task(batch_size),
            spec.max_pixels,
            spec.decode_timeout,
        ),
        classifier={
            "bundle": ray.put(job.bundle),
            "device": device,
            "precision": runtime.precision,
            "compile": "on" if runtime.compiled else "off",
            "batch_size": batch_size,
            "num_threads": shares.actor_threads,
        },
        row_format=RowFormat(job.schema, job.bundle.labels, spec.top_k),
        max_unit_frames=MAX_SEGMENT_FRAMES,
    )


def _run(
    job: Job,
    output: Output,
    shares: Shares,
    todo: Todo,
    device: str,
    record: RunRecord,
    num_clips: int,
    runtime: Runtime,
    *,
    show_progress: bool,
) -> Meter:
    """Do all that is to do, and commit it.

    Returns:
        What the stages measured of themselves.

    Raises:
        CompileError: The model cannot be compiled where it is to run. If nothing was committed, nothing is.
    """
    meter = Meter()
    record.progress = progress = RunProgress(todo.num_videos, todo.size_bytes)
    progress.expect(num_clips)
    settings = stage_settings(job, runtime, shares, device)
    with ProgressDisplay(partial(describe, progress), enabled=show_progress) as display:
        committer = Committer(output, progress, display)
        record.undone = committer.undone
        try:
            committer.take(score_videos(todo.videos, settings, shares, meter))
            redo_lost(output, settings, shares, todo, committer)
        except BaseException as error:
            if not (isinstance(error, CompileError) and output.is_empty):
                output.commit()  # what is finished stays, whatever ended the run
            raise
    return meter


def _clip_spec(spec: InferSpec, bundle: Bundle) -> ClipSpec:
    try:
        clips = spec.clip_spec(bundle.sampling)
    except ValueError as error:
        raise UsageError(str(error)) from error
    architecture(bundle.architecture).check_input(clips.sampling, bundle.preprocessing)
    return clips


def uses_gpus(device: str, machine: Machine) -> bool:
    """Tell whether the model runs on GPUs.

    Args:
        device: What the user wants: ``auto``, ``cpu`` or ``cuda``.
        machine: What there is.

    Raises:
        UsageError: ``cuda`` is wanted, and there is no GPU.
    """
    if device == "cuda" and machine.num_gpus < 1:
        raise UsageError("--device cuda, but Ray finds no GPU", "use --device cpu, or check the driver")
    return machine.num_gpus >= 1
