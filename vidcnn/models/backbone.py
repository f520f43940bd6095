"""What all layers but the last of a bundle compute, as one hash: equal hashes mean equal embeddings of a clip.

The hash covers the architecture with its arguments, the sampling of clips, the preprocessing of frames, and each tensor
of the weights that is not of the head: name, type, shape and bytes. Labels and head may differ.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from hashlib import sha256
from typing import Any

from vidcnn.models.bundle import Bundle
from vidcnn.models.registry import architecture


def backbone_sha256(bundle: Bundle) -> str:
    """Return the hexadecimal SHA-256 of all that an embedding of a bundle depends on, given a video and its clips.

    Args:
        bundle: The model, with the sampling of the clips that it takes.
    """
    entry = architecture(bundle.architecture)
    described = {
        "architecture": entry.name,
        "arguments": {entry.former_arguments.get(name, name): value for name, value in bundle.arguments.items()},
        "sampling": asdict(bundle.sampling),
        "preprocessing": asdict(bundle.preprocessing),
    }
    digest = sha256(json.dumps(_plain(described), sort_keys=True).encode())
    content = memoryview(bundle.weights)
    for name, tensor in sorted(bundle.header.items()):
        if not name.startswith(f"{entry.head}."):
            digest.update(json.dumps([name, tensor.dtype, tensor.shape]).encode())
            digest.update(content[tensor.start : tensor.end])
    return digest.hexdigest()


def _plain(value: Any) -> Any:
    """Return a JSON value in which equal numbers are written alike: ``15.0`` as ``15``."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
