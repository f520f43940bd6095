"""Counting what a source would give, while processes that count are lost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pytest
import ray
from ray.exceptions import RayTaskError

from vidcnn.cluster import Machine, plan_resources
from vidcnn.errors import SourceError, VidcnnError
from vidcnn.pipelines import counting
from vidcnn.pipelines.counting import count_source, estimate_clips
from vidcnn.pipelines.pending import Pending
from vidcnn.pipelines.stages import PlanCounts, pack_video, unpack_videos, video_table
from vidcnn.sampling.grid import Sampling
from vidcnn.sampling.segments import ClipSpec
from vidcnn.sources import SourceVideo
from vidcnn.video.planning import PlanSettings

SETTINGS = PlanSettings(ClipSpec(Sampling(4, stride=1)), image_fps=25, max_pixels=10**6)
SHARES = plan_resources(Machine(2, 0, 2**32), use_gpus=False)
SCHEMA = pa.schema([])


def a_video(name: str) -> SourceVideo:
    return SourceVideo(name, f"/videos/{name}", False, 100, 1, None, None)


def pending(*blocks: Sequence[str]) -> Pending:
    videos = [[a_video(name) for name in names] for names in blocks]
    tables = tuple(video_table(pack_video(video, None) for video in block) for block in videos)
    sample = tuple(video for block in videos for video in block)
    return Pending(tables, len(sample), 0, len(sample), 100 * len(sample), sample[:2])


def planners(monkeypatch: pytest.MonkeyPatch, *lost: set[str]) -> list[list[str]]:
    """Let processes that plan lose blocks, by their first names, in each round; return the blocks of each round."""
    rounds: list[list[str]] = []

    def count(tables: list[pa.Table], *_: Any) -> Iterator[PlanCounts]:
        names = [[video.name for video in unpack_videos(table)] for table in tables]
        rounds.append([block[0] for block in names])
        for block in names:
            if block[0] not in lost[len(rounds) - 1]:
                yield PlanCounts(block[0], len(block), 3 * len(block), 0, 1.0, ())

    monkeypatch.setattr(counting, "count_plans", count)
    return rounds


def test_blocks_that_a_process_took_with_it_are_counted_once_more_and_the_others_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rounds = planners(monkeypatch, {"c", "e"}, set())
    counts = list(count_source(pending("ab", "cd", "e"), SETTINGS, SCHEMA, SHARES))
    assert rounds == [["a", "c", "e"], ["c", "e"]]
    assert sorted((count.first_name, count.num_clips) for count in counts) == [("a", 6), ("c", 6), ("e", 3)]


def test_where_nothing_is_lost_there_is_one_round(monkeypatch: pytest.MonkeyPatch) -> None:
    rounds = planners(monkeypatch, set())
    assert len(list(count_source(pending("ab", "cd"), SETTINGS, SCHEMA, SHARES))) == 2
    assert rounds == [["a", "c"]]
    assert list(count_source(pending(), SETTINGS, SCHEMA, SHARES)) == []


def test_a_block_that_is_lost_twice_ends_the_run_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    planners(monkeypatch, {"c"}, {"c"})
    with pytest.raises(VidcnnError, match="died again and again, last over c") as caught:
        list(count_source(pending("ab", "cd"), SETTINGS, SCHEMA, SHARES))
    assert caught.value.hint.endswith("nothing was written")


class Task:
    """Stands for a task of Ray."""

    def __init__(self, outcome: tuple[int, int] | Exception) -> None:
        self.outcome = outcome

    def remote(self, *_: Any) -> Task:
        return self


def ray_gives(monkeypatch: pytest.MonkeyPatch, outcome: tuple[int, int] | Exception) -> None:
    def get(task: Task) -> tuple[int, int]:
        if isinstance(task.outcome, Exception):
            raise task.outcome
        return task.outcome

    monkeypatch.setattr(ray, "remote", lambda **_: lambda _: Task(outcome))
    monkeypatch.setattr(ray, "get", get)


def test_clips_are_estimated_from_the_clips_and_bytes_of_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    ray_gives(monkeypatch, (30, 200))
    assert estimate_clips(pending("abcde"), SETTINGS) == 75  # 500 bytes
    ray_gives(monkeypatch, (0, 0))
    assert estimate_clips(pending("a"), SETTINGS) == 0
    assert estimate_clips(pending(), SETTINGS) == 0


def test_an_error_of_the_sample_is_raised_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    ray_gives(monkeypatch, RayTaskError("count_clips", "trace", SourceError("it is gone")))
    with pytest.raises(SourceError, match="it is gone"):
        estimate_clips(pending("a"), SETTINGS)
