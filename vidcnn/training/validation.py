"""What a network in training reaches on videos that it is not trained on.

Every worker scores some of the videos, and the scores are gathered with their videos' numbers: each clip counts exactly
once, however many workers there are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vidcnn.annotations import LabelledVideo
from vidcnn.errors import DataError, ModelError
from vidcnn.training.batch import Worker
from vidcnn.training.feed import Feed, one_hot
from vidcnn.training.metrics import Metrics, multi_label_metrics, single_label_metrics, video_scores

if TYPE_CHECKING:
    from vidcnn.training.loop import Trainer


@dataclass(frozen=True)
class Validation:
    """What was reached.

    Attributes:
        clips: Over single clips.
        videos: Over the mean scores of each video's clips.
        num_bad_videos: Videos that had no clip to score; they are in neither.
    """

    clips: Metrics
    videos: Metrics
    num_bad_videos: int

    @property
    def score(self) -> float | None:
        """The number by which networks are compared: top-1, or mAP with several labels, over videos."""
        return self.videos.top1 if self.videos.top1 is not None else self.videos.mean_average_precision


def validate(
    trainer: Trainer,
    feed: Feed,
    worker: Worker,
    samples: tuple[LabelledVideo, ...],
    labels: tuple[str, ...],
    *,
    multi_label: bool,
    hint: Callable[[str], str] = lambda change: change,
) -> Validation | None:
    """Score the validation videos, in step with the other workers.

    Args:
        trainer: The network.
        feed: Loads this worker's share of the videos.
        worker: Rank of this worker and number of workers.
        samples: The videos.
        labels: Names of the K classes.
        multi_label: Whether classes are scored independently.
        hint: Returns how to train with a change that it is given.

    Returns:
        What was reached, in the first worker; None in the others.

    Raises:
        DataError: A score is not a number; in all workers.
        ModelError: It would be one in float32; in all workers.
    """
    trainer.share_statistics()
    numbers, scores = [], []
    is_plain = True  # whether scores that are no numbers are none in float32 either
    for video, views in feed.views():
        bad = {index for index, _ in views.failures}
        good = [index for index in range(len(views.pixels)) if index not in bad]
        if good:
            scores.append(trainer.scores(views.pixels[good]).numpy())
            if not np.isfinite(scores[-1]).all():
                is_plain = is_plain and not trainer.scores(views.pixels[good], plainly=True).isfinite().all()
            numbers.append(np.full(len(good), video))
    gathered = exchange((numbers, scores, is_plain), worker)
    flat_numbers = [array for part, _, _ in gathered for array in part]
    flat_scores = [array for _, part, _ in gathered for array in part]
    for array, found in zip(flat_numbers, flat_scores, strict=True):
        if not np.isfinite(found).all():
            where = f"after step {trainer.step} the scores of {samples[array[0]].video.name} are not numbers"
            if not all(plain for _, _, plain in gathered):
                raise ModelError(f"{where} in bf16 but are in float32", hint("train with --precision fp32"))
            raise DataError(
                f"{where}, and in float32 neither: the weights have grown too large",
                hint("lower --lr, or set --clip-norm 1"),
            )
    if worker.rank:
        return None
    return summarise_scores(flat_numbers, flat_scores, samples, labels, multi_label=multi_label)


def summarise_scores(
    numbers: list[np.ndarray],
    scores: list[np.ndarray],
    samples: tuple[LabelledVideo, ...],
    labels: tuple[str, ...],
    *,
    multi_label: bool,
) -> Validation:
    """Turn the scores of clips into what was reached.

    Args:
        numbers: Arrays (n,) with the index of the video of each clip.
        scores: Arrays (n, K) with the scores of each clip.
        samples: The videos.
        labels: Names of the K classes.
        multi_label: Whether classes are scored independently.
    """
    # The order of workers must not show in the last bit.
    index = np.concatenate([*numbers, np.zeros(0, np.int64)]).astype(np.int64)
    values = np.concatenate([*scores, np.zeros((0, len(labels)), np.float32)]).astype(np.float32)
    order = np.argsort(index, kind="stable")
    index, values = index[order], values[order]
    targets = one_hot([sample.labels for sample in samples], len(labels))
    of_videos, videos = video_scores(values, index)

    def metrics(found: np.ndarray, which: np.ndarray) -> Metrics:
        if multi_label:
            return multi_label_metrics(found, targets[which] > 0, labels)
        return single_label_metrics(found, targets[which].argmax(axis=1), labels)

    return Validation(metrics(values, index), metrics(of_videos, videos), len(samples) - len(videos))


def validation_numbers(found: Validation) -> dict[str, Any]:
    """Return what a validation reached as flat JSON values, over videos and, with ``clip_`` before them, over clips."""
    numbers: dict[str, Any] = {"num_videos": found.videos.num_samples, "num_bad_videos": found.num_bad_videos}
    for prefix, metrics in (("", found.videos), ("clip_", found.clips)):
        for name in ("top1", "top5", "mean_class_accuracy", "mean_average_precision"):
            value = getattr(metrics, name)
            if value is not None:
                numbers[prefix + name] = value
    return numbers


def exchange(value: Any, worker: Worker) -> list[Any]:
    """Return the values of all workers, by rank, in each of them."""
    if worker.count == 1:
        return [value]
    import torch.distributed as dist

    values: list[Any] = [None] * worker.count
    dist.all_gather_object(values, value)
    return values
