"""From clips to the scales of an int8 network: what values a float network has, and which range of them is covered.

A range that covers all values spends its 256 bytes on a few large ones; one that leaves these out rounds the others
better. Several ways to choose are offered, and `vidcnn.inference.quantizing` measures which is best for a network.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx

from vidcnn.inference.int8_network import scaled_values
from vidcnn.inference.int8_ops import MAX_BYTE, Scale

Observer = Literal["max", "percentile-99.99", "percentile-99.9", "mse"]
OBSERVERS: tuple[Observer, ...] = get_args(Observer)

_NUM_BINS = 4096
_CANDIDATES = np.linspace(0.2, 1.0, 81)
"""Ranges that are tried for the least error, as shares of the largest value."""


class Histogram:
    """How often values of each size were seen, in bins that grow with the largest.

    Attributes:
        low: The smallest value.
        high: The largest value.
    """

    def __init__(self) -> None:
        self.low = 0.0
        self.high = 0.0
        self._top = 0.0
        self._counts: NDArray[np.float64] = np.zeros(_NUM_BINS)

    def add(self, values: Tensor) -> None:
        """Count the values of a tensor; those below 0 count for `low` alone."""
        low, high = (float(bound) for bound in values.aminmax())
        self.low, self.high = min(self.low, low), max(self.high, high)
        if high <= 0:
            return
        if not self._top:
            self._top = high
        while high > self._top:
            self._counts = np.concatenate([self._counts.reshape(-1, 2).sum(axis=1), np.zeros(_NUM_BINS // 2)])
            self._top *= 2
        counted = torch.histc(values.float(), _NUM_BINS, min=0.0, max=self._top)  # what is below 0 is left out
        self._counts += counted.numpy()

    def scale(self, observer: Observer) -> Scale:
        """Return the scale that covers the values.

        Args:
            observer: How. What is below 0 is covered whole, by any of them.
        """
        if self.low < 0 or observer == "max" or not self._top:
            return Scale.of_range(self.low, self.high)
        top = self._least_error() if observer == "mse" else self._percentile(float(observer.partition("-")[2]))
        return Scale.of_range(0.0, min(top, self.high))

    def _percentile(self, percent: float) -> float:
        below = np.cumsum(self._counts)
        index = int(np.searchsorted(below, percent / 100 * below[-1]))
        return self._top * (index + 1) / _NUM_BINS

    def _least_error(self) -> float:
        """Return the top of the range that makes the sum of squared errors least."""
        middles = (np.arange(_NUM_BINS) + 0.5) * self._top / _NUM_BINS
        tops = _CANDIDATES * self.high
        rounding = (tops / MAX_BYTE) ** 2 / 12
        cut = np.maximum(middles - tops[:, None], 0.0) ** 2
        errors = np.where(cut > 0, cut, rounding[:, None]) @ self._counts
        return float(tops[int(np.argmin(errors))])


class Observed(fx.Interpreter):
    """Runs a traced network, and counts the values of which its int8 form needs the scales.

    Args:
        traced: What `vidcnn.inference.int8_network.trace` returned.
    """

    def __init__(self, traced: fx.GraphModule) -> None:
        super().__init__(traced)
        self.histograms = {name: Histogram() for name in scaled_values(traced)}

    def run_node(self, n: fx.Node) -> Any:
        """Compute a value of the network, and count it."""
        value = super().run_node(n)
        if n.name in self.histograms:
            self.histograms[n.name].add(value)
        return value

    def scales(self, observer: Observer) -> Mapping[str, Scale]:
        """Return the scale of each value."""
        return {name: histogram.scale(observer) for name, histogram in self.histograms.items()}


def observe(traced: fx.GraphModule, batches: Iterable[Tensor]) -> tuple[Observed, Tensor]:
    """Run a traced network on what its first layer takes.

    Returns:
        What was seen, and the network's results, one after the other.
    """
    observed = Observed(traced)
    with torch.inference_mode():
        results = [observed.run(batch) for batch in batches]
    return observed, torch.cat(results)
