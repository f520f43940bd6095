"""Scan the videos of a source, and commit a row for each.

The driver lists, leaves out what is done, and is the only writer, as in `vidcnn.pipelines.infer`. There is one stage,
and it needs no model: on this machine its cells are child processes of the driver, and Ray runs them on a cluster.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable
from contextlib import ExitStack
from functools import partial
from typing import Any

import pyarrow as pa

from vidcnn.cluster import ResourcePlan, is_attached, open_ray, plan_resources
from vidcnn.cluster.this_machine import this_machine
from vidcnn.config import ScanSpec
from vidcnn.errors import CONTINUES, UsageError
from vidcnn.inference.scoring import News
from vidcnn.interrupts import interruptible
from vidcnn.pipelines.commit import Committer, redo_videos
from vidcnn.pipelines.executors import Executor
from vidcnn.pipelines.pending import Pending, list_pending
from vidcnn.predictions.output import Output
from vidcnn.predictions.output_storage import open_storage
from vidcnn.reporting.bottleneck import Meter
from vidcnn.reporting.live import LiveLine, ProgressDisplay
from vidcnn.reporting.progress import RunProgress
from vidcnn.reporting.scan_text import ScanReport, describe_scan
from vidcnn.scans import scan_schema
from vidcnn.scans.columns import check_kind
from vidcnn.scans.duplicates import Repeats
from vidcnn.scans.summary import COLUMNS, summarize_scan
from vidcnn.sources import Listing
from vidcnn.sources.keys import video_text
from vidcnn.sources.lists import SCAN
from vidcnn.sources.names import utf8_name
from vidcnn.streams import STDIN
from vidcnn.video.scanning import ScanSettings


def run_scan(spec: ScanSpec, *, show_progress: bool = True) -> ScanReport:
    """Scan a source, in this process, or on the cluster whose job this is.

    Args:
        spec: The job.
        show_progress: Show on stderr how far it is.

    Raises:
        VidcnnError: The job cannot be done, or was interrupted; single bad videos are rows instead.
    """
    began = time.monotonic()
    with ExitStack() as stack:
        line = stack.enter_context(LiveLine(enabled=show_progress))
        stack.enter_context(interruptible(CONTINUES))
        if STDIN in spec.source:
            line.begin("starting: reading the list on standard input")
        listing = Listing(spec.source, follow_links=spec.follow_links)
        output = stack.enter_context(_open_output(spec, listing))
        line.begin("starting: listing the source")
        pending = stack.enter_context(list_pending(listing, output, spec.limit, spec.settle))
        progress = RunProgress(pending.num_videos, pending.size_bytes)
        meter = Meter()
        undone: dict[str, str] = {}
        if pending.num_videos:
            executor, resources = _choose_executor(spec, stack, progress)
            run = partial(executor.scan_videos, settings=scan_settings(spec), resources=resources, meter=meter)
            undone = _run(run, output, pending, progress, show_progress=show_progress)
        output.publish(None if spec.quick else Repeats(output.read_in_order))
        return ScanReport(
            summary=summarize_scan(output.read(COLUMNS)),
            num_videos=pending.num_listed,
            num_videos_done=progress.num_videos_done,
            num_videos_waiting=pending.num_waiting,
            undone=tuple(sorted((video_text(name), reason) for name, reason in undone.items())),
            elapsed_seconds=time.monotonic() - began,
            ignored=dict(listing.ignored),
            empty_sources=tuple(listing.empty_sources),
            unused_columns=dict(listing.unused_columns),
            confinement=dict(meter.times.confined),
        )


def scan_settings(spec: ScanSpec) -> ScanSettings:
    """Return what is found out about each video."""
    return ScanSettings(
        sample_seconds=None if spec.quick else spec.sample_seconds,
        hashes=not spec.quick,
        image_fps=spec.image_fps,
        max_pixels=spec.max_pixels,
        timeout_seconds=spec.decode_timeout,
        sandbox=spec.sandbox,
    )


def recorded_settings(spec: ScanSpec, root: str | None) -> dict[str, Any]:
    """Return all that the rows depend on, for the output's metadata.

    Args:
        spec: The job.
        root: The folder that names are relative to; with it, who reads the table finds the videos.
    """
    return {
        "table": SCAN,
        "source_root": None if root is None else utf8_name(root),
        "quick": spec.quick,
        "sample_seconds": None if spec.quick else spec.sample_seconds,
        "image_fps": spec.image_fps,
        "max_pixels": spec.max_pixels,
    }


def _open_output(spec: ScanSpec, listing: Listing) -> Output:
    storage = open_storage(spec.out)
    output = Output.in_storage(storage, schema=scan_schema())
    try:
        check_kind(output.recorded_settings, spec.out, is_scan=True)
        output.use_settings(recorded_settings(spec, listing.root))
        if spec.redo_errors is not None:
            output.redo_errors(spec.redo_kinds)
    except BaseException:
        output.close()
        raise
    return output


def _choose_executor(spec: ScanSpec, stack: ExitStack, progress: RunProgress) -> tuple[Executor, ResourcePlan]:
    """Return what scans the videos, and how it shares the machine.

    Raises:
        UsageError: The job is that of a cluster, and is to run in a process.
    """
    if spec.in_process == "on" and is_attached():
        raise UsageError("--in-process on is for this machine, not for a cluster", "leave it out, or --cluster")
    if is_attached() or spec.in_process == "off":
        machine = stack.enter_context(open_ray(use_gpus=False, has_begun=lambda: progress.has_begun))
        from vidcnn.pipelines import dataset

        return dataset, plan_resources(machine, use_gpus=False, num_decoders=spec.decoders)
    from vidcnn.pipelines import in_process

    return in_process, plan_resources(this_machine(use_gpus=False), use_gpus=False, num_decoders=spec.decoders)


def _run(
    scan: partial[Generator[list[News], None, None]],
    output: Output,
    pending: Pending,
    progress: RunProgress,
    *,
    show_progress: bool,
) -> dict[str, str]:
    """Do all that is to do, and commit it.

    Returns:
        Names of the videos that are left to the next run, with the reason.
    """

    def look() -> None:
        pending.go_on()
        is_listed = pending.is_complete
        progress.list_more(pending.num_videos, pending.size_bytes, is_listed=is_listed)
        pending.check()

    with ProgressDisplay(partial(describe_scan, progress), enabled=show_progress) as display:
        committer = Committer(output, progress, display, look)
        try:
            committer.take(_scan(scan, pending.videos))
            pending.wait()
            look()
            redo_videos(partial(_scan, scan), output, pending, committer)
        except BaseException:
            output.commit()  # what is finished stays, whatever ended the run
            raise
    return committer.undone


def _scan(
    scan: partial[Generator[list[News], None, None]], videos: Iterable[pa.Table]
) -> Generator[list[News], None, None]:
    return scan(videos)
