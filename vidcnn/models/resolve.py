"""From what a user writes (a name or a directory, weights, labels) to a `Bundle`.

The weights are, by their name: ``kinetics400`` (published, the default where there are any), ``random``
(drawn from a seed, for trials and benchmarks), or else the path of a file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidcnn.errors import BundleError, ModelError, UsageError
from vidcnn.models.bundle import Bundle, Provenance
from vidcnn.models.registry import ARCHITECTURES, Architecture, architecture
from vidcnn.storage.uris import is_remote, local_path, public_location

if TYPE_CHECKING:
    from torch import Tensor

    from vidcnn.models.torch_files import StoredTensor

RANDOM = "random"


def resolve_model(model: str, *, weights: str | None = None, labels: str | None = None, seed: int = 0) -> Bundle:
    """Return the bundle that a user means: an architecture by name, or a bundle's directory.

    Args:
        model: Name in the registry, or path of a bundle.
        weights: As for `make_bundle`; not with a bundle's directory.
        labels: As for `make_bundle`; not with a bundle's directory.
        seed: Seed of random weights.

    Raises:
        ModelError: The model is unknown, or its weights are not available.
        BundleError: The directory is not a whole bundle.
        UsageError: `weights` or `labels` were given with a bundle's directory.
    """
    if model in ARCHITECTURES:
        return make_bundle(model, weights=weights, labels=labels, seed=seed)
    shown = public_location(model)
    if not is_remote(model) and not Path(local_path(model)).is_dir():
        if "/" in model or Path(model).exists():
            raise BundleError(f"'{shown}' is not a directory", "give a model's name, or a bundle's directory")
        architecture(model)  # raises, with the closest names
    given = [name for name, value in (("weights", weights), ("labels", labels)) if value is not None]
    if given:
        raise UsageError(
            f"'{shown}' is a bundle, which has its own {' and '.join(given)}",
            f"leave {' and '.join(f'--{name}' for name in given)} out, or give a model's name",
        )
    return Bundle.load(model)


def make_bundle(
    model: str,
    *,
    weights: str | None = None,
    labels: str | None = None,
    seed: int = 0,
    num_classes: int | None = None,
    arguments: Mapping[str, Any] | None = None,
) -> Bundle:
    """Make a bundle of an architecture, weights and labels.

    Args:
        model: Name in the registry.
        weights: Name of published weights, ``random``, or path of a
            ``.pth``/``.pt``/``.ckpt``/``.safetensors`` file; by default the published ones.
        labels: Path of a file of class names; by default those of the published weights, or of Kinetics-400
            if there are as many classes, or ``class_0`` and so on.
        seed: Seed of random weights, and of a new head.
        num_classes: Number of classes, K; by default that of the weights or labels. Weights of another number
            of classes keep all but their head, which is drawn at random.
        arguments: Arguments of the architecture's builder.

    Raises:
        ModelError: The model is unknown, the weights are not available or do not fit, or the number of labels is
            wrong.
    """
    from safetensors.torch import save

    entry = architecture(model)
    weights = weights or _default_weights(entry)
    arguments = json.loads(json.dumps(dict(arguments or {})))
    names = _read_labels(labels)
    published: tuple[str, ...] | None = None
    if weights == RANDOM:
        from vidcnn.models.build import random_state

        num_classes = num_classes or (len(names) if names else 400)
        state = random_state(entry, num_classes, arguments, seed)
        origin = f"random (seed {seed})"
    else:
        from vidcnn.models.checkpoints import open_weights
        from vidcnn.models.published import class_names, published_file

        if _is_path(weights, entry):
            path, origin = weights, Path(local_path(weights)).name
        else:
            path, origin = str(published_file(entry, weights)), weights
            published = class_names(entry.name, weights)
        with open_weights(path) as stored:
            state, renewed = _fit(entry, stored, arguments, num_classes, seed, origin)
        origin += f", new head (seed {seed})" if renewed else ""
        published = None if renewed else published
    found = state[f"{entry.head}.weight"].shape[0]
    if names is None:
        names = published or _default_labels(entry, found)
    if len(names) != found:
        raise ModelError(
            f"'{labels}' has {len(names)} labels and the weights '{public_location(weights)}' have {found} classes",
            "give one label for each class, in the order of the weights",
        )
    return Bundle(
        architecture=entry.name,
        labels=names,
        sampling=entry.sampling,
        preprocessing=entry.preprocessing,
        weights=save(state),
        arguments=arguments,
        provenance=Provenance(weights=origin),
    )


def starting_bundle(
    model: str,
    labels: tuple[str, ...],
    *,
    weights: str | None = None,
    arguments: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> Bundle:
    """Return the network that training begins with: one that knows something already, with a head for new classes.

    The head stays where it has these classes: those of a bundle or of published weights if the names are the same,
    those of a checkpoint file, which has no names, if there are as many.

    Args:
        model: Name in the registry, or path of a bundle.
        labels: Names of the K classes.
        weights: As for `make_bundle`; by default the published ones, or random ones where none are published.
        arguments: Arguments of the architecture's builder; not with a bundle.
        seed: Seed of what is drawn.

    Raises:
        ModelError: As in `resolve_model`.
        BundleError: As in `resolve_model`.
        UsageError: `weights` or `arguments` were given with a bundle.
    """
    if model not in ARCHITECTURES:
        found = resolve_model(model, weights=weights)
        if arguments:
            raise UsageError(
                f"'{public_location(model)}' is a bundle, which has its own {' and '.join(arguments)}",
                "leave them out, or train a model by name",
            )
        return found if found.labels == labels else _with_new_head(found, labels, seed)
    entry = architecture(model)
    weights = weights or (entry.weights[0] if entry.weights else RANDOM)
    if weights == RANDOM:
        drawn = make_bundle(model, weights=RANDOM, num_classes=len(labels), arguments=arguments, seed=seed)
        return replace(drawn, labels=labels)
    found = make_bundle(model, weights=weights, arguments=arguments, seed=seed)
    if found.labels == labels:
        return found
    if _is_path(weights, entry) and len(found.labels) == len(labels):
        return replace(found, labels=labels)
    return _with_new_head(found, labels, seed)


def _with_new_head(bundle: Bundle, labels: tuple[str, ...], seed: int) -> Bundle:
    from safetensors.torch import load, save

    from vidcnn.models.build import fitting_network, random_state

    entry = architecture(bundle.architecture)
    fitting_network(bundle)  # before anything is drawn in the sizes that the bundle claims
    fresh = random_state(entry, len(labels), bundle.arguments, seed)
    state = {
        name: fresh[name] if name.startswith(f"{entry.head}.") else value
        for name, value in load(bundle.weights).items()
    }
    origin = f"{bundle.provenance.weights}, new head (seed {seed})"
    provenance = replace(bundle.provenance, weights=origin)
    return replace(bundle, labels=labels, weights=save(state), provenance=provenance, quantization=None, golden=None)


def _default_weights(entry: Architecture) -> str:
    if not entry.weights:
        raise ModelError(
            f"no weights are published for {entry.name}",
            "train it first and give the bundle, or use --weights FILE, or --weights random for a trial",
        )
    return entry.weights[0]


def _is_path(weights: str, entry: Architecture) -> bool:
    """A word without a dot or a slash is the name of published weights, unless there is a file of that name."""
    return weights not in entry.weights and (Path(weights).exists() or "/" in weights or "." in weights)


def _fit(
    entry: Architecture,
    stored: Mapping[str, StoredTensor],
    arguments: Mapping[str, Any],
    num_classes: int | None,
    seed: int,
    origin: str,
) -> tuple[dict[str, Tensor], bool]:
    """Read weights that fit the architecture, and no others.

    Returns:
        The weights, and whether their head was replaced for another number of classes.
    """
    import torch

    from vidcnn.models.build import build_network, find_misfit, random_state
    from vidcnn.models.checkpoints import read_stored

    head = [name for name in (f"{entry.head}.weight", f"{entry.head}.bias") if name in stored]
    if not head or stored[head[0]].ndim == 0:
        some = ", ".join(sorted(stored)[:3])
        raise ModelError(
            f"the weights '{origin}' have no '{entry.head}.weight' (they begin with {some}), so they are not of "
            f"{entry.name}",
            "check --model",
        )
    found = stored[head[0]].shape[0]
    network = build_network(entry, found, arguments)
    absent = {
        name: torch.zeros_like(tensor, device="cpu")
        for name, tensor in network.state_dict().items()
        if name.endswith("num_batches_tracked") and name not in stored  # absent from files of early torch
    }
    misfit = find_misfit(network, {**stored, **absent})
    if misfit:
        raise ModelError(f"the weights '{origin}' do not fit {entry.name}: {misfit}", "check --model")
    state = {**{name: read_stored(tensor) for name, tensor in stored.items()}, **absent}
    if num_classes in (None, found):
        return state, False
    fresh = random_state(entry, num_classes or found, arguments, seed)
    return {**state, **{name: fresh[name] for name in head}}, True


def _read_labels(labels: str | None) -> tuple[str, ...] | None:
    if labels is None:
        return None
    from vidcnn.models.checkpoints import read_labels

    return read_labels(labels)


def _default_labels(entry: Architecture, num_classes: int) -> tuple[str, ...]:
    if num_classes == 400:
        from vidcnn.models.published import class_names

        return class_names("r3d_18", "kinetics400")
    return tuple(f"class_{index}" for index in range(num_classes))
