"""Whether a checkpoint is one of this training, before anything is taken from it.

A file that was copied from another run, or written by a program that nobody knows, would else show only in the middle
of a step, in the words of the library that stumbles over it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from vidcnn.models.build import find_misfit


def check_state(state: Mapping[str, Any], network: nn.Module, optimizer: Optimizer, average: nn.Module | None) -> None:
    """Make sure that training can continue from a state.

    Args:
        state: What `Trainer.state_dict` may have returned, as it was read.
        network: What is trained.
        optimizer: What trains it.
        average: The moving average of its weights, if there is one.

    Raises:
        ValueError: It cannot; the message says why, as what goes on after "it is not of this run: ".
    """
    step = state.get("step")
    if type(step) is not int or step < 0:
        raise ValueError(f"it says that {step!r} steps are done" if step is not None else "it does not say its step")
    _check_weights("network", state, network)
    if (average is None) != (state.get("average") is None):
        raise ValueError(f"it has {'a' if average is None else 'no'} moving average")
    if average is not None:
        _check_weights("average", state, average)
    _check_optimizer(state.get("optimizer"), optimizer)


def weights_in(state: Mapping[str, Any], kind: str) -> dict[str, Tensor]:
    """Return the weights of a kind, ``network`` or ``average``.

    Raises:
        ValueError: There are none.
    """
    weights = state.get(kind)
    if not isinstance(weights, dict) or not all(
        isinstance(name, str) and isinstance(weight, Tensor) for name, weight in weights.items()
    ):
        raise ValueError(f"it has no weights of its {kind}")
    return weights


def _check_weights(kind: str, state: Mapping[str, Any], module: nn.Module) -> None:
    if misfit := find_misfit(module, weights_in(state, kind)):
        raise ValueError(f"its {kind} is another one: {misfit}")


def _check_optimizer(state: Any, optimizer: Optimizer) -> None:
    """Compare an optimizer's state with the weights that it is for: torch looks at the number of weights only."""
    mine = optimizer.state_dict()["param_groups"]
    try:
        groups = [(list(group["params"]), set(group)) for group in state["param_groups"]]
        kept = {int(number): dict(values) for number, values in state["state"].items()}
    except (TypeError, KeyError, ValueError, AttributeError):
        raise ValueError("it has no state of an optimizer") from None
    if groups != [(list(group["params"]), set(group)) for group in mine]:
        raise ValueError("its optimizer is another one")
    weights = dict(enumerate(weight for group in optimizer.param_groups for weight in group["params"]))
    for number, values in kept.items():
        if number not in weights:
            raise ValueError("its optimizer is another one")
        for value in values.values():
            if isinstance(value, Tensor) and value.ndim and value.shape != weights[number].shape:
                raise ValueError("its optimizer is for weights of other shapes")
