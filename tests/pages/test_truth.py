from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchmetrics.functional.classification import multiclass_calibration_error

from tests.pages.tables import rows_of
from tests.videos import write_video
from vidcnn.errors import DataError
from vidcnn.pages.truth import NUM_BINS, Truth, calibration_error, check_classes, read_truth, score_rows
from vidcnn.predictions.files import plain

ALWAYS = (0.0, float("inf"))


def compare(videos: dict[str, Any], truth: dict[str, Any], size: int = 1000) -> Any:
    table = pa.concat_tables([rows_of(name, clips) for name, clips in videos.items()])
    pieces = [plain(table.slice(start, size)) for start in range(0, table.num_rows, size)]
    labels = sorted({clip[0] for clips in videos.values() for clip in clips if clip})
    samples = {name: [(*ALWAYS, (one,))] if isinstance(one, str) else one for name, one in truth.items()}
    known = sorted({label for some in samples.values() for *_, names in some for label in names})
    return score_rows(pieces, Truth(tuple(known), samples), labels)


def test_clips_and_videos_are_counted_by_what_they_are() -> None:
    score = compare(
        {
            "a": [("cat", 0.9), ("cat", 0.8), ("dog", 0.7), None],
            "b": [("cat", 0.95), ("cat", 0.6), ("dog", 0.5)],
            "c": [],
            "other": [("dog", 0.9)],
        },
        {"a": "cat", "b": "dog", "c": "dog", "unseen": "dog"},
    )
    assert score.labels == ["cat", "dog"]
    assert (score.num_clips, score.num_right) == (6, 3)
    assert (score.num_videos, score.num_videos_of_one_class, score.num_videos_right) == (2, 2, 1)
    assert score.confusion.tolist() == [[2, 1], [2, 1]]
    assert (score.num_true.tolist(), score.num_predicted.tolist()) == ([3, 3], [4, 2])
    assert score.num_hits.tolist() == [2, 1]
    worst = [(clip.video, clip.label, clip.truth, clip.start_seconds) for clip in score.worst]
    assert worst == [("b", "cat", "dog", 0.0), ("a", "dog", "cat", 4.0)]


def test_a_clip_is_of_the_interval_in_which_its_middle_is() -> None:
    intervals = [(0.0, 3.0, ("cat",)), (3.0, 4.5, ("dog",)), (7.0, 9.0, ("cat", "dog"))]
    score = compare({"v": [("cat", 0.5), ("cat", 0.5), ("cat", 0.5), ("cat", 0.5)]}, {"v": intervals})
    # middles are 1, 3, 5 and 7: the third is in none, and the last is of two classes
    assert score.num_clips == 3
    assert score.num_right == 2
    assert score.confusion.tolist() == [[1, 0], [1, 0]]
    assert score.num_true.tolist() == [2, 2]
    assert score.num_videos_of_one_class == 0


@given(st.lists(st.tuples(st.floats(0.001, 1), st.booleans()), min_size=1, max_size=60), st.integers(1, 20))
def test_the_calibration_error_is_that_of_torchmetrics(clips: list[tuple[float, bool]], size: int) -> None:
    clips = [
        (score + 0.0005 if abs(score * NUM_BINS - round(score * NUM_BINS)) < 1e-3 else score, one)
        for score, one in clips
    ]
    clips = [(min(score, 0.9999), is_right) for score, is_right in clips]
    score = compare(
        {"v": [("x" if right else "y", value) for value, right in clips]}, {"v": [(*ALWAYS, ("x",))], "w": "y"}, size
    )
    scores = torch.tensor([[value, 0.0] for value, _ in clips])
    targets = torch.tensor([0 if right else 1 for _, right in clips])
    expected = multiclass_calibration_error(scores, targets, num_classes=2, n_bins=NUM_BINS, validate_args=False)
    assert score.calibration_error == pytest.approx(float(expected), abs=2e-3)
    assert score.bins[0].sum() == len(clips)


def test_perfect_scores_have_no_error_and_boasting_has_all() -> None:
    bins = np.zeros((3, NUM_BINS))
    bins[:, 7] = 10, 5.0, 5
    assert calibration_error(bins) == 0
    bins[:, 7] = 10, 10.0, 0
    assert calibration_error(bins) == 1


def test_truth_of_other_videos_or_classes_is_an_error() -> None:
    with pytest.raises(DataError, match=r"no predicted clip of the table is in the truth, whose names are such as 'w'"):
        compare({"v": [("cat", 0.5)]}, {"w": "cat"})
    with pytest.raises(DataError, match="no class in common"):
        check_classes(Truth(("0",), {}), ["cat"])
    check_classes(Truth(("0", "cat"), {}), ["cat", "dog"])
    check_classes(Truth(("0",), {}), [])


def test_truth_is_read_from_folders_and_lists_with_all_its_splits(tmp_path: Path) -> None:
    for name in ("cat/1.mp4", "dog/2.mp4"):
        (tmp_path / name).parent.mkdir()
        write_video(tmp_path / name, 4)
    found = read_truth(str(tmp_path))
    assert found.samples == {"cat/1.mp4": [(*ALWAYS, ("cat",))], "dog/2.mp4": [(*ALWAYS, ("dog",))]}
    table = "path,label,split,start_seconds,end_seconds\n1.mp4,cat|dog,train,0,0.05\n1.mp4,cat,train,0.05,0.1\n"
    (tmp_path / "truth.csv").write_text(table)
    found = read_truth(str(tmp_path / "truth.csv"), str(tmp_path / "cat"))
    assert found.samples == {"1.mp4": [(0.0, 0.05, ("cat", "dog")), (0.05, 0.1, ("cat",))]}
