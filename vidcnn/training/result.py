"""From a checkpoint to the bundle that `vidcnn infer` takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from vidcnn.models.bundle import Bundle

_AVERAGED = "module."
"""What torch puts before the names of averaged weights."""


def trained_bundle(start: Bundle, state: Mapping[str, Any], metrics: Mapping[str, float]) -> Bundle:
    """Make the bundle of a training run.

    Args:
        start: The network that the run began with, with all that the bundle has besides the weights.
        state: A checkpoint's state, from `Trainer.state_dict`.
        metrics: What it reached, by name.
    """
    from safetensors.torch import save

    provenance = replace(start.provenance, metrics=dict(metrics))
    return replace(start, weights=save(trained_weights(state)), provenance=provenance)


def trained_weights(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the weights that count: the moving average, if there is one."""
    weights: dict[str, Tensor] = state["network"]
    if state["average"] is not None:
        averaged = state["average"].items()
        weights = {name.removeprefix(_AVERAGED): value for name, value in averaged if name.startswith(_AVERAGED)}
    return {name: value.contiguous() for name, value in weights.items()}
