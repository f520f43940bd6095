"""The zoo as a table: the size and the cost of each architecture, without its weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from vidcnn.models.build import build_network
from vidcnn.models.registry import ARCHITECTURES, Architecture

NUM_CLASSES = 400
"""Classes that the figures are for: those of Kinetics-400."""


@dataclass(frozen=True)
class ModelRow:
    """One architecture in figures.

    Args:
        name: Name in the registry.
        num_parameters: Learned values, at 400 classes.
        gflops: Thousand million multiply-adds for one clip, each counted once, as the field's tables do.
        input: Frames, height, width and rate of its default clips, such as ``16x112x112 at 15 fps``.
        weights: Names of published weights, the default first.
    """

    name: str
    num_parameters: int
    gflops: float
    input: str
    weights: tuple[str, ...]


def model_rows() -> list[ModelRow]:
    """Return the table's rows in the registry's order; takes seconds, and no memory to speak of."""
    return [_row(entry) for entry in ARCHITECTURES.values()]


def count_multiply_adds(network: nn.Module, num_frames: int, crop: tuple[int, int]) -> int:
    """Count the multiply-adds of one clip's pass through a network on the meta device."""
    clip = torch.empty(1, 3, num_frames, *crop, device="meta")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(clip)
    return int(counter.get_total_flops()) // 2


def _row(entry: Architecture) -> ModelRow:
    network = build_network(entry, NUM_CLASSES)
    sampling, crop = entry.sampling, entry.preprocessing.crop
    rate = f"{sampling.fps:g} fps" if sampling.fps else f"stride {sampling.stride}"
    return ModelRow(
        name=entry.name,
        num_parameters=sum(weight.numel() for weight in network.parameters()),
        gflops=count_multiply_adds(network, sampling.num_frames, crop) / 1e9,
        input=f"{sampling.num_frames}x{crop[0]}x{crop[1]} at {rate}",
        weights=entry.weights,
    )
