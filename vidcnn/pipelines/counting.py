"""What a source would give, counted without decoding it, whatever dies on the way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pyarrow as pa
import ray
from ray.exceptions import RayError

from vidcnn.cluster import Shares
from vidcnn.pipelines.dataset import count_plans
from vidcnn.pipelines.deaths import decoder_death
from vidcnn.pipelines.stages import PlanCounts, count_clips, pack_video, unpack_videos, video_table
from vidcnn.pipelines.todo import Todo
from vidcnn.planning import PlanSettings
from vidcnn.predictions.ledger import video_text

_CRASH = "the process that reads it died, again and again"


def count_source(todo: Todo, settings: PlanSettings, schema: pa.Schema, shares: Shares) -> Iterator[PlanCounts]:
    """Plan all that is left to do, and count what it would give.

    Yields:
        Counts of some of the videos. A video that ends the process that reads it, even when it is read alone, counts
        as bad.
    """
    lost = _by_first_name(todo.videos)
    yield from _count(lost, settings, schema, shares)
    if not lost:
        return
    lost = _by_first_name(_apart(lost.values()))
    yield from _count(lost, settings, schema, shares)
    for name in lost:
        yield PlanCounts(name, 0, 0, 0.0, ((video_text(name), _CRASH),))


def estimate_clips(todo: Todo, settings: PlanSettings) -> int:
    """Tell how many clips are left to do, from some of the videos and the size of all."""
    sample = [video_table(pack_video(video, None) for video in todo.sample)]
    counts = list(_count_sample(sample, settings)) or list(_count_sample(_apart(sample), settings))
    size_bytes = sum(size for _, size in counts)
    return int(sum(clips for clips, _ in counts) * todo.size_bytes / size_bytes) if size_bytes else 0


def _count(
    tables: dict[str, pa.Table], settings: PlanSettings, schema: pa.Schema, shares: Shares
) -> Iterator[PlanCounts]:
    """Count tables of videos, and take those out that could be counted."""
    for counts in count_plans(list(tables.values()), settings, schema, shares):
        if tables.pop(counts.first_name, None) is not None:
            yield counts


def _count_sample(tables: Iterable[pa.Table], settings: PlanSettings) -> Iterator[tuple[int, int]]:
    """Yield what `count_clips` gives for tables of videos, but for those that end the process that reads them."""
    count = ray.remote(num_cpus=0, max_retries=0)(count_clips)
    for table in tables:
        try:
            yield ray.get(count.remote(table, settings))
        except RayError as error:
            if decoder_death(error) is None:
                raise


def _apart(tables: Iterable[pa.Table]) -> list[pa.Table]:
    """Give each video a table of its own, so that one cannot take another with it."""
    return [video_table([row.as_py()]) for table in tables for row in table["video"]]


def _by_first_name(tables: Iterable[pa.Table]) -> dict[str, pa.Table]:
    return {next(unpack_videos(table)).name: table for table in tables}
