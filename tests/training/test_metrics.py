from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.functional import classification

from vidcnn.training.metrics import multi_label_metrics, single_label_metrics, video_scores

ABC = ("a", "b", "c")
FEW_SCORES = (0.0, 0.125, 0.5, 0.75, 1.0)


def f32(rows: Any) -> npt.NDArray[np.float32]:
    return np.array(rows, np.float32)


@st.composite
def scored_samples(draw: st.DrawFn) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Scores (N, K) with many ties, and targets (N,)."""
    num_classes, num_samples = draw(st.integers(1, 7)), draw(st.integers(0, 12))
    row = st.lists(st.sampled_from(FEW_SCORES), min_size=num_classes, max_size=num_classes)
    scores = draw(st.lists(row, min_size=num_samples, max_size=num_samples))
    targets = draw(st.lists(st.integers(0, num_classes - 1), min_size=num_samples, max_size=num_samples))
    return f32(scores).reshape(num_samples, num_classes), np.array(targets, np.int64)


def names(num_classes: int) -> list[str]:
    return [f"class{index}" for index in range(num_classes)]


def ranking(row: list[float]) -> list[int]:
    return sorted(range(len(row)), key=lambda index: (-row[index], index))


def average_precision(scores: list[float], targets: list[bool]) -> float:
    """Sum of (R_n - R_n-1) P_n over the distinct scores as thresholds, by counting."""
    area = recall = 0.0
    for threshold in sorted(set(scores), reverse=True):
        taken = [target for score, target in zip(scores, targets, strict=True) if score >= threshold]
        area += (sum(taken) / sum(targets) - recall) * sum(taken) / len(taken)
        recall = sum(taken) / sum(targets)
    return area


def assert_is_plain(value: Any) -> None:
    """Check that nothing is a number of numpy's or NaN."""
    if isinstance(value, dict | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            assert_is_plain(item)
    else:
        assert type(value) in (int, float, str, type(None))
        json.dumps(value, allow_nan=False)


def test_one_label_to_a_sample_by_hand() -> None:
    scores = f32([[3, 1, 0], [1, 2, 0], [2, 2, 0], [0, 1, -1]])
    metrics = single_label_metrics(scores, np.array([0, 0, 1, 1]), ABC, loss=0.5)
    assert metrics.confusion == ((1, 1, 0), (1, 1, 0), (0, 0, 0))  # the tie of sample 2 goes to class 0
    assert (metrics.num_samples, metrics.loss, metrics.top1, metrics.top5) == (4, 0.5, 0.5, None)
    assert metrics.mean_class_accuracy == 0.5
    assert metrics.mean_average_precision is None
    assert [(one.label, one.num_samples, one.precision, one.recall) for one in metrics.classes] == [
        ("a", 2, 0.5, 0.5), ("b", 2, 0.5, 0.5), ("c", 0, None, None),
    ]  # fmt: skip


def test_a_class_that_is_never_predicted_has_precision_zero_and_counts_in_the_mean() -> None:
    metrics = single_label_metrics(f32([[1, 0], [1, 0], [1, 0], [1, 0]]), np.array([0, 0, 0, 1]), ("a", "b"))
    assert (metrics.classes[1].precision, metrics.classes[1].recall) == (0.0, 0.0)
    assert metrics.mean_class_accuracy == 0.5
    assert metrics.top1 == 0.75


def test_a_class_that_is_predicted_but_has_no_samples_has_neither_precision_nor_recall() -> None:
    metrics = single_label_metrics(f32([[0, 1]]), np.array([0]), ("a", "b"))
    assert (metrics.classes[1].precision, metrics.classes[1].recall) == (None, None)
    assert metrics.mean_class_accuracy == 0.0


def test_top5_counts_the_first_five_of_six_and_ties_go_to_the_lower_index() -> None:
    scores = f32([[0, 0, 0, 0, 0, 0]] * 6)
    assert single_label_metrics(scores, np.arange(6), names(6)).top5 == pytest.approx(5 / 6)


@given(scored_samples())
def test_one_label_to_a_sample_agrees_with_counting(
    samples: tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]],
) -> None:
    scores, targets = samples
    num_samples, num_classes = scores.shape
    metrics = single_label_metrics(scores, targets, names(num_classes))
    assert_is_plain(asdict(metrics))
    ranks = [ranking(row) for row in scores.tolist()]
    truth = targets.tolist()
    assert metrics.confusion is not None
    for i in range(num_classes):
        for j in range(num_classes):
            assert metrics.confusion[i][j] == sum(t == i and r[0] == j for t, r in zip(truth, ranks, strict=True))
    if not num_samples:
        assert (metrics.top1, metrics.top5, metrics.mean_class_accuracy) == (None, None, None)
        return
    assert metrics.top1 == sum(t == r[0] for t, r in zip(truth, ranks, strict=True)) / num_samples
    top5 = sum(t in r[:5] for t, r in zip(truth, ranks, strict=True)) / num_samples
    assert metrics.top5 == (top5 if num_classes >= 5 else None)


@settings(deadline=None)
@given(scored_samples())
def test_one_label_to_a_sample_agrees_with_torchmetrics(
    samples: tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]],
) -> None:
    scores, targets = samples
    num_samples, num_classes = scores.shape
    if num_classes < 2 or not num_samples:
        return
    metrics = single_label_metrics(scores, targets, names(num_classes))
    predicted = torch.tensor([ranking(row)[0] for row in scores.tolist()])
    truth = torch.tensor(targets)
    arguments = {"num_classes": num_classes}
    confusion = classification.multiclass_confusion_matrix(predicted, truth, **arguments)
    assert metrics.confusion == tuple(map(tuple, confusion.tolist()))
    precision = classification.multiclass_precision(predicted, truth, average=None, **arguments).tolist()
    recall = classification.multiclass_recall(predicted, truth, average=None, **arguments).tolist()
    for index, one in enumerate(metrics.classes):
        if one.num_samples:
            assert (one.precision, one.recall) == pytest.approx((precision[index], recall[index]))
        else:
            assert (one.precision, one.recall) == (None, None)
    assert metrics.mean_class_accuracy == pytest.approx(np.mean([recall[index] for index in set(targets.tolist())]))


def test_several_labels_to_a_sample_by_hand() -> None:
    scores = f32([[0.9, 0.2, 0.6], [0.8, 0.6, 0.1], [0.7, 0.5, 0.1]])
    targets = np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0]], np.bool_)
    metrics = multi_label_metrics(scores, targets, ABC, loss=0.25)
    a, b, c = metrics.classes
    assert a.average_precision == pytest.approx(1 / 2 + 1 / 2 * 2 / 3)
    assert (a.precision, a.recall) == (2 / 3, 1.0)
    assert b.average_precision == pytest.approx(1.0)
    assert (b.precision, b.recall) == (1.0, 0.5)  # 0.5 is not above the threshold
    assert (c.num_samples, c.precision, c.recall, c.average_precision) == (0, None, None, None)
    assert metrics.mean_average_precision == pytest.approx((5 / 6 + 1) / 2)
    assert (metrics.num_samples, metrics.loss) == (3, 0.25)
    assert (metrics.top1, metrics.top5, metrics.mean_class_accuracy, metrics.confusion) == (None,) * 4


@settings(deadline=None)
@given(scored_samples(), st.randoms(use_true_random=False))
def test_several_labels_to_a_sample_agree_with_counting(
    samples: tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]], random: Any
) -> None:
    scores, _ = samples
    num_classes = scores.shape[1]
    targets = np.array([random.random() < 0.4 for _ in range(scores.size)], np.bool_).reshape(scores.shape)
    metrics = multi_label_metrics(scores, targets, names(num_classes))
    assert_is_plain(asdict(metrics))
    found = []
    for index, one in enumerate(metrics.classes):
        truth, predicted = targets[:, index].tolist(), (scores[:, index] > 0.5).tolist()
        hits = sum(t and p for t, p in zip(truth, predicted, strict=True))
        assert one.num_samples == sum(truth)
        if not one.num_samples:
            assert (one.precision, one.recall, one.average_precision) == (None, None, None)
            continue
        assert one.precision == (hits / sum(predicted) if any(predicted) else 0.0)
        assert one.recall == hits / sum(truth)
        found.append(average_precision(scores[:, index].tolist(), truth))
        assert one.average_precision == pytest.approx(found[-1], abs=1e-6)
    assert metrics.mean_average_precision == (pytest.approx(np.mean(found), abs=1e-6) if found else None)


@given(st.lists(st.tuples(st.integers(0, 4), st.lists(st.floats(0, 1, width=32), min_size=2, max_size=2))))
def test_scores_of_views_are_averaged_by_video_in_whatever_order(views: list[tuple[int, list[float]]]) -> None:
    index = np.array([video for video, _ in views], np.int64)
    scores = f32([row for _, row in views]).reshape(len(views), 2)
    found, videos = video_scores(scores, index)
    assert videos.tolist() == sorted(set(index.tolist()))
    assert (found.dtype, found.shape) == (np.float32, (len(videos), 2))
    for video, row in zip(videos.tolist(), found, strict=True):
        assert row == pytest.approx(scores[index == video].astype(np.float64).mean(axis=0), rel=1e-6, abs=1e-12)
    backwards, _ = video_scores(scores[::-1], index[::-1])
    assert np.allclose(backwards, found, rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("scores", "targets", "message"),
    [
        (np.zeros((2, 2)), np.array([0, 1]), r"\(2, 2\) must have one column for each of 3 labels"),
        (np.zeros(3), np.array([0]), "one column"),
        (np.zeros((2, 3)), np.array([0]), r"targets \(1,\)"),
        (np.zeros((2, 3)), np.array([0, 3]), "target 3 of sample 1 is none of 3 classes"),
        (np.zeros((2, 3)), np.array([-1, 0]), "target -1 of sample 0"),
        (np.array([[0, 0, 0], [0, np.nan, 0]]), np.array([0, 0]), r"sample 1 are not finite \(1 of 2"),
    ],
)
def test_what_does_not_fit_one_label_to_a_sample_is_refused(scores: Any, targets: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        single_label_metrics(f32(scores), targets, ABC)


@pytest.mark.parametrize(
    ("scores", "targets", "message"),
    [
        (np.zeros((2, 3)), np.zeros((2, 2), np.bool_), r"targets \(bool \(2, 2\)\) must be bool \(2, 3\)"),
        (np.zeros((2, 3)), np.zeros((2, 3), np.int64), "must be bool"),
        (np.full((2, 3), 1.5), np.zeros((2, 3), np.bool_), "apply a sigmoid"),
        (np.full((2, 3), -0.5), np.zeros((2, 3), np.bool_), "apply a sigmoid"),
        (np.zeros((2, 0)), np.zeros((2, 0), np.bool_), "one column"),
    ],
)
def test_what_does_not_fit_several_labels_to_a_sample_is_refused(scores: Any, targets: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        multi_label_metrics(f32(scores), targets, ABC)


def test_views_without_a_video_are_refused() -> None:
    with pytest.raises(ValueError, match=r"video_index \(1,\) must have one video for each row of scores \(2, 3\)"):
        video_scores(f32(np.zeros((2, 3))), np.array([0]))
