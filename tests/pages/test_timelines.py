from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from tests.pages.tables import rows_of
from vidcnn.pages.timelines import ERROR, NOTHING, clips_per_cell, read_timelines
from vidcnn.predictions.files import plain

LABELS = ["a", "b", "c"]


def read(videos: dict[str, Any], size: int = 1000, **bounds: int) -> Any:
    table = pa.concat_tables([rows_of(name, clips) for name, clips in videos.items()])
    pieces = [plain(table.slice(start, size)) for start in range(0, table.num_rows, size)]
    listed = {name: len(clips) - 1 for name, clips in videos.items()}
    return read_timelines(pieces, listed, LABELS, **({"max_cells": 1000, "max_cells_of_one": 1000} | bounds))


@given(st.lists(st.integers(0, 500), min_size=1, max_size=30), st.integers(1, 300), st.integers(1, 100))
def test_cells_fit_and_no_fewer_are_made_than_fit(num_clips: list[int], most: int, most_of_one: int) -> None:
    clips = np.array(num_clips, np.int64)
    per_cell = clips_per_cell(clips, max_cells=most, max_cells_of_one=most_of_one)
    cells = -(-clips // per_cell)
    assert (per_cell >= 1).all()
    assert (cells <= most_of_one).all()
    assert cells.sum() <= max(most, np.count_nonzero(clips))
    if clips.sum() <= most and clips.max() <= most_of_one:
        assert (per_cell == 1).all()


@given(
    st.lists(
        st.one_of(st.none(), st.tuples(st.sampled_from("abc"), st.floats(0, 1, width=32))), min_size=1, max_size=40
    ),
    st.integers(1, 40),
    st.integers(1, 12),
)
def test_a_cell_has_the_best_of_its_clips(clips: list[Any], size: int, most: int) -> None:
    found = read({"x": [("a", 0.5)], "v": clips}, size, max_cells_of_one=most)
    step = -(-len(clips) // most)
    assert found.clips_per_cell.tolist() == [1, step]
    cells = [clips[start : start + step] for start in range(0, len(clips), step)]
    for cell, start, number in zip(cells, range(0, len(clips), step), range(1, 1000), strict=False):
        good = [clip for clip in cell if clip is not None]
        best = max(good, key=lambda clip: clip[1]) if good else None  # of equals, the first
        label, score = (ERROR, 0.0) if best is None else (LABELS.index(best[0]), best[1])
        if size >= len(clips):
            assert found.labels[number] == label
        assert found.scores[number] == np.float32(score)
        assert (found.starts[number], found.ends[number]) == (start * 2.0, min(len(clips), start + step) * 2.0)
    assert found.num_predictions.tolist() == [1, sum(clip is not None for clip in clips)]
    assert found.num_errors.tolist() == [0, sum(clip is None for clip in clips)]
    np.testing.assert_allclose(found.score_sums[1], sum(clip[1] for clip in clips if clip), atol=1e-5)


def test_videos_without_clips_have_no_cells_and_their_error() -> None:
    found = read({"bad": [], "v": [None, ("b", 0.5)], "worse": []})
    assert found.first_cell.tolist() == [0, 0, 2, 2]
    assert found.labels.tolist() == [ERROR, 1]
    assert found.first_errors == {
        0: ("unreadable", "it is no video"),
        1: ("corrupt_frames", "frames that this clip needs are damaged"),
        2: ("unreadable", "it is no video"),
    }
    assert len(read({"bad": []}).labels) == 0


def test_rows_that_are_not_there_are_nothing_and_other_videos_are_passed_over() -> None:
    pieces = [plain(rows_of("other", [("a", 0.5)])), plain(rows_of("v", [("a", 0.5)]))]
    found = read_timelines(pieces, {"v": 2}, LABELS, max_cells=10, max_cells_of_one=10)
    assert found.labels.tolist() == [0, NOTHING, NOTHING]
    assert np.isnan(found.starts[1:]).all()
