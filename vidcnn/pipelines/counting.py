"""What a source would give, counted without decoding it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing

import pyarrow as pa

from vidcnn.cluster import ResourcePlan
from vidcnn.errors import VidcnnError
from vidcnn.pipelines.executors import Executor
from vidcnn.pipelines.hardware import ask_there
from vidcnn.pipelines.pending import Pending
from vidcnn.pipelines.stages import PlanCounts, count_clips, pack_video, unpack_videos, video_table
from vidcnn.sources.keys import video_text
from vidcnn.video.planning import PlanSettings


def count_source(
    executor: Executor, pending: Pending, settings: PlanSettings, schema: pa.Schema, resources: ResourcePlan
) -> Iterator[PlanCounts]:
    """Plan all that is left to do, and count what it would give.

    Args:
        executor: What plans it.
        pending: What is left to do.
        settings: What plans depend on.
        schema: Columns of the predictions table.
        resources: How planning shares the processors.

    Yields:
        Counts of some of the videos. Those whose process was lost are planned once more.

    Raises:
        VidcnnError: Processes that plan are lost again and again.
    """
    counted: set[str] = set()
    pending.go_on()
    yield from _count(executor, pending.videos, counted, settings, schema, resources)
    pending.check()
    lost = _tables_lost(pending.videos, counted)
    if lost:
        yield from _count(executor, lost, counted, settings, schema, resources)
        lost = _tables_lost(lost, counted)
    if lost:
        raise VidcnnError(
            f"the processes that plan died again and again, last over {video_text(_first_name(lost[0]))}",
            "they may be short of memory; nothing was written",
        )


def estimate_clips(pending: Pending, settings: PlanSettings) -> int:
    """Return about how many clips are left to do, from some of the videos and the size of all."""
    if not pending.sample:
        return 0
    videos = video_table(pack_video(video, None) for video in pending.sample)
    num_clips, size_bytes = ask_there(count_clips, videos, settings, device="cpu")
    return int(num_clips * pending.size_bytes / size_bytes) if size_bytes else 0


def _count(
    executor: Executor,
    tables: Iterable[pa.Table],
    counted: set[str],
    settings: PlanSettings,
    schema: pa.Schema,
    resources: ResourcePlan,
) -> Iterator[PlanCounts]:
    """Count tables of videos, and note which could be counted, by the names of their first videos."""
    with closing(executor.count_plans(tables, settings, schema, resources)) as arriving:
        for counts in arriving:
            if counts.first_name not in counted:
                counted.add(counts.first_name)
                yield counts


def _tables_lost(tables: Iterable[pa.Table], counted: set[str]) -> list[pa.Table]:
    return [table for table in tables if _first_name(table) not in counted]


def _first_name(table: pa.Table) -> str:
    return next(unpack_videos(table)).name
