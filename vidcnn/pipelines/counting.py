"""What a source would give, counted without decoding it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pyarrow as pa
import ray
from ray.exceptions import RayTaskError

from vidcnn.cluster import ResourcePlan
from vidcnn.errors import VidcnnError
from vidcnn.pipelines.dataset import count_plans
from vidcnn.pipelines.pending import Pending
from vidcnn.pipelines.stages import PlanCounts, count_clips, pack_video, unpack_videos, video_table
from vidcnn.sources.keys import video_text
from vidcnn.video.planning import PlanSettings


def count_source(
    pending: Pending, settings: PlanSettings, schema: pa.Schema, resources: ResourcePlan
) -> Iterator[PlanCounts]:
    """Plan all that is left to do, and count what it would give.

    Yields:
        Counts of some of the videos. Those whose process was lost are planned once more.

    Raises:
        VidcnnError: Processes that plan are lost again and again.
    """
    lost = _by_first_name(pending.videos)
    yield from _count(lost, settings, schema, resources)
    yield from _count(lost, settings, schema, resources)
    if lost:
        raise VidcnnError(
            f"the processes that plan died again and again, last over {video_text(next(iter(lost)))}",
            "they may be short of memory; nothing was written",
        )


def estimate_clips(pending: Pending, settings: PlanSettings) -> int:
    """Estimate how many clips are left to do, from some of the videos and the size of all."""
    if not pending.sample:
        return 0
    count = ray.remote(num_cpus=0, max_retries=1)(count_clips)
    try:
        num_clips, size_bytes = ray.get(
            count.remote(video_table(pack_video(v, None) for v in pending.sample), settings)
        )
    except RayTaskError as error:
        raise error.cause if isinstance(error.cause, VidcnnError) else error from None
    return int(num_clips * pending.size_bytes / size_bytes) if size_bytes else 0


def _count(
    tables: dict[str, pa.Table], settings: PlanSettings, schema: pa.Schema, resources: ResourcePlan
) -> Iterator[PlanCounts]:
    """Count tables of videos, if there are any, and take those out that could be counted."""
    if not tables:
        return
    for counts in count_plans(list(tables.values()), settings, schema, resources):
        if tables.pop(counts.first_name, None) is not None:
            yield counts


def _by_first_name(tables: Iterable[pa.Table]) -> dict[str, pa.Table]:
    return {next(unpack_videos(table)).name: table for table in tables}
