"""Whether a run has anything to train on, as its first videos show before its workers start."""

from __future__ import annotations

from vidcnn.errors import DataError, VideoError
from vidcnn.training.clips import ClipReader
from vidcnn.training.feed import TrainingData

_NUM_VIDEOS = 32
"""Videos of which one must have a clip; as they come in the run's own order, they are of all classes."""


def find_no_sample(data: TrainingData) -> DataError | None:
    """Look for the first video of a run that has a clip to train on.

    Nothing is decoded, so usually one video is opened, which takes milliseconds.

    Returns:
        The error for the user where there is none among the first videos; None if there is one.
    """
    reader = ClipReader(data.clips)
    order = data.order
    numbers = range(min(order.epoch_size, _NUM_VIDEOS * order.repeats))
    failures: dict[int, VideoError] = {}
    for video in dict.fromkeys(order.sample(number).video for number in numbers):
        try:
            reader.plan(data.train[video], [0.0])
        except VideoError as error:
            failures[video] = error
        else:
            return None
    first, reason = next(iter(failures.items()))
    which = "any of the videos" if len(failures) == len(data.train) else f"any of the first {len(failures)} videos"
    is_short = all(failure.kind == "too_short" for failure in failures.values())
    return DataError(
        f"no clip can be taken of {which}: {data.train[first].video.name}: {reason.message}",
        "lower --num-frames or --stride, or give --short-clips repeat_last"
        if is_short
        else "check the videos with: vidcnn infer DIR --dry-run --out x.parquet",
    )
