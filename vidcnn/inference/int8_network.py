"""From a float network to the same network on int8 convolutions, by its traced graph.

A value of the graph is at hand as bytes (uint8, with a `Scale`), as float values, or both; each is made where something
asks for it::

    conv -> relu -> conv           IntegerConv3d (bytes out, the ReLU is free) -> IntegerConv3d
    conv -> add -> relu -> conv    IntegerConv3d (float32 out) -> AddRelu (bytes out) -> IntegerConv3d
    relu -> max pool -> conv       bytes all along
    relu -> anything else          Dequantize -> as it was, in float32

Only networks that torch can trace, and whose time goes into 3D convolutions, are worth it.
"""

from __future__ import annotations

import copy
import operator
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from vidcnn.errors import ModelError
from vidcnn.inference.int8_ops import AddRelu, Dequantize, IntegerConv3d, MaxPool, Quantize, Scale, can_pool

_RELUS = (functional.relu, torch.relu, torch.relu_, "relu", "relu_")
_ADDS = (operator.add, operator.iadd, torch.add, "add", "add_")


@dataclass(frozen=True)
class Layers:
    """What the layers of an integer network are made of; each returns a module.

    Attributes:
        convolve: Of a convolution's name, itself, the scales of its input and of its output (None for values), and
            what is added to each channel of its output.
        add: Of the scales of two terms (None for values) and of their sum without what is below 0.
        pool: Of a maximum pooling.
        quantize: Of the scale of the bytes that it makes.
        dequantize: Of the scale of the bytes that it takes.
    """

    convolve: Callable[[str, nn.Conv3d, Scale, Scale | None, Sequence[float] | None], nn.Module]
    add: Callable[[Scale | None, Scale | None, Scale], nn.Module]
    pool: Callable[[nn.MaxPool3d], nn.Module]
    quantize: Callable[[Scale], nn.Module]
    dequantize: Callable[[Scale], nn.Module]


ON_BYTES = Layers(
    convolve=lambda _, conv, taken, given, correction: IntegerConv3d(conv, taken, given, correction),
    add=AddRelu,
    pool=MaxPool,
    quantize=Quantize,
    dequantize=lambda scale: Dequantize(scale, torch.float32),
)


def trace(backbone: nn.Module, name: str) -> fx.GraphModule:
    """Return the graph of a network in evaluation mode, without what does nothing then.

    Args:
        backbone: The network, with batch normalisation folded.
        name: Name of the architecture, for errors.

    Raises:
        ModelError: It cannot be traced, or has no 3D convolutions.
    """
    try:
        with _tracing:
            traced = fx.GraphModule(backbone, _Tracer().trace(backbone))
    except Exception as error:  # torch.fx raises whatever the network's code meets
        reason = (str(error).splitlines() or [""])[0]
        raise ModelError(f"{name} cannot be quantized: torch.fx cannot trace it: {reason}") from error
    for node in list(traced.graph.nodes):
        if node.op == "call_module" and isinstance(_module(traced, node), nn.Identity | nn.Dropout | nn.Dropout3d):
            node.replace_all_uses_with(_args(node)[0])
            traced.graph.erase_node(node)
    traced.recompile()
    if not convolutions(traced):
        raise ModelError(f"{name} cannot be quantized: it has no 3D convolutions", "bf16 is the fastest it has")
    return traced


def convolutions(traced: fx.GraphModule) -> tuple[str, ...]:
    """Return the names of the layers that can run on bytes, in the order in which they run."""
    return tuple(str(node.target) for node in traced.graph.nodes if _can_be_integer(traced, node))


def scaled_values(traced: fx.GraphModule) -> tuple[str, ...]:
    """Return the names of the values whose scales `integer_network` needs, whatever layers it keeps."""
    names: dict[str, None] = {}

    def note(name: str) -> Scale:
        names[name] = None
        return Scale(1.0)

    _Builder(traced, note, ()).build()
    return tuple(names)


def taken_scales(traced: fx.GraphModule) -> dict[str, str]:
    """Return for each of `convolutions` the name of the value whose scale its input has."""
    builder = _Builder(traced, lambda _: Scale(1.0), ())
    builder.build()
    return builder.taken


def integer_network(
    traced: fx.GraphModule,
    scales: Mapping[str, Scale],
    kept: Collection[str] = (),
    corrections: Mapping[str, Sequence[float]] | None = None,
    layers: Layers = ON_BYTES,
) -> fx.GraphModule:
    """Return a network that computes on bytes.

    Args:
        traced: What `trace` returned.
        scales: Scale of each of its `scaled_values`.
        kept: Names of convolutions that stay in float32.
        corrections: What is added to each channel of a convolution's output, by its name.
        layers: What it is made of.

    Raises:
        ModelError: A scale is missing, or a layer is unknown.
    """
    unknown = sorted(set(kept) - set(convolutions(traced)))
    if unknown:
        raise ModelError(f"the network has no layer {', '.join(unknown)} to be kept")

    def scale_of(name: str) -> Scale:
        if name not in scales:
            raise ModelError(f"the network's value {name} was not calibrated", "quantize it again")
        return scales[name]

    return _Builder(traced, scale_of, kept, corrections or {}, layers).build()


_tracing = threading.Lock()
"""torch.fx replaces how every module of the process is called: two traces at once would undo each other's."""


class _Tracer(fx.Tracer):
    """Leaves layers whole, also where a library derives its own from torch's, and other threads alone."""

    def __init__(self) -> None:
        super().__init__()
        self._thread = threading.get_ident()

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Note a call of a module, unless it is of a thread that computes meanwhile."""
        is_other = threading.get_ident() != self._thread
        return forward(*args, **kwargs) if is_other else super().call_module(m, forward, args, kwargs)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        """Note a use of a parameter, in the same way."""
        is_other = threading.get_ident() != self._thread
        return attr_val if is_other else super().getattr(attr, attr_val, parameter_proxy_cache)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, nn.Conv3d | nn.Linear) or super().is_leaf_module(m, module_qualified_name)


class _FloatConv(nn.Module):
    """A convolution that is kept in float32."""

    def __init__(self, conv: nn.Conv3d) -> None:
        super().__init__()
        self.conv = copy.deepcopy(conv).float().to(memory_format=torch.channels_last_3d)

    def forward(self, values: Tensor) -> Tensor:
        convolved: Tensor = self.conv(values)
        return convolved


class _Builder:
    """Builds the graph of the integer network beside the traced one, from its result backwards.

    Args:
        traced: The float network.
        scale_of: Returns the scale of a value.
        kept: Convolutions that stay in float32.
        corrections: What is added to the outputs of others.
        layers: What the network is made of.

    Attributes:
        taken: Names of the values whose scales the inputs of convolutions have, by the convolution's name.
    """

    def __init__(
        self,
        traced: fx.GraphModule,
        scale_of: Callable[[str], Scale],
        kept: Collection[str],
        corrections: Mapping[str, Sequence[float]] | None = None,
        layers: Layers = ON_BYTES,
    ) -> None:
        self.taken: dict[str, str] = {}
        self._traced = traced
        self._scale_of = scale_of
        self._kept = frozenset(kept)
        self._corrections = corrections or {}
        self._layers = layers
        self._graph = fx.Graph()
        self._modules: dict[str, nn.Module] = {}
        self._bytes: dict[fx.Node, fx.Node] = {}
        self._values: dict[fx.Node, fx.Node] = {}

    def build(self) -> fx.GraphModule:
        for node in self._traced.graph.nodes:
            if node.op == "placeholder":
                self._values[node] = self._graph.placeholder(node.name)
            elif node.op == "output":
                self._graph.output(self._plain(_args(node)[0]))
            elif node.op == "get_attr":
                self._modules[str(node.target)] = _attribute(self._traced, str(node.target))
                self._values[node] = self._graph.get_attr(str(node.target))
        network = fx.GraphModule(self._modules, self._graph)
        network.eval()
        return network

    # What is at hand, and what is asked for.

    def as_bytes(self, node: fx.Node) -> fx.Node:
        """Return the node that has a value as bytes, with the scale of `_scale`."""
        if node not in self._bytes:
            self._bytes[node] = self._make_bytes(node)
        return self._bytes[node]

    def as_values(self, node: fx.Node) -> fx.Node:
        """Return the node that has a value as float32."""
        if node not in self._values:
            self._values[node] = self._make_values(node)
        return self._values[node]

    def _make_bytes(self, node: fx.Node) -> fx.Node:
        if self._is_relu(node):
            inner = _args(node)[0]
            if self._is_alone(inner) and self._is_integer(inner):
                return self._convolve(inner, self._scale(node))
            if self._is_alone(inner) and self._is_add(inner):
                terms = [self._term(term) for term in _args(inner)[:2]]
                given = self._scale(node)
                add = self._layers.add(terms[0][1], terms[1][1], given)
                return self._call(f"{node.name}_sum", add, *(term for term, _ in terms))
        if self._is_pool(node) and self._is_positive(node):
            return self._call(
                f"{node.name}_bytes", self._layers.pool(self._module(node)), self.as_bytes(_args(node)[0])
            )
        if self._is_cat(node) and self._is_positive(node):
            parts = [self._part(part, node) for part in _args(node)[0]]
            return self._graph.call_function(torch.cat, (parts, 1))
        return self._call(f"{node.name}_bytes", self._layers.quantize(self._scale(node)), self.as_values(node))

    def _make_values(self, node: fx.Node) -> fx.Node:
        if self._is_integer(node):
            return self._convolve(node, None)
        if self._wants_bytes(node):
            return self._call(f"{node.name}_values", self._layers.dequantize(self._scale(node)), self.as_bytes(node))
        if node.op == "call_module" and str(node.target) in self._kept:
            return self._call(f"{node.target}", _FloatConv(self._module(node)), self.as_values(_args(node)[0]))
        if self._is_relu(node):
            return self._graph.call_function(torch.relu, (self._plain(_args(node)[0]),))
        if self._is_add(node):
            return self._graph.call_function(operator.add, tuple(self._plain(term) for term in _args(node)[:2]))
        arguments = fx.map_arg(_args(node), self._plain)
        named = fx.map_arg(node.kwargs, self._plain)
        if node.op == "call_module":
            self._modules[str(node.target)] = self._module(node)
        return self._graph.create_node(node.op, node.target, arguments, named)

    def _plain(self, value: Any) -> Any:
        """Return a value in float32, as all takes it that is left as it was."""
        if not isinstance(value, fx.Node):
            return fx.map_arg(value, self._plain) if isinstance(value, tuple | list | dict) else value
        return self.as_values(value)

    # Parts of the graph.

    def _convolve(self, node: fx.Node, given: Scale | None) -> fx.Node:
        source = _args(node)[0]
        target = str(node.target)
        self.taken[target] = self._scale_name(source)
        correction = self._corrections.get(target)
        layer = self._layers.convolve(target, self._module(node), self._scale(source), given, correction)
        name = target if given else f"{target}_values"
        return self._call(name, layer, self.as_bytes(source))

    def _term(self, node: Any) -> tuple[fx.Node, Scale | None]:
        """Return a term of a sum, as bytes where it is wanted so elsewhere."""
        if not isinstance(node, fx.Node):
            raise ModelError("a network that adds constants cannot be quantized")
        if self._wants_bytes(node):
            return self.as_bytes(node), self._scale(node)
        return self.as_values(node), None

    def _part(self, part: fx.Node, cat: fx.Node) -> fx.Node:
        """Return a part of what is put together, in the scale of the whole."""
        if self._scale_name(part) == self._scale_name(cat):
            return self.as_bytes(part)
        return self._call(f"{part.name}_in_{cat.name}", self._layers.quantize(self._scale(cat)), self.as_values(part))

    def _call(self, name: str, module: nn.Module, *arguments: fx.Node) -> fx.Node:
        path = name.replace(".", "_")
        self._modules[path] = module
        return self._graph.call_module(path, arguments)

    def _scale(self, node: fx.Node) -> Scale:
        return self._scale_of(self._scale_name(node))

    def _scale_name(self, node: fx.Node) -> str:
        """Return the name of the value that gives a value its scale."""
        if self._is_pool(node) and self._is_positive(node):
            return self._scale_name(_args(node)[0])
        if len(node.users) == 1:
            (user,) = node.users
            if self._is_cat(user) and self._is_positive(user):
                return self._scale_name(user)
        return node.name

    def _wants_bytes(self, node: fx.Node) -> bool:
        """Whether bytes of a value are asked for, and made without its float values."""
        if self._is_relu(node):
            inner = _args(node)[0]
            is_made = self._is_alone(inner) and (self._is_integer(inner) or self._is_add(inner))
        else:
            is_made = (self._is_pool(node) or self._is_cat(node)) and self._is_positive(node)
        return is_made and any(self._takes_bytes(user) for user in node.users)

    def _takes_bytes(self, user: fx.Node) -> bool:
        return self._is_integer(user) or ((self._is_pool(user) or self._is_cat(user)) and self._wants_bytes(user))

    def _is_integer(self, node: fx.Node) -> bool:
        return _can_be_integer(self._traced, node) and str(node.target) not in self._kept

    def _is_alone(self, node: Any) -> bool:
        return isinstance(node, fx.Node) and len(node.users) == 1

    def _is_relu(self, node: fx.Node) -> bool:
        return node.target in _RELUS or (node.op == "call_module" and isinstance(self._module(node), nn.ReLU))

    def _is_add(self, node: fx.Node) -> bool:
        return node.target in _ADDS and not node.kwargs and all(isinstance(term, fx.Node) for term in _args(node))

    def _is_pool(self, node: fx.Node) -> bool:
        return node.op == "call_module" and can_pool(self._module(node))

    def _is_cat(self, node: fx.Node) -> bool:
        along = _args(node)[1] if len(_args(node)) > 1 else node.kwargs.get("dim")
        return bool(node.target is torch.cat and along == 1)

    def _is_positive(self, node: fx.Node) -> bool:
        """Whether a value is not below 0, by how it is made."""
        if self._is_cat(node):
            return all(self._is_positive(part) for part in _args(node)[0])
        return self._is_relu(node) or (self._is_pool(node) and self._is_positive(_args(node)[0]))

    def _module(self, node: fx.Node) -> Any:
        return _module(self._traced, node)


def _can_be_integer(traced: fx.GraphModule, node: fx.Node) -> bool:
    if node.op != "call_module":
        return False
    module = _module(traced, node)
    return isinstance(module, nn.Conv3d) and module.padding_mode == "zeros" and not isinstance(module.padding, str)


def _module(traced: fx.GraphModule, node: fx.Node) -> nn.Module:
    return traced.get_submodule(str(node.target))


def _attribute(traced: fx.GraphModule, path: str) -> Any:
    parent, _, name = path.rpartition(".")
    return getattr(traced.get_submodule(parent), name)


def _args(node: fx.Node) -> tuple[Any, ...]:
    """Return what a node is called with: nodes, constants, and lists of both."""
    return tuple(node.args)
