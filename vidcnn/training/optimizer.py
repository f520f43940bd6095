"""From a network and a recipe to what is trained, and at which rate."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from vidcnn.errors import ModelError
from vidcnn.training.recipe import Recipe

BACKBONE = "backbone"


def freeze(network: nn.Module, head: str, frozen: tuple[str, ...]) -> list[nn.Module]:
    """Take modules out of training.

    Args:
        network: The network; its parameters are changed in place.
        head: Path of its last layer.
        frozen: Paths of modules, or ``backbone`` for all but the head.

    Returns:
        The frozen modules, which have to be in evaluation mode while the others train.

    Raises:
        ModelError: There is no module of such a path, or nothing is left to train.
    """
    modules = dict(network.named_modules())
    wanted = [name for name in frozen if name != BACKBONE]
    if BACKBONE in frozen:
        wanted += [name for name in modules if name and not _holds(name, head) and not _holds(head, name)]
        for name, weight in network.named_parameters():  # those outside of such modules, too
            weight.requires_grad_(_holds(head, name) and weight.requires_grad)
    unknown = [name for name in wanted if name not in modules]
    if unknown:
        known = ", ".join(name for name, part in network.named_children() if any(True for _ in part.parameters()))
        raise ModelError(f"the network has no part '{unknown[0]}' to freeze", f"its parts are {known}, and {BACKBONE}")
    for name in wanted:
        modules[name].requires_grad_(False)
    if not any(weight.requires_grad for weight in network.parameters()):
        raise ModelError("nothing is left to train", "freeze fewer parts of the network")
    return [modules[name] for name in wanted]


def build_optimizer(network: nn.Module, head: str, recipe: Recipe) -> Optimizer:
    """Build the optimizer; each group of parameters has its full learning rate as ``peak``."""
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, weight in network.named_parameters():
        if weight.requires_grad:
            is_head = name.startswith(f"{head}.")
            groups.setdefault((is_head, weight.ndim > 1), []).append(weight)
    parameters: list[dict[str, Any]] = []
    for (is_head, decays), weights in sorted(groups.items()):
        peak = recipe.learning_rate * (1.0 if is_head else recipe.backbone_rate)
        decay = recipe.weight_decay if decays else 0.0
        parameters.append({"params": weights, "lr": peak, "peak": peak, "weight_decay": decay})
    if recipe.optimizer == "sgd":
        return SGD(parameters, momentum=recipe.momentum, nesterov=recipe.momentum > 0)
    return AdamW(parameters)


def set_rate(optimizer: Optimizer, rate: float) -> None:
    """Set the learning rate of each group to a share of its peak."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * rate


def gradient_norm(network: nn.Module) -> torch.Tensor:
    """Return the norm of all gradients together, a scalar on the network's device."""
    gradients = [weight.grad for weight in network.parameters() if weight.grad is not None]
    return torch.nn.utils.get_total_norm(gradients)


def _holds(module: str, name: str) -> bool:
    """Return whether what is called `name` is a module or in it."""
    return f"{name}.".startswith(f"{module}.")
