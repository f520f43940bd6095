"""What a network costs: counted on networks without weights, for the registry and for what compiling pays."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def count_parameters(network: nn.Module) -> int:
    """Return the number of learned values."""
    return sum(weight.numel() for weight in network.parameters())


def count_multiply_adds(network: nn.Module, num_frames: int, crop: tuple[int, int]) -> int:
    """Count the multiply-adds of one clip's pass through a network on the meta device, each once."""
    clip = torch.empty(1, 3, num_frames, *crop, device="meta")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(clip)
    return int(counter.get_total_flops()) // 2
