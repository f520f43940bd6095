"""Small labelled videos of numbered frames, and all that a run on them takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.training.cases import NUM_CLASSES, recipe, tiny_bundle
from tests.videos import write_video
from vidcnn.annotations import LabelledVideo
from vidcnn.models.bundle import Bundle
from vidcnn.sampling.preprocessing import Preprocessing
from vidcnn.sampling.segments import Sampling
from vidcnn.sources import SourceVideo
from vidcnn.training.augment import Augmentation, FlipRule
from vidcnn.training.clips import ClipSettings
from vidcnn.training.feed import TrainingData
from vidcnn.training.recipe import Recipe
from vidcnn.training.samples import SampleOrder
from vidcnn.training.state import RunSettings

LABELS = ("a", "b", "c", "d")
FULL_SIZE = Preprocessing((64, 64), (64, 64), (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
"""Frames as they are, whose numbers can be read."""

SMALL = replace(FULL_SIZE, resize=(18, 18), crop=(16, 16))
"""Frames that a network is quick with."""


AS_NUMBERS: dict[str, Any] = {
    "augmentation": Augmentation((64, 64)),
    "clips": ClipSettings(Sampling(4, stride=1), FULL_SIZE, "repeat_last", 25.0, 8192 * 8192),
}
"""What makes `training_data` leave frames as they are."""


def labelled(path: Path, label: int = 0, **values: Any) -> LabelledVideo:
    """Label a file as if it had been listed."""
    status = path.stat()
    video = SourceVideo(path.name, str(path), False, status.st_size, status.st_mtime_ns, None, None)
    return LabelledVideo(video, (label,), **values)


def film(directory: Path, name: str, num_frames: int = 12, label: int = 0, **values: Any) -> LabelledVideo:
    """Write a video of numbered frames; those of a class begin with a number of their own."""
    return labelled(write_video(directory / name, num_frames, first_number=256 * label, **values), label)


def broken(directory: Path, name: str, label: int = 0) -> LabelledVideo:
    """Write a file that is no video."""
    path = directory / name
    path.write_bytes(b"this was never a video")
    return labelled(path, label)


def clip_settings(sampling: Sampling | None = None, preprocessing: Preprocessing = FULL_SIZE) -> ClipSettings:
    return ClipSettings(sampling or Sampling(4, stride=2), preprocessing, "repeat_last", 25.0, 8192 * 8192)


def training_data(
    train: Sequence[LabelledVideo], val: Sequence[LabelledVideo] = (), *, flip: bool = False, **values: Any
) -> TrainingData:
    settings = clip_settings(Sampling(4, stride=1), SMALL)
    given = {
        "labels": LABELS,
        "train": tuple(train),
        "val": tuple(val),
        "order": SampleOrder(len(train), seed=5),
        "augmentation": Augmentation(settings.preprocessing.crop, flip=flip),
        "flips": FlipRule(flip, tuple(range(NUM_CLASSES))),
        "clips": settings,
        "num_val_clips": 2,
        "num_epochs": 3,
    }
    return TrainingData(**{**given, **values})


def small_bundle(directory: Path, **arguments: Any) -> Bundle:
    return replace(tiny_bundle(directory, **arguments), sampling=Sampling(4, stride=1), preprocessing=SMALL)


def short_recipe(num_steps: int = 12, **values: Any) -> Recipe:
    return recipe(num_steps=num_steps, batch_size=4, ema_decay=0.8, **values)


def run_settings(directory: Path, **values: Any) -> RunSettings:
    given: dict[str, Any] = {"note_steps": 2, "validate_steps": 5, "checkpoint_seconds": 1e9, "num_best": 1}
    return RunSettings(directory, **(given | values))
