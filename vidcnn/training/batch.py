"""The samples of a step, as workers share them: what those who load clips and those who train agree on.

Letters: N samples of a worker's share, T frames, H height, W width, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from vidcnn.video.pixels import UInt8Array

if TYPE_CHECKING:  # what only loads clips need not wait for torch
    import torch


def _cpu() -> torch.device:
    import torch

    return torch.device("cpu")


@dataclass(frozen=True)
class Worker:
    """Which of the processes that train together this is.

    Attributes:
        rank: Its number, from 0.
        count: How many there are.
        device: What it computes on.
    """

    rank: int = 0
    count: int = 1
    device: torch.device = field(default_factory=_cpu)

    def share(self, step: int, batch_size: int) -> range:
        """Return the numbers of the samples that this worker has in a step."""
        size = batch_size // self.count
        first = step * batch_size + self.rank * size
        return range(first, first + size)


@dataclass(frozen=True, eq=False)
class Batch:
    """A worker's share of a step.

    Attributes:
        samples: Numbers of the N samples.
        pixels: uint8 (N, T, H, W, 3).
        targets: float32 (N, K): 1 for each class of a sample, else 0.
        weights: float32 (N,): 1, or 0 for a sample that could not be decoded.
        num_short: Samples of weight 1 that are longer than their video.
    """

    samples: range
    pixels: UInt8Array
    targets: npt.NDArray[np.float32]
    weights: npt.NDArray[np.float32]
    num_short: int = 0
