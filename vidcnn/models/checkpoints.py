"""Reading weights and labels that users bring: files of other programs, in their many habits.

Takes a path; returns a flat dictionary of float32 tensors under the network's own names, or a tuple of
labels. Nothing in a file is trusted: pickled objects other than tensors and plain containers are refused.
"""

from __future__ import annotations

import json
import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vidcnn.errors import ModelError
from vidcnn.processes import SETTINGS
from vidcnn.safe_text import is_utf8
from vidcnn.storage.uris import is_remote, local_path, public_location

_NESTED = (
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "module",
    "network",
    "weights",
    "params",
    "state_dict_ema",
    "model_ema",
    "ema_state_dict",
    "ema",
)
"""Where training programs keep the weights in a checkpoint, the first found taken: averages (EMA) only if alone."""

_PREFIXES = ("module.", "model.", "_orig_mod.", "network.")
"""What wrappers (data parallel, trainers, torch.compile) put before each name."""

_FORBIDDEN = re.compile(r"Unsupported (?:global|class)[^:]*: (?:GLOBAL )?([\w.]+)")
"""The message of torch's restricted unpickler about something other than tensors and plain containers."""


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Read the weights of a ``.safetensors`` file or of a torch checkpoint.

    Returns:
        Tensors on the CPU under the names that they had before any wrapper; floating ones as float32.

    Raises:
        ModelError: The file is absent, unreadable or damaged, contains other Python objects, or contains no
            weights.
    """
    path = _local(path, "weights")
    if not path.is_file():
        raise ModelError(f"there is no weights file '{path}'", "give kinetics400, random, or the path of a file")
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    state = _find_state(content)
    if not state:
        raise ModelError(f"'{path}' contains no weights", "save the network's state_dict() in it")
    tensors = {_strip(name): tensor for name, tensor in state.items() if name != "n_averaged"}
    return {
        name: (tensor.float() if tensor.is_floating_point() else tensor).contiguous()
        for name, tensor in tensors.items()
    }


def read_labels(path: str | Path) -> tuple[str, ...]:
    """Read class names: one per line, or JSON as a list, as ``{"0": name}`` or as ``{name: 0}``.

    Raises:
        ModelError: The file is absent or malformed, or the indices are not ``0..K-1``.
    """
    path = _local(path, "labels")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ModelError(f"cannot read the labels '{path}': {reason}") from error
    if text.lstrip()[:1] in ("[", "{"):
        try:
            labels = _labels_of_json(json.loads(text))
        except (ValueError, RecursionError) as error:
            raise ModelError(
                f"the labels '{path}' cannot be understood: {error}",
                'give a JSON list of names, or an object {"0": "first", "1": "second"}',
            ) from error
    else:
        labels = tuple(line.strip() for line in text.strip().splitlines())
    blank = next((index for index, label in enumerate(labels) if not label), None)
    if not labels or blank is not None:
        what = "are empty" if not labels else f"have no name for class {blank}"
        raise ModelError(f"the labels '{path}' {what}", "give one name for each class")
    if no_text := next((label for label in labels if not is_utf8(label)), None):
        raise ModelError(f"the labels '{path}' have a name that is not UTF-8: '{no_text}'", "write it in UTF-8")
    return labels


def _local(location: str | Path, what: str) -> Path:
    """Return the path of a file of this machine, which may be given as a ``file://`` URI."""
    if is_remote(str(location)):
        raise ModelError(
            f"the {what} '{public_location(str(location))}' are in object storage",
            "copy the file to this machine first",
        )
    return Path(local_path(str(location)))


def _read_safetensors(path: Path) -> Mapping[str, Any]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise ModelError(f"'{path}' is not a safetensors file, or is damaged: {error}") from error


def _read_torch(path: Path) -> Any:
    try:
        with SETTINGS, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        hint = "where it was made, save only the weights: torch.save(model.state_dict(), 'weights.pth')"
        if forbidden := _FORBIDDEN.search(str(error)):
            what = f"'{path}' contains Python objects ({forbidden[1]}), which could run code when loaded"
            raise ModelError(what, hint) from error
        if _is_plain_pickle(path):
            raise ModelError(f"'{path}' is a pickle of a kind that torch does not load safely", hint) from error
        raise ModelError(f"'{path}' is not a torch checkpoint, or is damaged") from error
    except OSError as error:
        raise ModelError(f"cannot read '{path}': {error.strerror or error}") from error
    except (RuntimeError, EOFError, ValueError, KeyError, IndexError, AttributeError, TypeError) as error:
        raise ModelError(f"'{path}' is not a torch checkpoint, or is damaged") from error


def _is_plain_pickle(path: Path) -> bool:
    """Return whether a file begins as pickles of a later protocol than torch's do."""
    with open(path, "rb") as file:
        head = file.read(2)
    return len(head) == 2 and head[0] == 0x80 and 3 <= head[1] <= pickle.HIGHEST_PROTOCOL


def _find_state(content: Any, depth: int = 3) -> dict[str, Tensor]:
    """Find the flat dictionary of tensors in a checkpoint that may wrap it."""
    if not isinstance(content, Mapping) or not depth:
        return {}
    for key in _NESTED:
        state = _find_state(content.get(key), depth - 1)
        if state:
            return state
    return {name: value for name, value in content.items() if isinstance(name, str) and isinstance(value, Tensor)}


def _strip(name: str) -> str:
    while (prefix := next(filter(name.startswith, _PREFIXES), None)) is not None:
        name = name.removeprefix(prefix)
    return name.replace("._orig_mod.", ".")


def _labels_of_json(content: Any) -> tuple[str, ...]:
    if isinstance(content, dict):
        if content and all(isinstance(value, int) for value in content.values()):
            content = {str(index): name for name, index in content.items()}
        missing = [str(index) for index in range(len(content)) if str(index) not in content]
        if missing:
            raise ValueError(f"there is no class {missing[0]}")
        content = [content[str(index)] for index in range(len(content))]
    if not all(isinstance(label, str) for label in content):
        raise ValueError("a name is not a string")
    return tuple(label.strip().strip('"') for label in content)
