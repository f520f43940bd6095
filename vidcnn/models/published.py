"""Published weights: torchvision's, by name, through torch's download cache.

Takes an architecture and a name such as ``kinetics400``; returns the file of the weights and the class names they were
trained for. A download that fails leaves nothing behind, and the error names the file that is wanted and
where to put it. A file that someone else put there, or could change, is not taken: its name has only eight digits of
its SHA-256, which can be met on purpose.
"""

from __future__ import annotations

import logging
import os
import sys
from hashlib import file_digest
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import torch

from vidcnn.errors import ModelError
from vidcnn.models.registry import Architecture
from vidcnn.storage.ownership import open_regular, why_foreign

_MEMBERS = {"kinetics400": "KINETICS400_V1"}
"""Names of published weights, and torchvision's for the same."""

logger = logging.getLogger(__name__)


def published_file(entry: Architecture, name: str) -> Path:
    """Return the file of published weights of an architecture, which is downloaded if it is not there.

    Raises:
        ModelError: The architecture has no such weights, or the file is neither there nor available, or others can
            change it.
    """
    if name not in entry.weights:
        have = f"published are {', '.join(entry.weights)}; or" if entry.weights else "none are published:"
        raise ModelError(f"{entry.name} has no weights '{name}'", f"{have} give the path of a file, or random")
    return _fetch(entry, name)


def class_names(model: str, name: str) -> tuple[str, ...]:
    """Return the class names of published weights, in the order of the logits."""
    return tuple(_member(model, name).meta["categories"])


def _member(model: str, name: str) -> Any:
    from torchvision.models import get_model_weights

    return get_model_weights(model)[_MEMBERS[name]]


def _fetch(entry: Architecture, name: str) -> Path:
    """Return the path of the weights' file in torch's cache, after seeing that it is whole."""
    url: str = _member(entry.name, name).url
    filename = Path(urlsplit(url).path).name
    path = Path(torch.hub.get_dir(), "checkpoints", filename)
    # The file's name ends with the first digits of its SHA-256.
    digits = path.stem.rpartition("-")[2]
    if os.path.lexists(path):
        if _has_digest(path, digits):
            return path
        raise ModelError(f"'{path}' is damaged (its SHA-256 does not begin with {digits})", "delete it and try again")
    logger.info("downloading %s to %s", url, path)
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), hash_prefix=digits, progress=sys.stderr.isatty())
        path.chmod(0o644)  # whatever the umask
    # urllib and http report a failing network by many types; a hash that differs is a RuntimeError.
    except Exception as error:
        raise ModelError(
            f"the weights {name} of {entry.name} could not be downloaded ({error})",
            f"put {url} at '{path}', or use --weights FILE (--weights random for a trial)",
        ) from error
    return path


def _has_digest(path: Path, digits: str) -> bool:
    """Return whether a file in the cache, which must be of this user or of root, has a SHA-256 that begins so."""
    try:
        with open_regular(path) as file:
            reason = why_foreign(os.fstat(file.fileno())) or why_foreign(os.stat(path.parent))
            if reason is None:
                return file_digest(file, "sha256").hexdigest().startswith(digits)
    except OSError as error:
        reason = error.strerror or str(error)
    raise ModelError(
        f"'{path}' is not taken for published weights: {reason}",
        f"if you trust it, give --weights '{path}'; or close it and its folder to others (chmod go-w), delete it, "
        "or set TORCH_HOME to a folder of your own",
    )
