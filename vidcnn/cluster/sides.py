"""The two sides of a command for a cluster: the machine where it was given, and the head where it runs.

A path means two files then. What the first side sees is sent along (`look`), and the second compares it with what it
sees itself (`check`), so that a path which only one of them has is named with its side.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from vidcnn.errors import UsageError
from vidcnn.sources.patterns import has_magic, split_glob
from vidcnn.storage.disks import fingerprint, is_shared
from vidcnn.storage.uris import is_remote, local_path

_READ = ("data", "root", "labels")
_NAMES = ("model", "weights")
"""Fields that are paths only where they look like one: a model's name is none."""


def look(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what this side sees of the paths of a job.

    Args:
        values: Fields of its spec, as JSON has them.
    """
    out = local_out(values)
    disk = None
    if out is not None:
        with suppress(OSError):
            disk = fingerprint(out)
    return {
        "machine": socket.gethostname(),
        "present": [path for path in paths_read(values) if _exists(path)],
        "disk": disk,
    }


def check(values: Mapping[str, Any], seen: Mapping[str, Any], *, writes: bool) -> None:
    """Compare what this side sees of the paths of a job with what the other side saw.

    Args:
        values: Fields of its spec.
        seen: What `look` returned there.
        writes: Whether its output must not be on a disk of this side alone.

    Raises:
        UsageError: A path is not here, or the output would be on a disk that the other side does not see.
    """
    here, there = socket.gethostname(), seen["machine"]
    for path in paths_read(values):
        if _exists(path):
            continue
        if path in seen["present"]:
            raise UsageError(
                f"'{path}' is on {there}, where the command was given, but not on the cluster's head ({here})",
                "copy it to where the cluster sees it, such as s3://BUCKET/KEY or a shared folder",
            )
        raise UsageError(
            f"there is no '{path}' on the cluster's head ({here}), nor on {there}",
            "name what the cluster sees, such as s3://BUCKET/KEY or a shared folder",
        )
    out = local_out(values)
    if writes and out is not None and not is_shared(out) and seen["disk"] != fingerprint(out):
        raise UsageError(
            f"--out '{out}' would be on a disk of the cluster's head ({here}), which {there} does not see",
            "choose s3://BUCKET/KEY or a shared folder; or write it there with --out-on-cluster",
        )


def paths_read(values: Mapping[str, Any]) -> Iterator[str]:
    """Yield the local paths and patterns that a job reads."""
    given = [*values.get("source", ()), *(values.get(name) for name in _READ)]
    given += [name for name in map(values.get, _NAMES) if name is not None and os.sep in name]
    for path in given:
        if path is not None and not is_remote(path):
            yield local_path(path)


def local_out(values: Mapping[str, Any]) -> str | None:
    """Return the local path that a job writes to; None where it writes nowhere, or to object storage."""
    out = values.get("out")
    return None if out is None or is_remote(out) else local_path(out)


def _exists(path: str) -> bool:
    return os.path.lexists(path) or (has_magic(path) and os.path.lexists(split_glob(path)[0]))
