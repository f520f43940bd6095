"""Dropout whose mask belongs to the sample, not to the worker that computes it.

A mask is drawn from the run's seed and the sample's number, so that the same sample loses the same values whether one
worker has the whole batch or eight share it, and in a run that was interrupted.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn


class SampleDropout(nn.Module):
    """Drop each value of ``(N, ...)`` with probability `p`, by the numbers of the N samples.

    Args:
        p: Probability, in [0, 1).
        seed: Seed of the run and of this layer.
    """

    def __init__(self, p: float, seed: tuple[int, ...]) -> None:
        super().__init__()
        self.p = p
        self._seed = seed
        self.samples: range = range(0)

    def forward(self, values: Tensor) -> Tensor:
        """Drop values while training; `samples` are the samples that they are of."""
        if not self.training or not self.p:
            return values
        assert len(self.samples) == len(values)
        keep = np.empty(values.shape, np.bool_)
        for row, sample in zip(keep, self.samples, strict=True):
            row[...] = np.random.default_rng((*self._seed, sample)).random(row.shape, np.float32) >= self.p
        mask = torch.from_numpy(keep).to(values.device, non_blocking=True)
        return values * mask / (1 - self.p)


def bind_dropout(network: nn.Module, seed: int) -> list[SampleDropout]:
    """Replace a network's dropout layers, in place.

    Returns:
        The layers, whose `samples` have to be set before each step.
    """
    layers: list[SampleDropout] = []
    for owner in list(network.modules()):
        for name, child in owner.named_children():
            if type(child) is nn.Dropout and child.p:
                layer = SampleDropout(child.p, (seed, len(layers)))
                setattr(owner, name, layer)
                layers.append(layer)
    return layers
