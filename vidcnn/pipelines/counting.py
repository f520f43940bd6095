"""What a source would give, counted without decoding it, whatever dies on the way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

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
    lost = _by_first_name([video_table([row.as_py()]) for table in lost.values() for row in table["video"]])
    yield from _count(lost, settings, schema, shares)
    for name in lost:
        yield PlanCounts(name, 0, 0, 0.0, ((video_text(name), _CRASH),))


def estimate_clips(todo: Todo, settings: PlanSettings) -> int:
    """Tell how many clips are left to do, from some of the videos and the size of all."""
    table = video_table(pack_video(video, None) for video in todo.sample)
    count = ray.remote(num_cpus=0, max_retries=0)(count_clips)
    try:
        counts = [ray.get(count.remote(table, settings))]
    except RayError as error:
        if decoder_death(error) is None:
            raise
        counts = list(_count_apart(table, settings))
    num_clips, size_bytes = (sum(numbers) for numbers in zip(*counts, strict=True)) if counts else (0, 0)
    return int(num_clips * todo.size_bytes / size_bytes) if size_bytes else 0


def _count(
    tables: dict[str, pa.Table], settings: PlanSettings, schema: pa.Schema, shares: Shares
) -> Iterator[PlanCounts]:
    """Count tables of videos, and take those out that could be counted."""
    for counts in count_plans(list(tables.values()), settings, schema, shares):
        if tables.pop(counts.first_name, None) is not None:
            yield counts


def _count_apart(videos: pa.Table, settings: PlanSettings) -> Iterator[tuple[int, int]]:
    """Count the clips of each video apart, leaving out those that end the process that reads them."""
    count = ray.remote(num_cpus=0, max_retries=0)(count_clips)
    for row in videos["video"]:
        try:
            yield ray.get(count.remote(video_table([row.as_py()]), settings))
        except RayError as error:
            if decoder_death(error) is None:
                raise


def _by_first_name(videos: Sequence[pa.Table]) -> dict[str, pa.Table]:
    return {next(unpack_videos(table)).name: table for table in videos}
