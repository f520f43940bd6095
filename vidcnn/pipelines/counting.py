"""What a source would give, counted without decoding it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pyarrow as pa
import ray
from ray.exceptions import RayTaskError

from vidcnn.cluster import Shares
from vidcnn.errors import VidcnnError
from vidcnn.pipelines.dataset import count_plans
from vidcnn.pipelines.stages import PlanCounts, count_clips, pack_video, unpack_videos, video_table
from vidcnn.pipelines.todo import Todo
from vidcnn.sources.keys import video_text
from vidcnn.video.planning import PlanSettings


def count_source(todo: Todo, settings: PlanSettings, schema: pa.Schema, shares: Shares) -> Iterator[PlanCounts]:
    """Plan all that is left to do, and count what it would give.

    Yields:
        Counts of some of the videos. Those whose process was lost are planned once more.

    Raises:
        VidcnnError: Processes that plan are lost again and again.
    """
    lost = _by_first_name(todo.videos)
    yield from _count(lost, settings, schema, shares)
    yield from _count(lost, settings, schema, shares)
    if lost:
        raise VidcnnError(
            f"the processes that plan died again and again, last over {video_text(next(iter(lost)))}",
            "they may be short of memory; nothing was written",
        )


def estimate_clips(todo: Todo, settings: PlanSettings) -> int:
    """Tell how many clips are left to do, from some of the videos and the size of all."""
    if not todo.sample:
        return 0
    count = ray.remote(num_cpus=0, max_retries=1)(count_clips)
    try:
        num_clips, size_bytes = ray.get(count.remote(video_table(pack_video(v, None) for v in todo.sample), settings))
    except RayTaskError as error:
        raise error.cause if isinstance(error.cause, VidcnnError) else error from None
    return int(num_clips * todo.size_bytes / size_bytes) if size_bytes else 0


def _count(
    tables: dict[str, pa.Table], settings: PlanSettings, schema: pa.Schema, shares: Shares
) -> Iterator[PlanCounts]:
    """Count tables of videos, if there are any, and take those out that could be counted."""
    if not tables:
        return
    for counts in count_plans(list(tables.values()), settings, schema, shares):
        if tables.pop(counts.first_name, None) is not None:
            yield counts


def _by_first_name(tables: Iterable[pa.Table]) -> dict[str, pa.Table]:
    return {next(unpack_videos(table)).name: table for table in tables}
