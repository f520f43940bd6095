"""Counting what a source would give, while processes that count are lost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from vidcnn.cluster import Machine, plan_resources
from vidcnn.errors import SourceError, VidcnnError
from vidcnn.pipelines import counting
from vidcnn.pipelines.counting import count_source, estimate_clips
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


def pending(*blocks: Sequence[str]) -> Any:
    videos = [[a_video(name) for name in names] for names in blocks]
    tables = tuple(video_table(pack_video(video, None) for video in block) for block in videos)
    sample = tuple(video for block in videos for video in block)
    return SimpleNamespace(videos=tables, size_bytes=100 * len(sample), sample=sample[:2], check=print, go_on=print)


class Planners:
    """Processes that plan, and lose blocks, by their first names, in each round; `rounds` has the blocks of each."""

    def __init__(self, *lost: set[str]) -> None:
        self.rounds: list[list[str]] = []
        self._lost = lost

    def count_plans(self, tables: Iterable[pa.Table], *_: Any) -> Iterator[PlanCounts]:
        names = [[video.name for video in unpack_videos(table)] for table in tables]
        self.rounds.append([block[0] for block in names])
        for block in names:
            if block[0] not in self._lost[len(self.rounds) - 1]:
                yield PlanCounts(block[0], len(block), 3 * len(block), 0, 1.0, ())


def count(planners: Any, *blocks: Sequence[str]) -> list[PlanCounts]:
    return list(count_source(planners, pending(*blocks), SETTINGS, SCHEMA, SHARES))


def test_blocks_that_a_process_took_with_it_are_counted_once_more_and_the_others_once() -> None:
    planners = Planners({"c", "e"}, set())
    counts = count(planners, "ab", "cd", "e")
    assert planners.rounds == [["a", "c", "e"], ["c", "e"]]
    assert sorted((count.first_name, count.num_clips) for count in counts) == [("a", 6), ("c", 6), ("e", 3)]


def test_where_nothing_is_lost_there_is_one_round() -> None:
    planners = Planners(set())
    assert len(count(planners, "ab", "cd")) == 2
    assert planners.rounds == [["a", "c"]]
    assert count(planners) == []


def test_a_block_that_is_lost_twice_ends_the_run_by_its_name() -> None:
    with pytest.raises(VidcnnError, match="died again and again, last over c") as caught:
        count(Planners({"c"}, {"c"}), "ab", "cd")
    assert caught.value.hint.endswith("nothing was written")


def sample_gives(monkeypatch: pytest.MonkeyPatch, outcome: tuple[int, int] | Exception) -> None:
    def count_clips(*_: Any) -> tuple[int, int]:
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(counting, "count_clips", count_clips)


def test_clips_are_estimated_from_the_clips_and_bytes_of_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    sample_gives(monkeypatch, (30, 200))
    assert estimate_clips(pending("abcde"), SETTINGS) == 75  # 500 bytes
    sample_gives(monkeypatch, (0, 0))
    assert estimate_clips(pending("a"), SETTINGS) == 0
    assert estimate_clips(pending(), SETTINGS) == 0


def test_an_error_of_the_sample_is_raised_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    sample_gives(monkeypatch, SourceError("it is gone"))
    with pytest.raises(SourceError, match="it is gone"):
        estimate_clips(pending("a"), SETTINGS)
