"""From a name or a bundle to a network.

`build_network` builds on the meta device, where tensors have shapes and no storage: nothing is drawn,
allocated or thrown away. `build_model` puts a bundle's weights in their places. `random_state` draws initial
weights from a seed without touching the process's random state.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from vidcnn.bounds import MAX_CLASSES, MAX_WEIGHTS_BYTES
from vidcnn.errors import BundleError, ModelError, first_line
from vidcnn.models.bundle import Bundle
from vidcnn.models.registry import Architecture, architecture

_SHOWN_CHARS = 120


def build_network(
    entry: Architecture, num_classes: int, arguments: Mapping[str, Any] | None = None, device: str = "meta"
) -> nn.Module:
    """Build an architecture in evaluation mode, by default without storage.

    Raises:
        ModelError: An argument is not one of the architecture's, or its value does not suit the builder, or the
            network would be larger than `MAX_WEIGHTS_BYTES`.
    """
    if num_classes > MAX_CLASSES:
        raise ModelError(f"{num_classes:,} classes are more than {MAX_CLASSES:,}", "check the weights and the labels")
    arguments = {entry.former_arguments.get(name, name): value for name, value in (arguments or {}).items()}
    unknown = sorted(set(arguments) - set(entry.arguments))
    if unknown:
        known = f"it takes {', '.join(entry.arguments)}" if entry.arguments else "it takes none"
        raise ModelError(f"{entry.name} has no argument {', '.join(unknown)}", known)
    module, _, name = entry.builder.partition(":")
    builder = getattr(importlib.import_module(module), name)

    def build(device: str) -> nn.Module:
        with torch.device(device), _NothingDrawn():
            network: nn.Module = builder(num_classes=num_classes, **arguments)
            return network.eval()

    try:
        network = build("meta")
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:  # the last of a size that no integer holds
        raise ModelError(f"{entry.name} cannot be built: {first_line(error)}") from error
    size_bytes = sum(tensor.numel() * tensor.itemsize for tensor in network.state_dict().values())
    if size_bytes > MAX_WEIGHTS_BYTES:
        raise ModelError(
            f"{entry.name} with these arguments would have {size_bytes:,} bytes of weights",
            f"make it smaller: {MAX_WEIGHTS_BYTES:,} bytes are allowed",
        )
    return network if device == "meta" else build(device)


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

    network = fitting_network(bundle)
    network.load_state_dict(load(bundle.weights), assign=True)
    return network.requires_grad_(False)


def fitting_network(bundle: Bundle) -> nn.Module:
    """Build a bundle's network without storage, after comparing it with what the header of the weights says.

    Raises:
        BundleError: The weights do not fit the architecture.
    """
    entry = architecture(bundle.architecture)
    try:
        network = build_network(entry, len(bundle.labels), bundle.arguments)
    except ModelError as error:
        raise BundleError(error.message, error.hint) from error
    misfit = find_misfit(network, bundle.header)
    if misfit:
        raise BundleError(f"the bundle's weights do not fit {entry.name}: {misfit}")
    return network


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


class Shaped(Protocol):
    """A tensor, or what is known of one that is not read yet."""

    @property
    def shape(self) -> Sequence[int]:
        """Its shape."""


def find_misfit(network: nn.Module, state: Mapping[str, Shaped]) -> str:
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
    return f"{what} {', '.join(name[:_SHOWN_CHARS] for name in names[:limit])}{more}"
