"""What is left to do of a source, while that is still being listed."""

from __future__ import annotations

import threading
import time
import tracemalloc
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from vidcnn.errors import SourceError
from vidcnn.pipelines import pending
from vidcnn.pipelines.pending import list_pending, not_done
from vidcnn.pipelines.stages import unpack_videos
from vidcnn.sources import SourceVideo

NOTHING: Any = SimpleNamespace(is_done=lambda key: False, partly_done=lambda key: None)


def video(index: int) -> SourceVideo:
    return SourceVideo(f"{index}.mp4", f"/videos/{index}.mp4", False, 10 + index, 0, None, None)


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending, "FIRST_VIDEOS", 640)
    monkeypatch.setattr(pending, "_LEAST_BLOCK_VIDEOS", 10)


@pytest.mark.parametrize("number", [0, 1, 3, 9, 10, 11, 500, 640, 641, 3000])
def test_every_video_that_is_left_is_in_one_table(number: int) -> None:
    output: Any = SimpleNamespace(is_done=lambda key: key.name.startswith("1"), partly_done=lambda key: None)
    left = [video(index) for index in range(number) if not str(index).startswith("1")]
    with list_pending(map(video, range(number)), output, None, 0.0) as found:
        found.wait()
        tables = list(found.videos)
        assert [one for table in tables for one in unpack_videos(table)] == left
        assert (found.num_listed, found.num_videos, found.is_complete) == (number, len(left), True)
        assert found.size_bytes == sum(one.size_bytes for one in left)
        assert set(found.sample) <= set(left)
        assert bool(found.sample) == bool(left)
        assert len(tables) <= max(2 * 64, number // 10)
        assert list(not_done(found, output)) == left


def test_the_limit_and_what_may_still_be_written_are_left_out() -> None:
    new = SourceVideo("new.mp4", "/new.mp4", False, 1, 2**62, None, None)
    with list_pending([video(0), new, video(1), video(2)], NOTHING, 3, 2**62) as found:
        found.wait()
        assert (found.num_listed, found.num_videos, found.num_waiting) == (3, 0, 3)
        assert list(found.videos) == []


def test_work_begins_while_the_listing_goes_on() -> None:
    may_go_on = threading.Event()

    def listing() -> Iterator[SourceVideo]:
        yield from map(video, range(700))
        assert may_go_on.wait(60)
        yield from map(video, range(700, 1500))

    with list_pending(listing(), NOTHING, None, 0.0) as found:
        assert 640 <= found.num_listed <= 700
        assert not found.is_complete
        found.go_on()
        tables = iter(found.videos)
        first = [one for _ in range(64) for one in unpack_videos(next(tables))]
        assert first == [video(index) for index in range(640)]
        may_go_on.set()
        rest = [one for table in tables for one in unpack_videos(table)]
        assert [*first, *rest] == [video(index) for index in range(1500)]
        found.wait()
        assert found.num_listed == 1500


def failing_after(number: int) -> Iterator[SourceVideo]:
    yield from map(video, range(number))
    raise SourceError("the list is malformed")


@pytest.mark.parametrize("number", [0, 500])
def test_what_cannot_be_listed_is_told_before_anything_begins(number: int) -> None:
    with pytest.raises(SourceError, match="malformed"), list_pending(failing_after(number), NOTHING, None, 0.0):
        raise AssertionError


def test_a_listing_that_fails_later_ends_the_tables_and_is_told_whoever_asks() -> None:
    with list_pending(failing_after(700), NOTHING, None, 0.0) as found:
        found.go_on()
        assert len(list(found.videos)) == 64 + 6
        assert not found.is_complete
        for ask in (found.wait, found.check):
            with pytest.raises(SourceError, match="malformed"):
                ask()


def test_the_listing_waits_for_the_first_rows_but_not_forever(monkeypatch: pytest.MonkeyPatch) -> None:
    with list_pending(map(video, range(900)), NOTHING, None, 0.0) as found:
        time.sleep(0.2)
        assert found.num_listed < 700
        found.go_on()
        assert sum(1 for table in found.videos for _ in unpack_videos(table)) == 900
    monkeypatch.setattr(pending, "_MOST_STARTING_SECONDS", 0.1)
    with list_pending(map(video, range(900)), NOTHING, None, 0.0) as found:
        assert sum(1 for table in found.videos for _ in unpack_videos(table)) == 900


def test_a_listing_without_an_end_ends_with_the_block() -> None:
    before = threading.active_count()
    with list_pending(map(video, count()), NOTHING, None, 0.0) as found:
        path = found.videos.path
        assert path.exists()
    assert threading.active_count() == before
    assert not path.exists()


def test_memory_does_not_grow_with_the_source(tmp_path: Path) -> None:
    peaks = []
    for number in (5_000, 50_000):
        tracemalloc.start()
        with list_pending(map(video, range(number)), NOTHING, None, 0.0) as found:
            found.wait()
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 1_000_000, peaks  # 9 MB of names alone, and as many of rows
