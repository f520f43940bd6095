"""What a model reached: from scores and targets of all samples to one frozen record.

Takes the scores of N samples and what they really are; returns `Metrics`, which contain plain numbers only, so that
`dataclasses.asdict` makes JSON of them. Nothing is accumulated over batches: whoever evaluates gathers the samples,
each exactly once, and the result does not depend on how they were spread over workers.

A *sample* is a clip or a video: `video_scores` turns the scores of views (clip x crop) into scores of videos.

Letters: N samples, K classes, V videos.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vidcnn.models.ranking import FloatArray, top_classes
from vidcnn.sampling.grid import IntArray
from vidcnn.sampling.segments import BoolArray

DECISION_THRESHOLD = 0.5
"""With several labels to a sample, a class is predicted where its probability is above this."""


@dataclass(frozen=True)
class ClassMetrics:
    """What a model reached on one class.

    Attributes:
        label: Name of the class.
        num_samples: Samples that are of this class.
        precision: Share of the samples predicted as this class that are of it; 0 where none was predicted (as
            in scikit-learn), None where no sample is of this class.
        recall: Share of the samples of this class that were predicted as it; None where there is none.
        average_precision: Area under the precision-recall curve, without interpolation; None where no sample is of
            this class, and where a sample has exactly one label.
    """

    label: str
    num_samples: int
    precision: float | None
    recall: float | None
    average_precision: float | None


@dataclass(frozen=True)
class Metrics:
    """What a model reached. A figure that does not apply, or that has no sample to rest on, is None.

    Attributes:
        num_samples: Samples, N.
        loss: Mean loss, as the caller measured it.
        top1: Share of samples whose class has the highest score; with one label to a sample.
        top5: Share of samples whose class is among the five with the highest scores; with one label to a sample, and
            at least five classes.
        mean_class_accuracy: Mean recall of the classes that have samples; with one label to a sample.
        mean_average_precision: Mean average precision of the classes that have samples; with several labels to a
            sample.
        classes: Each class by itself, in the order of the labels.
        confusion: ``confusion[i][j]`` samples of class i were predicted as class j; with one label to a sample.
    """

    num_samples: int
    loss: float | None
    top1: float | None
    top5: float | None
    mean_class_accuracy: float | None
    mean_average_precision: float | None
    classes: tuple[ClassMetrics, ...]
    confusion: tuple[tuple[int, ...], ...] | None


def single_label_metrics(
    scores: FloatArray, targets: IntArray, labels: Sequence[str], *, loss: float | None = None
) -> Metrics:
    """Measure a model where each sample is of exactly one class.

    Of equal scores the first class by index ranks first, as in the predictions table.

    Args:
        scores: float32 (N, K): probabilities or logits, only their order counts.
        targets: int64 (N,): index of each sample's class, in [0, K).
        labels: Names of the K classes.
        loss: Mean loss of the samples, to be kept with the rest.

    Raises:
        ValueError: The shapes do not fit, a score is not finite, or a target is no class.
    """
    num_samples, num_classes = _checked_shape(scores, labels)
    if targets.shape != (num_samples,):
        raise ValueError(f"targets {targets.shape} must have one class for each of {num_samples} samples")
    strays = np.flatnonzero((targets < 0) | (targets >= num_classes))
    if len(strays):
        raise ValueError(f"target {targets[strays[0]]} of sample {strays[0]} is none of {num_classes} classes")

    best, _ = top_classes(scores, 5)
    is_hit = best == targets[:, None]
    cells = np.bincount(targets * num_classes + best[:, 0], minlength=num_classes**2)
    confusion = cells.reshape(num_classes, num_classes)  # (true class, predicted class)
    classes = _class_metrics(labels, confusion.sum(axis=1), confusion.sum(axis=0), confusion.diagonal())
    return Metrics(
        num_samples=num_samples,
        loss=loss,
        top1=_share(is_hit[:, 0].sum(), num_samples),
        top5=_share(is_hit.sum(), num_samples) if num_classes >= 5 else None,
        mean_class_accuracy=_mean([one.recall for one in classes]),
        mean_average_precision=None,
        classes=classes,
        confusion=tuple(tuple(row) for row in confusion.tolist()),
    )


def multi_label_metrics(
    scores: FloatArray, targets: BoolArray, labels: Sequence[str], *, loss: float | None = None
) -> Metrics:
    """Measure a model where a sample is of any number of classes, none included.

    Precision and recall are those of the classes whose probability is above `DECISION_THRESHOLD`; average precision
    needs no threshold. Samples with equal scores enter it together, so it does not depend on their order.

    Args:
        scores: float32 (N, K): probability of each class, in [0, 1].
        targets: bool (N, K): whether each sample is of each class.
        labels: Names of the K classes.
        loss: Mean loss of the samples, to be kept with the rest.

    Raises:
        ValueError: The shapes do not fit, a score is no probability, or the targets are not bool.
    """
    num_samples, _ = _checked_shape(scores, labels)
    if targets.shape != scores.shape or targets.dtype != np.bool_:
        raise ValueError(f"targets ({targets.dtype} {targets.shape}) must be bool {scores.shape}, like the scores")
    if num_samples and not (scores.min() >= 0 and scores.max() <= 1):
        raise ValueError(f"scores in [{scores.min()}, {scores.max()}] must be probabilities: apply a sigmoid to logits")

    is_predicted = scores > DECISION_THRESHOLD
    classes = _class_metrics(
        labels,
        targets.sum(axis=0),
        is_predicted.sum(axis=0),
        (is_predicted & targets).sum(axis=0),
        [_average_precision(scores[:, index], targets[:, index]) for index in range(len(labels))],
    )
    return Metrics(
        num_samples=num_samples,
        loss=loss,
        top1=None,
        top5=None,
        mean_class_accuracy=None,
        mean_average_precision=_mean([one.average_precision for one in classes]),
        classes=classes,
        confusion=None,
    )


def video_scores(scores: FloatArray, video_index: IntArray) -> tuple[FloatArray, IntArray]:
    """Average the scores of each video's views.

    Args:
        scores: float32 (N, K) of views; probabilities, where videos are to be scored as the field does.
        video_index: int64 (N,): number of the video that each view shows, in any order.

    Returns:
        float32 (V, K), and int64 (V,): which video each row is of, increasing. Sums are in float64, so
        that the order of a video's views does not show but in rare last bits.

    Raises:
        ValueError: There is not one video for each view.
    """
    if scores.ndim != 2 or video_index.shape != scores.shape[:1]:
        raise ValueError(f"video_index {video_index.shape} must have one video for each row of scores {scores.shape}")
    videos, rows, num_views = np.unique(video_index, return_inverse=True, return_counts=True)
    sums = np.zeros((len(videos), scores.shape[1]), np.float64)
    np.add.at(sums, rows, scores)
    return (sums / num_views[:, None]).astype(np.float32), videos.astype(np.int64)


def _checked_shape(scores: FloatArray, labels: Sequence[str]) -> tuple[int, int]:
    if scores.ndim != 2 or not labels or scores.shape[1] != len(labels):
        raise ValueError(f"scores {scores.shape} must have one column for each of {len(labels)} labels (at least 1)")
    broken = np.flatnonzero(~np.isfinite(scores).all(axis=1))
    if len(broken):
        raise ValueError(f"scores of sample {broken[0]} are not finite ({len(broken)} of {len(scores)} samples)")
    return len(scores), len(labels)


def _class_metrics(
    labels: Sequence[str],
    num_samples: IntArray,
    num_predicted: IntArray,
    num_correct: IntArray,
    average_precisions: Sequence[float | None] | None = None,
) -> tuple[ClassMetrics, ...]:
    return tuple(
        ClassMetrics(
            label=label,
            num_samples=int(num_samples[index]),
            precision=(_share(num_correct[index], num_predicted[index]) or 0.0) if num_samples[index] else None,
            recall=_share(num_correct[index], num_samples[index]),
            average_precision=average_precisions[index] if average_precisions else None,
        )
        for index, label in enumerate(labels)
    )


def _average_precision(scores: FloatArray, targets: BoolArray) -> float | None:
    """Return the sum of precision x rise of recall over all thresholds; None without a sample of the class.

    ::

        scores     .9  .7  .7  .2       sorted; samples of equal score pass a threshold together
        targets     1   1   0   1
        hits        1       2   3       at the last sample of each score
        precision 1/1     2/3 3/4
        result    1/3 * (1 + 2/3 + 3/4)
    """
    num_positive = int(targets.sum())
    if not num_positive:
        return None
    order = np.argsort(-scores, kind="stable")
    last_of_score = np.flatnonzero(np.diff(scores[order], append=-1))
    hits = np.cumsum(targets[order])[last_of_score]
    return float(np.sum(hits / (last_of_score + 1) * np.diff(hits, prepend=0)) / num_positive)


def _share(count: np.integer[npt.NBitBase], total: int | np.integer[npt.NBitBase]) -> float | None:
    return int(count) / int(total) if total else None


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
