"""What a source would give, counted without decoding it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

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
    lost = _by_first_name(pending.videos)
    for _ in range(2):
        yield from _count(executor, lost, settings, schema, resources)
    if lost:
        raise VidcnnError(
            f"the processes that plan died again and again, last over {video_text(next(iter(lost)))}",
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
    tables: dict[str, pa.Table],
    settings: PlanSettings,
    schema: pa.Schema,
    resources: ResourcePlan,
) -> Iterator[PlanCounts]:
    """Count tables of videos, if there are any, and take those out that could be counted."""
    if not tables:
        return
    for counts in executor.count_plans(list(tables.values()), settings, schema, resources):
        if tables.pop(counts.first_name, None) is not None:
            yield counts


def _by_first_name(tables: Iterable[pa.Table]) -> dict[str, pa.Table]:
    return {next(unpack_videos(table)).name: table for table in tables}
