"""Reading weights and labels that users bring: files of other programs, in their many habits.

Takes a path; returns the tensors of a network under its own names, or a tuple of labels. Nothing in a file is trusted:
pickled objects other than tensors and plain containers are refused, and a tensor takes no memory before someone who has
compared its shape with that of a network reads it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor

from vidcnn.bounds import MAX_CARD_BYTES
from vidcnn.errors import ModelError
from vidcnn.models.pickles import ForbiddenError, MalformedError
from vidcnn.models.safetensors_files import open_safetensors
from vidcnn.models.torch_files import StoredTensor, open_checkpoint
from vidcnn.safe_text import BLANKS, is_utf8
from vidcnn.storage.ownership import open_regular
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

_HINT = "where it was made, save only the weights: torch.save(model.state_dict(), 'weights.pth')"


@contextmanager
def open_weights(path: str | Path) -> Iterator[dict[str, StoredTensor]]:
    """Open a ``.safetensors`` file or a torch checkpoint; `read_stored` reads a tensor of it while it is open.

    Returns:
        Tensors under the names that they had before any wrapper.

    Raises:
        ModelError: The file is absent, unreadable or damaged, contains other Python objects, or contains no
            weights.
    """
    path = _local(path, "weights")
    if not path.exists():
        raise ModelError(f"there is no weights file '{path}'", "give kinetics400, random, or the path of a file")
    kind = "safetensors file" if path.suffix == ".safetensors" else "torch checkpoint"
    try:
        with open_safetensors(path) if path.suffix == ".safetensors" else open_checkpoint(path) as content:
            state = _find_state(content, set())
            if not state:
                raise ModelError(f"'{path}' contains no weights", "save the network's state_dict() in it")
            yield {_strip(name): tensor for name, tensor in state.items() if name != "n_averaged"}
    except ForbiddenError as error:
        raise ModelError(
            f"'{path}' contains Python objects ({error}), which could run code when loaded", _HINT
        ) from error
    except MalformedError as error:
        if _is_plain_pickle(path):
            raise ModelError(f"'{path}' is a pickle of a kind that torch does not load safely", _HINT) from error
        raise ModelError(f"'{path}' is not a {kind}, or is damaged: {error}") from error
    except OSError as error:
        raise ModelError(f"cannot read '{path}': {error.strerror or error}") from error


def read_stored(tensor: StoredTensor) -> Tensor:
    """Read a tensor of weights, contiguous, a floating one as float32."""
    found = tensor.read()
    return (found.float() if found.is_floating_point() else found).contiguous()


def read_labels(path: str | Path) -> tuple[str, ...]:
    """Read class names: one per line, or JSON as a list, as ``{"0": name}`` or as ``{name: 0}``.

    Raises:
        ModelError: The file is absent or malformed, or the indices are not ``0..K-1``.
    """
    path = _local(path, "labels")
    try:
        with open_regular(path, follow_links=True) as file:
            content = file.read(MAX_CARD_BYTES + 1)
        if len(content) > MAX_CARD_BYTES:
            raise ModelError(f"the labels '{path}' are larger than {MAX_CARD_BYTES:,} bytes", "give a file of names")
        text = content.decode("utf-8-sig")
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
        stripped = text.strip(BLANKS)
        labels = tuple(line.strip(BLANKS) for line in stripped.split("\n")) if stripped else ()
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


def _is_plain_pickle(path: Path) -> bool:
    """Return whether a file begins as pickles of a later protocol than torch's do."""
    with open_regular(path, follow_links=True) as file:
        head = file.read(2)
    return len(head) == 2 and head[0] == 0x80 and 3 <= head[1] <= 5


def _find_state(content: Any, seen: set[int], depth: int = 3) -> dict[str, StoredTensor]:
    """Find the flat dictionary of tensors in a checkpoint that may wrap it."""
    if not isinstance(content, Mapping) or not depth or id(content) in seen:
        return {}
    seen.add(id(content))
    for key in _NESTED:
        state = _find_state(content.get(key), seen, depth - 1)
        if state:
            return state
    return {name: value for name, value in content.items() if isinstance(name, str) and isinstance(value, StoredTensor)}


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
    return tuple(label.strip(BLANKS).strip('"') for label in content)
