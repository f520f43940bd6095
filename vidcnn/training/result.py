"""From a checkpoint to the bundle that `vidcnn infer` takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from vidcnn.errors import OutputError
from vidcnn.models.bundle import Bundle
from vidcnn.training.continuing import weights_in

_AVERAGED = "module."
"""What torch puts before the names of averaged weights."""


def trained_bundle(start: Bundle, state: Mapping[str, Any], metrics: Mapping[str, float]) -> Bundle:
    """Make the bundle of a training run.

    Args:
        start: The network that the run began with, with all that the bundle has besides the weights.
        state: A checkpoint's state, from `Trainer.state_dict`.
        metrics: What it reached, by name.

    Raises:
        OutputError: It is not the state of a training run.
    """
    from safetensors.torch import save

    provenance = replace(start.provenance, metrics=dict(metrics))
    return replace(start, weights=save(trained_weights(state)), provenance=provenance)


def trained_weights(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the weights that count: the moving average, if there is one.

    Raises:
        OutputError: It is not the state of a training run.
    """
    try:
        weights = weights_in(state, "network")
        if state.get("average") is not None:
            averaged = weights_in(state, "average").items()
            weights = {name.removeprefix(_AVERAGED): value for name, value in averaged if name.startswith(_AVERAGED)}
    except ValueError as error:
        raise OutputError(f"the best checkpoint is not of this run: {error}", "bring back the run's own") from error
    return {name: value.contiguous() for name, value in weights.items()}
