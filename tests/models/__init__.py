"""Help for tests of models."""

from __future__ import annotations

from pathlib import Path

import torch

from vidcnn.models.checkpoints import open_weights, read_stored


def read_weights(path: str | Path) -> dict[str, torch.Tensor]:
    """Read all tensors of a file of weights, as they come into a network."""
    with open_weights(path) as state:
        return {name: read_stored(tensor) for name, tensor in state.items()}
