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

from vidcnn.inference.int8_network import scaled_values, taken_scales
from vidcnn.inference.int8_ops import MAX_BYTE, Dequantize, Quantize, Scale, rounded_weight

Observer = Literal["max", "percentile-99.99", "percentile-99.9", "mse"]
OBSERVERS: tuple[Observer, ...] = get_args(Observer)

_NUM_BINS = 8192
_CANDIDATES = np.linspace(0.2, 1.0, 81)
"""Ranges that are tried for the least error, as shares of the whole."""


class Histogram:
    """How often values of each size were seen, in bins around 0 that grow with the largest.

    Attributes:
        low: The smallest value, or 0.
        high: The largest value, or 0.
    """

    def __init__(self) -> None:
        self.low = 0.0
        self.high = 0.0
        self._top = 0.0
        self._counts: NDArray[np.float64] = np.zeros(_NUM_BINS)

    def add(self, values: Tensor) -> None:
        """Count the values of a tensor."""
        low, high = (float(bound) for bound in values.aminmax())
        self.low, self.high = min(self.low, low), max(self.high, high)
        largest = max(-low, high)
        self._top = self._top or largest
        if not self._top:
            return
        while largest > self._top:
            half = self._counts.reshape(-1, 2).sum(axis=1)
            self._counts = np.pad(half, _NUM_BINS // 4)
            self._top *= 2
        self._counts += torch.histc(values.float(), _NUM_BINS, min=-self._top, max=self._top).numpy()

    def scale(self, observer: Observer) -> Scale:
        """Return the scale that covers the values.

        Args:
            observer: How.
        """
        if observer == "max" or not self._top:
            return Scale.of_range(self.low, self.high)
        low, high = self._least_error() if observer == "mse" else self._percentiles(float(observer.partition("-")[2]))
        return Scale.of_range(max(low, self.low), min(high, self.high))

    def _percentiles(self, percent: float) -> tuple[float, float]:
        """Return the range that leaves out an equal share of the values at both ends."""
        below = np.cumsum(self._counts) / self._counts.sum()
        edges = np.linspace(-self._top, self._top, _NUM_BINS + 1)
        first = int(np.searchsorted(below, 1 - percent / 100, side="right"))
        last = int(np.searchsorted(below, percent / 100))
        return float(edges[first]), float(edges[min(last + 1, _NUM_BINS)])

    def _least_error(self) -> tuple[float, float]:
        """Return the range that makes the sum of squared errors least."""
        edges = np.linspace(-self._top, self._top, _NUM_BINS + 1)
        middles = (edges[1:] + edges[:-1]) / 2
        lows, highs = _CANDIDATES * self.low, _CANDIDATES * self.high
        rounding = ((highs - lows) / MAX_BYTE) ** 2 / 12
        cut = np.maximum(middles - highs[:, None], 0) + np.maximum(lows[:, None] - middles, 0)
        errors = np.where(cut > 0, cut**2, rounding[:, None]) @ self._counts
        best = int(np.argmin(errors))
        return float(lows[best]), float(highs[best])


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


class _Means(fx.Interpreter):
    """Runs a traced network, and adds up what each convolution takes, as it is and as bytes have it, by channel.

    Args:
        traced: What `vidcnn.inference.int8_network.trace` returned.
        scales: Scales of its values.

    Attributes:
        sums: For each convolution: sums ``(C,)`` of its input, of the same after rounding, and the number of values.
    """

    def __init__(self, traced: fx.GraphModule, scales: Mapping[str, Scale]) -> None:
        super().__init__(traced)
        self.sums: dict[str, tuple[Tensor, Tensor, int]] = {}
        self._scales = {layer: scales[name] for layer, name in taken_scales(traced).items()}

    def run_node(self, n: fx.Node) -> Any:
        """Compute a value of the network; what a convolution takes is counted first."""
        layer = str(n.target)
        if n.op == "call_module" and layer in self._scales:
            values, scale = self.env[n.args[0]], self._scales[layer]  # type: ignore[index]
            rounded = Dequantize(scale, torch.float32)(Quantize(scale)(values))
            found = [each.double().sum(dim=(0, 2, 3, 4)) for each in (values, rounded)]
            before = self.sums.get(layer, (torch.zeros(()), torch.zeros(()), 0))
            number = values.numel() // values.shape[1]
            self.sums[layer] = before[0] + found[0], before[1] + found[1], before[2] + number
        return super().run_node(n)


def find_corrections(
    traced: fx.GraphModule, scales: Mapping[str, Scale], batches: Iterable[Tensor]
) -> dict[str, tuple[float, ...]]:
    """Return what rounding takes from each channel of each convolution's output on average (Nagel et al. 2019).

    A network averages over many places, where random errors cancel out; what remains are the systematic ones.

    Args:
        traced: What `vidcnn.inference.int8_network.trace` returned.
        scales: Scales of its values.
        batches: What its first layer takes.
    """
    means = _Means(traced, scales)
    with torch.inference_mode():
        for batch in batches:
            means.run(batch)
    corrections = {}
    for layer, (exact, rounded, number) in means.sums.items():
        conv: Any = traced.get_submodule(layer)
        weight, step = rounded_weight(conv)
        parts = zip(
            conv.weight.detach().double().sum(dim=(2, 3, 4)).chunk(conv.groups),
            (weight.double() * step.view(-1, 1, 1, 1, 1)).sum(dim=(2, 3, 4)).chunk(conv.groups),
            (exact / number).chunk(conv.groups),
            (rounded / number).chunk(conv.groups),
            strict=True,
        )
        found = torch.cat([exact_part @ mean - part @ mean_part for exact_part, part, mean, mean_part in parts])
        corrections[layer] = tuple(float(f"{value:.6g}") for value in found.tolist())
    return corrections


def observe(traced: fx.GraphModule, batches: Iterable[Tensor]) -> tuple[Observed, Tensor]:
    """Run a traced network on what its first layer takes.

    Returns:
        What was seen, and the network's results, one after the other.
    """
    observed = Observed(traced)
    with torch.inference_mode():
        results = [observed.run(batch) for batch in batches]
    return observed, torch.cat(results)
