from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from tests.videos import write_video
from vidcnn.sampling.grid import FrameTimes
from vidcnn.video import missing
from vidcnn.video.missing import entries_cut_off, has_index, with_lost_duration, with_lost_entries
from vidcnn.video.probe import probe_video

NUM_FRAMES = 600
FAST = {"movflags": "faststart"}


def entry(index: int, *, size: int = 100, discard: bool = False) -> Any:
    return SimpleNamespace(pos=1000 + index * 100, size=size, timestamp=index * 10, is_discard=discard)


def video(num_bytes: int, *entries: Any, name: str = "mov,mp4,m4a") -> Any:
    return SimpleNamespace(
        size_bytes=num_bytes,
        stream=SimpleNamespace(index_entries=list(entries)),
        container=SimpleNamespace(format=SimpleNamespace(name=name)),
    )


def test_entries_past_the_end_of_the_file_are_those_of_lost_frames() -> None:
    entries = [entry(index) for index in range(5)]
    assert entries_cut_off(video(1500, *entries)) == []
    assert entries_cut_off(video(1499, *entries)) == [entries[4]]
    assert len(entries_cut_off(video(1250, *entries))) == 3
    assert entries_cut_off(video(1, *entries, name="avi")) == []
    assert [has_index(video(1, name=name)) for name in ("mov,mp4,m4a", "avi", "matroska,webm")] == [True, False, False]


def times(*pts: int) -> FrameTimes:
    return FrameTimes(np.array(pts, np.int64), pts[-1] + 10, Fraction(1, 100), np.array([0], np.int64))


def test_lost_entries_follow_the_frames_that_are_there_at_the_times_that_the_index_gives() -> None:
    entries = [entry(index) for index in range(6)]
    found = with_lost_entries(times(5, 15, 25), video(1300, *entries), 0, 3)  # shown 5 ticks after they are decoded
    assert found.pts.tolist() == [5, 15, 25, 35, 45, 55]
    assert (found.num_available, found.end, found.keyframes.tolist()) == (3, 65, [0])


def test_entries_that_are_not_shown_are_not_lost_either() -> None:
    entries = [*(entry(index) for index in range(4)), entry(4, discard=True)]
    assert with_lost_entries(times(0, 10, 20), video(1300, *entries), 0, 2).pts.tolist() == [0, 10, 20, 30]


def cut(path: Path, share: float) -> int:
    """Cut a file off, and return how many frames are left."""
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path.stat().st_size


def test_a_header_that_lies_about_size_and_duration_does_not_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(missing, "_MAX_LOST_FRAMES", 1000)
    path = tmp_path / "a.mkv"
    path.write_bytes(bytes.fromhex("1a45dfa3 80 18538067 01") + (2**50).to_bytes(7, "big"))
    forged = SimpleNamespace(
        size_bytes=path.stat().st_size,
        stream=SimpleNamespace(frames=0),
        container=SimpleNamespace(duration=10**12),
        file=SimpleNamespace(root=None),
    )
    found = with_lost_duration(times(5, 15, 25), cast(Any, forged), str(path))
    assert (found.num_frames, found.num_available) == (1003, 3)


@pytest.mark.parametrize(
    "write",
    [
        lambda path: write_video(path.with_suffix(".mp4"), NUM_FRAMES, container_options=FAST),
        lambda path: write_video(path.with_suffix(".avi"), NUM_FRAMES, codec="mpeg4"),
    ],
    ids=["mp4", "avi"],
)
def test_a_file_that_is_cut_off_still_has_all_its_frames_planned(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    path = write(tmp_path / "a")
    whole = probe_video(str(path)).times
    assert whole.num_frames == NUM_FRAMES
    cut(path, 0.6)
    found = probe_video(str(path)).times
    assert found.num_available is not None
    assert 0 < found.num_available < NUM_FRAMES
    assert found.num_frames == pytest.approx(NUM_FRAMES, abs=1)
    assert np.array_equal(found.pts[: found.num_available], whole.pts[: found.num_available])
    assert found.end == pytest.approx(whole.end, abs=2 * int(np.diff(whole.pts).max()))
