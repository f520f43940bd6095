"""From a name or a bundle to a network.

`build_network` builds on the meta device, where tensors have shapes and no storage: nothing is drawn,
allocated or thrown away. `build_model` puts a bundle's weights in their places. `random_state` draws initial
weights from a seed without touching the process's random state.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from vidcnn.errors import BundleError, ModelError
from vidcnn.models.bundle import Bundle
from vidcnn.models.registry import Architecture, architecture


def build_network(
    entry: Architecture, num_classes: int, arguments: Mapping[str, Any] | None = None, device: str = "meta"
) -> nn.Module:
    """Build an architecture in evaluation mode, by default without storage.

    Raises:
        ModelError: An argument is not one of the architecture's, or its value does not suit the builder.
    """
    arguments = {entry.former_arguments.get(name, name): value for name, value in (arguments or {}).items()}
    unknown = sorted(set(arguments) - set(entry.arguments))
    if unknown:
        known = f"it takes {', '.join(entry.arguments)}" if entry.arguments else "it takes none"
        raise ModelError(f"{entry.name} has no argument {', '.join(unknown)}", known)
    module, _, name = entry.builder.partition(":")
    builder = getattr(importlib.import_module(module), name)
    try:
        with torch.device(device), _NothingDrawn():
            network: nn.Module = builder(num_classes=num_classes, **arguments)
    except (TypeError, ValueError) as error:
        raise ModelError(f"{entry.name} cannot be built: {error}") from error
    return network.eval()


class _NothingDrawn(TorchFunctionMode):
    """Leave out the drawing of weights where there is no room for them: for that, torch loads its compiler."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is Tensor.normal_ or getattr(func, "__module__", None) == nn.init.__name__:
            tensor = args[0] if args else kwargs["tensor"]
            if tensor.is_meta:
                return tensor
        return func(*args, **(kwargs or {}))


def build_model(bundle: Bundle) -> nn.Module:
    """Build a bundle's network with its weights, float32, in evaluation mode, on the CPU.

    Raises:
        BundleError: The weights do not fit the architecture.
    """
    from safetensors.torch import load

    entry = architecture(bundle.architecture)
    try:
        network = build_network(entry, len(bundle.labels), bundle.arguments)
    except ModelError as error:
        raise BundleError(error.message, error.hint) from error
    state = load(bundle.weights)
    misfit = find_misfit(network, state)
    if misfit:
        raise BundleError(f"the bundle's weights do not fit {entry.name}: {misfit}")
    network.load_state_dict(state, assign=True)
    return network.requires_grad_(False)


def split_head(network: nn.Module, entry: Architecture) -> tuple[nn.Module, nn.Linear]:
    """Take a network's last layer off, in place.

    Returns:
        The network, which now maps clips to embeddings ``(N, D)``, and the layer that maps them on to logits.
        A 1x1x1 convolution is returned as the linear layer that it is.
    """
    parent, _, name = entry.head.rpartition(".")
    owner = network.get_submodule(parent)
    layer = getattr(owner, name)
    setattr(owner, name, nn.Identity())
    if isinstance(layer, nn.Linear):
        return network, layer
    assert isinstance(layer, nn.Conv3d)
    assert isinstance(layer.bias, nn.Parameter)
    head = nn.Linear(layer.in_channels, layer.out_channels, device="meta")
    head.weight = nn.Parameter(layer.weight.flatten(1), requires_grad=layer.weight.requires_grad)
    head.bias = layer.bias
    return network, head


def random_state(
    entry: Architecture, num_classes: int, arguments: Mapping[str, Any] | None = None, seed: int = 0
) -> dict[str, Tensor]:
    """Draw an architecture's own initial weights from `seed`.

    The draw is sequential, so the number of threads does not matter, and the process's random state is left
    as it was. Torch's normal generator has one form for x86 with AVX2 and one for other processors, whose
    last bits differ.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build_network(entry, num_classes, arguments, device="cpu")
    return network.state_dict()


def find_misfit(network: nn.Module, state: Mapping[str, Tensor]) -> str:
    """Return in one line why `state` does not fit `network`; empty if it fits."""
    wanted = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in state.items()}
    reshaped = [
        f"{name} is {found[name]} instead of {shape}"
        for name, shape in wanted.items()
        if name in found and found[name] != shape
    ]
    parts = (
        _enumerate("missing", [name for name in wanted if name not in found]),
        _enumerate("unexpected", sorted(found.keys() - wanted.keys())),
        _enumerate("shape of", reshaped),
    )
    return "; ".join(filter(None, parts))


def _enumerate(what: str, names: list[str], limit: int = 3) -> str:
    if not names:
        return ""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return f"{what} {', '.join(names[:limit])}{more}"
