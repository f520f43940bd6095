"""The samples of a training run as a numbered list.

Sample ``i`` is a pure function of the run's seed and ``i``: which video, which place in it, which augmentation. Global
step ``k`` is the samples ``[k * B, (k + 1) * B)``, however many workers share them. So shuffling, continuing in the
middle of an epoch, and training with another number of workers all follow from counting.

Samples are numbered through all epochs. With 3 videos, each taken twice when it comes up, an epoch has 6 samples::

    i        0 1 2 3 4 5 | 6 7 8 9 10 11 | ...
    epoch    0           | 1             |
    video    2 0 2 0 1 1 | 0 1 0 1 2  2  |       a new order in each epoch, another place in the video each time

Videos take turns in twos, so that neighbours, which mixing blends, are of different videos.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from vidcnn.sampling.grid import IntArray

_ORDER, _CLASS_ORDER, _SAMPLE = range(3)
"""What random numbers are drawn for, so that no two streams are the same."""


@dataclass(frozen=True)
class Sample:
    """One sample of a run.

    Attributes:
        number: Its number, i.
        video: Index of its video among the videos of the training split.
        place: Where its clip is among the possible starts, in [0, 1).
        seed: Seed of its augmentation, in [0, 2**63).
    """

    number: int
    video: int
    place: float
    seed: int


class SampleOrder:
    """The order in which a run takes its videos.

    Args:
        num_videos: Videos of the training split.
        seed: Seed of the run.
        repeats: Samples taken from a video each time that it comes up (repeated augmentation, Hoffer et al. 2020).
        classes: Class of each video, for sampling all classes equally often; None takes each video once an epoch.

    Raises:
        ValueError: A number is not positive, or there is not one class for each video.
    """

    def __init__(self, num_videos: int, seed: int, repeats: int = 1, classes: Sequence[int] | None = None) -> None:
        if min(num_videos, repeats) < 1 or seed < 0:
            raise ValueError(f"num_videos ({num_videos}) and repeats ({repeats}) must be > 0, seed ({seed}) >= 0")
        if classes is not None and len(classes) != num_videos:
            raise ValueError(f"{len(classes)} classes for {num_videos} videos")
        self._arguments = (num_videos, seed, repeats, classes)
        self.num_videos, self.seed, self.repeats = num_videos, seed, repeats
        numbers = np.unique([] if classes is None else classes)
        self._members = [np.flatnonzero(np.asarray(classes) == number) for number in numbers]
        self._epoch_order = lru_cache(maxsize=4)(self._draw_epoch)
        self._class_order = lru_cache(maxsize=4 * len(self._members) + 1)(self._draw_class)

    def __reduce__(self) -> tuple[Any, ...]:
        return SampleOrder, self._arguments

    @property
    def epoch_size(self) -> int:
        """Samples in an epoch."""
        return self.num_videos * self.repeats

    def sample(self, number: int) -> Sample:
        """Return sample `number`, from 0 on without end."""
        epoch, position = divmod(number, self.epoch_size)
        order = self._epoch_order(epoch)
        turn, inside = divmod(position, 2 * self.repeats)
        num_together = min(2, self.num_videos - 2 * turn)
        video = int(order[2 * turn + inside % num_together])
        place, seed = _generator(self.seed, _SAMPLE, number).integers(0, 2**63, 2, np.int64).tolist()
        return Sample(number, video, (place >> 10) / 2**53, seed)

    def _draw_epoch(self, epoch: int) -> IntArray:
        """Return the videos of an epoch in their order."""
        shuffled = _generator(self.seed, _ORDER, epoch).permutation(self.num_videos)
        if not self._members:
            return shuffled
        # The epoch's places go round the classes, and each class round its videos, from epoch to epoch.
        places = np.arange(epoch * self.num_videos, (epoch + 1) * self.num_videos)
        classes, turns = places % len(self._members), places // len(self._members)
        videos = np.empty(self.num_videos, np.int64)
        for index, members in enumerate(self._members):
            mine = np.flatnonzero(classes == index)
            rounds, ranks = np.divmod(turns[mine], len(members))
            for number in np.unique(rounds):
                order = self._class_order(index, int(number))
                videos[mine[rounds == number]] = order[ranks[rounds == number]]
        return videos[shuffled]

    def _draw_class(self, index: int, number: int) -> IntArray:
        """Return the videos of a class in the order in which its round `number` takes them."""
        members = self._members[index]
        return members[_generator(self.seed, _CLASS_ORDER, index, number).permutation(len(members))]


def _generator(seed: int, *what: int) -> np.random.Generator:
    """Return the source of random numbers for one thing; Philox (Salmon et al. 2011) is made for counting."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, *what))))
