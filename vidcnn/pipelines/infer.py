"""Classify the videos of a source, and commit their rows.

The driver lists the source, leaves out what is done, and lets Ray Data stream the rest through planning, decoding and
the model, while the listing goes on. It is the only writer of the output.
"""

from __future__ import annotations

import time
from functools import partial

from vidcnn.choices import UNCOMPILED
from vidcnn.cluster import ResourcePlan
from vidcnn.config import InferSpec
from vidcnn.errors import CONTINUES
from vidcnn.inference.runtime import ModeError, Runtime, instead, mixed
from vidcnn.pipelines.commit import Committer, redo_lost
from vidcnn.pipelines.executors import Executor
from vidcnn.pipelines.pending import Pending
from vidcnn.pipelines.prepare import PreparedJob, prepare
from vidcnn.predictions.output_storage import open_storage
from vidcnn.reporting.bottleneck import Meter, find_bottleneck
from vidcnn.reporting.live import LiveLine, ProgressDisplay
from vidcnn.reporting.progress import RunProgress, describe
from vidcnn.reporting.results import InferReport
from vidcnn.reporting.run_report import RunRecord
from vidcnn.reporting.summaries import short_clips_lines
from vidcnn.sources.keys import video_text
from vidcnn.storage.uris import public_location


def run_inference(spec: InferSpec, *, show_progress: bool = True, record: RunRecord | None = None) -> InferReport:
    """Run an inference job in this process, on a Ray of its own, or on that of the cluster whose job this is.

    Args:
        spec: The job.
        show_progress: Show on stderr how far it is.
        record: Is kept up to date with the results of the run.

    Raises:
        VidcnnError: The job cannot be done, or was interrupted; single bad videos are rows instead.
    """
    began = time.monotonic()
    record = record or RunRecord()
    with (
        LiveLine(enabled=show_progress) as line,
        prepare(
            spec,
            open_storage,
            hint=CONTINUES,
            computes=True,
            run_id=record.run_id,
            tell=line.begin,
            has_begun=lambda: record.progress is not None and record.progress.has_begun,
        ) as prepared,
    ):
        job, output, pending, runtime = prepared.job, prepared.output, prepared.pending, prepared.recorded
        progress = record.progress = RunProgress(pending.num_videos, pending.size_bytes)
        _note_listed(record, pending)
        record.settings = job.settings(runtime) if runtime else None
        if pending.num_videos:
            from vidcnn.inference.batch_sizes import smaller_batches

            num_clips = prepared.estimate_clips()
            executor = prepared.choose_executor(num_clips)
            record.in_process = prepared.in_process
            uses_gpus = prepared.device == "cuda"
            if runtime is None:
                runtime = prepared.choose_runtime(num_clips)
                record.settings = job.settings(runtime)
                output.use_settings(record.settings)
            resources = prepared.plan_resources(num_clips)
            if spec.compile == "on" and runtime.precision in UNCOMPILED:
                record.notice(f"{runtime.precision} precision is not compiled")
            record.batch_size = prepared.batch_size
            if text := smaller_batches(spec.batch_size, prepared.batch_size):
                record.notice(text)
            run = partial(_run, executor, prepared, resources, record, num_clips, show_progress=show_progress)
            meter: Meter | None = None
            while meter is None:
                try:
                    meter = run(runtime)
                except ModeError as error:
                    if not output.is_empty:
                        raise mixed(error, runtime, public_location(spec.out)) from error
                    runtime = runtime.safer()
                    record.notice(instead(error, runtime))
                if meter is None:  # what other actors have done so is not kept: rows are all of one kind
                    output.discard()
                    record.settings = job.settings(runtime)
                    output.use_settings(record.settings)
            assert record.progress is not None
            progress = record.progress
            figures = meter.figures(
                elapsed_seconds=time.monotonic() - began,
                num_planners=resources.num_planners,
                num_decoders=resources.num_decoders,
                uses_gpus=uses_gpus,
            )
            record.bottleneck = find_bottleneck(figures) if figures else None
        for text in job.listing.notices:
            record.notice(text)
        output.publish()
        record.summary = output.summary()
        # The summary has it, too.
        record.notices += short_clips_lines(spec.short_clips, progress.num_short_clips, progress.num_clips)
        return InferReport(
            summary=record.summary,
            num_videos=pending.num_listed,
            num_videos_done=progress.num_videos_done,
            num_videos_waiting=pending.num_waiting,
            undone=tuple(sorted((video_text(name), reason) for name, reason in record.undone.items())),
            num_clips_done=progress.num_clips,
            elapsed_seconds=time.monotonic() - began,
            clips_per_second=progress.mean_clips_per_second,
            ignored=dict(job.listing.ignored),
            empty_sources=tuple(job.listing.empty_sources),
            unused_columns=dict(job.listing.unused_columns),
            runtime=runtime,
            bottleneck=record.bottleneck,
            notices=tuple(record.notices),
            num_short_clips=progress.num_short_clips,
            in_process=record.in_process,
            batch_size=record.batch_size,
            confinement=record.confinement,
        )


def _note_listed(record: RunRecord, pending: Pending) -> None:
    """Note how far the listing is.

    Raises:
        VidcnnError: The source cannot be listed to its end.
    """
    is_listed = pending.is_complete
    record.num_listed, record.num_waiting = pending.num_listed, pending.num_waiting
    assert record.progress is not None
    record.progress.list_more(pending.num_videos, pending.size_bytes, is_listed=is_listed)
    pending.check()


def _take_note(record: RunRecord, pending: Pending) -> None:
    """Note how far the listing is, and let it go on: there is news."""
    pending.go_on()
    _note_listed(record, pending)


def _run(
    executor: Executor,
    prepared: PreparedJob,
    resources: ResourcePlan,
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
        PrecisionError: The same where it computes wrongly in its precision.
    """
    output, pending, meter = prepared.output, prepared.pending, Meter()
    record.progress = progress = RunProgress(pending.num_videos, pending.size_bytes)
    progress.expect(num_clips)
    settings = prepared.stage_settings(runtime, resources, num_clips)
    _note_listed(record, pending)
    look = partial(_take_note, record, pending)
    with ProgressDisplay(partial(describe, progress), enabled=show_progress) as display:
        committer = Committer(output, progress, display, look)
        record.undone = committer.undone
        try:
            committer.take(executor.score_videos(pending.videos, settings, resources, meter))
            pending.wait()
            look()
            redo_lost(executor, output, settings, resources, pending, committer)
        except BaseException as error:
            if not (isinstance(error, ModeError) and output.is_empty):
                output.commit()  # what is finished stays, whatever ended the run
            raise
        finally:
            record.confinement = dict(meter.times.confined)
    return meter
