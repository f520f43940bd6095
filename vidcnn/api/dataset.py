"""The samples of a training run, for a training loop of your own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from vidcnn.api.runs import Location
from vidcnn.config import TrainSpec
from vidcnn.config.base import read_spec
from vidcnn.models.registry import ARCHITECTURES
from vidcnn.training.data import read_data
from vidcnn.training.feed import DirectLoader, one_hot
from vidcnn.training.plan import plan_training


class TrainingSample(NamedTuple):
    """A sample, as a `torch.utils.data.DataLoader` puts them into batches.

    Attributes:
        pixels: uint8 (T, h, w, 3) RGB, augmented.
        targets: float32 (K,): 1 for each class of the sample, else 0.
        weight: 1, or 0 where the clip could not be decoded, and its pixels mean nothing.
    """

    pixels: Tensor
    targets: Tensor
    weight: Tensor


class ClipDataset(Dataset[TrainingSample]):
    """The numbered samples of a training run: sample i is the same whenever and wherever it is loaded.

    Its length is that of an epoch; numbers continue beyond it, so that sample ``len(dataset) + i`` is in the second
    epoch.

    Args:
        data: Labelled videos: a folder of class folders, or a table or list.
        **options: Options of ``vidcnn train`` for how clips are taken and augmented, with ``_`` for ``-``:
            ``seed=1``, ``num_frames=8``, ``flip="off"``. Weights are not needed.

    Attributes:
        labels: Names of the K classes.

    Raises:
        UsageError: An option is unknown, or its value impossible.
        DataError: The data cannot be trained on; the message lists all that is wrong.
    """

    def __init__(self, data: Location, **options: Any) -> None:
        place = {"data": os.fspath(data), "out": os.curdir}
        options = {
            name: os.fspath(value) if isinstance(value, os.PathLike) else value for name, value in options.items()
        }
        if options.get("model", "r3d_18") in ARCHITECTURES:
            options = {"weights": "random", **options}
        spec = read_spec(TrainSpec, {"batch_size": 1, **options, **place})
        plan = plan_training(spec, read_data(spec), Path(), num_workers=1, precision="fp32")
        self._data = plan.data
        self._loader = DirectLoader(plan.data)
        self.labels = plan.data.labels

    def __len__(self) -> int:
        """Return the number of samples of an epoch."""
        return self._data.order.epoch_size

    def __iter__(self) -> Iterator[TrainingSample]:
        """Load the samples of the first epoch, one after the other."""
        return map(self.__getitem__, range(len(self)))

    def __getitem__(self, number: int) -> TrainingSample:
        """Load a sample.

        Raises:
            IndexError: `number` is negative.
            StorageError: Its video cannot be read now, through no fault of its own.
        """
        if number < 0:
            raise IndexError(f"samples are numbered from 0, not {number}")
        loaded = self._loader.start_samples(range(number, number + 1))
        video = self._data.train[self._data.order.sample(number).video]
        targets = one_hot([video.labels], len(self.labels))[0]
        targets = self._data.flips.targets(targets, bool(loaded.flipped[0]))
        weight = 0.0 if loaded.failures else 1.0
        return TrainingSample(
            torch.from_numpy(loaded.pixels[0]), torch.from_numpy(targets.copy()), torch.tensor(weight)
        )
