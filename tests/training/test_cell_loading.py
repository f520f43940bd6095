"""Clips for training from a process that may die, and from storage that may fail."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.pipelines.crashing import CrashingOrder
from tests.training.footage import broken, film, training_data
from tests.video.test_golden import break_opencv
from vidcnn.errors import DecoderError, StorageError
from vidcnn.sampling.segments import ClipSpec
from vidcnn.storage.retrying import RetryPolicy
from vidcnn.training import cell_loading
from vidcnn.training.cell_loading import CellLoader, find_no_sample_in_cell, load_each, load_views_in_cell
from vidcnn.training.cell_loading import _load_views_each as cell_loading_views
from vidcnn.training.clips import entry_of
from vidcnn.training.feed import CacheSettings, DirectLoader
from vidcnn.training.views import ViewSettings
from vidcnn.video.cell import Cell
from vidcnn.video.container import MAX_PIXELS
from vidcnn.video.planning import PlanSettings

AT_ONCE = RetryPolicy(num_tries=2, first_wait_seconds=0)


@pytest.fixture
def cell() -> Iterator[Cell]:
    cell = Cell()
    yield cell
    cell.close()


def test_clips_are_those_that_this_process_would_load(tmp_path: Path, cell: Cell) -> None:
    videos = [film(tmp_path, f"{index}.mp4", 3 * index + 3, label=index % 4) for index in range(4)]
    data = training_data([*videos, broken(tmp_path, "5.mp4")], videos[:1])
    loader, direct = CellLoader(data, cell), DirectLoader(data)
    for samples in (range(4), range(3, 9)):
        loaded, expected = loader.finish(loader.start_samples(samples)), direct.start_samples(samples)
        assert np.array_equal(loaded.pixels, expected.pixels)
        assert np.array_equal(loaded.flipped, expected.flipped)
        assert np.array_equal(loaded.short, expected.short)
        assert [(number, str(error)) for number, error in loaded.failures] == [
            (number, str(error)) for number, error in expected.failures
        ]
    assert np.array_equal(loader.start_views(0).pixels, direct.start_views(0).pixels)


def test_a_confined_process_keeps_frames_with_the_help_of_its_parent(
    tmp_path: Path, cell: Cell, monkeypatch: pytest.MonkeyPatch
) -> None:
    videos = [film(tmp_path, f"{index}.mp4", 10, label=index % 4) for index in range(4)]
    cache = CacheSettings(tmp_path / "cache", 10**9, time.time())
    data = training_data(videos, videos[:1], num_epochs=50, cache=cache)
    expected = DirectLoader(replace(data, cache=None)).start_samples(range(8))
    assert np.array_equal(CellLoader(data, cell).start_samples(range(8)).pixels, expected.pixels)
    assert cell.strength is not None
    assert cell.strength.is_closed
    names = {entry_of(video, data.clips) for video in videos}
    assert {path.stem for path in cache.directory.iterdir()} == names
    for path in cache.directory.iterdir():  # what is read there is what comes
        content = bytearray(path.read_bytes())
        content[40:] = bytes(255 - value for value in content[40:])
        path.write_bytes(content)
    with Cell() as other:
        loader = CellLoader(data, other)
        assert np.array_equal(loader.start_samples(range(8)).pixels, 255 - expected.pixels)
        assert other.strength is not None
        assert other.strength.is_closed
    for path in cache.directory.iterdir():
        path.unlink()
    own = f"{'0' * 40}.frames"
    (cache.directory / own).write_bytes(b"of another run")
    monkeypatch.setattr(cell_loading, "entry_of", lambda video, _: {videos[0]: own[:40]}.get(video, ""))
    with Cell() as third:  # its parent grants it no entry that it asks for
        assert np.array_equal(CellLoader(data, third).start_samples(range(8)).pixels, expected.pixels)
    assert [path.name for path in cache.directory.iterdir()] == [own]


def test_what_kills_the_process_costs_one_sample(tmp_path: Path, cell: Cell) -> None:
    videos = [film(tmp_path, f"{index}.mp4", label=index % 4) for index in range(4)]
    data: Any = training_data(videos, order=CrashingOrder(len(videos), poison=6, survivor=os.getpid()))
    expected = DirectLoader(data).start_samples(range(4, 8))
    loaded = CellLoader(data, cell).start_samples(range(4, 8))
    ((index, error),) = loaded.failures
    assert (index, error.kind) == (2, "decoder_crash")
    good = [0, 1, 3]
    assert np.array_equal(loaded.pixels[good], expected.pixels[good])
    assert (loaded.pixels[2] == 0).all()


def test_storage_that_fails_is_no_bad_sample(tmp_path: Path, cell: Cell) -> None:
    video = film(tmp_path, "a.mp4")
    lost = replace(video, video=replace(video.video, error="cannot be read: input/output error", error_kind=None))
    with pytest.raises(StorageError, match="input/output error"):
        CellLoader(training_data([lost]), cell, AT_ONCE).start_samples(range(1))


def test_a_first_sample_is_looked_for_elsewhere(tmp_path: Path, cell: Cell) -> None:
    good = training_data([broken(tmp_path, "a.mp4"), film(tmp_path, "b.mp4")])
    assert find_no_sample_in_cell(good, cell) is None
    failure = find_no_sample_in_cell(training_data([broken(tmp_path, "a.mp4")]), cell)
    assert failure is not None
    assert "no clip can be taken of any of the videos: a.mp4" in failure.message
    deadly: Any = training_data([film(tmp_path, "c.mp4")], order=CrashingOrder(1, poison=0, survivor=os.getpid()))
    assert find_no_sample_in_cell(deadly, cell) is None  # the workers will tell which one it was


def load_wrongly(requests: Any, data: Any) -> Any:
    """Load in a process whose OpenCV swaps channels."""
    break_opencv()
    return load_each(requests, data)


def load_views_wrongly(videos: Any, settings: Any) -> Any:
    break_opencv()
    return cell_loading_views(videos, settings)


def test_no_clip_comes_from_a_process_that_decodes_wrongly(
    tmp_path: Path, cell: Cell, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = film(tmp_path, "a.mp4")
    data = training_data([video])
    monkeypatch.setattr(cell_loading, "load_each", load_wrongly)
    loader = CellLoader(data, cell)
    for _ in range(2):  # it is not used for the next samples either
        with pytest.raises(DecoderError, match="gives wrong pixels"):
            loader.start_samples(range(1))
    monkeypatch.setattr(cell_loading, "_load_views_each", load_views_wrongly)
    settings = ViewSettings(
        PlanSettings(ClipSpec(data.clips.sampling, num_clips=1), 25.0, MAX_PIXELS),
        data.clips.preprocessing,
        num_crops=1,
        exact=False,
    )
    with pytest.raises(DecoderError, match="gives wrong pixels"):
        load_views_in_cell(video, settings, cell)
