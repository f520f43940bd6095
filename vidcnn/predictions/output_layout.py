"""What all places of an output have in common: how its files are called, and how a failure of theirs is said.

See `vidcnn.predictions.output_storage` for where the files lie.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any

import pyarrow as pa

from vidcnn.errors import OutputError, first_line
from vidcnn.logins import hide_logins

_HINTS = {
    errno.ENOSPC: "free some space and run the same command again: what was committed stays",
    errno.EDQUOT: "free some of the quota and run the same command again: what was committed stays",
    errno.EACCES: "its folder must be writable: choose another --out, or change the permissions",
    errno.EPERM: "its folder must be writable: choose another --out, or change the permissions",
    errno.EROFS: "choose an --out on a file system that can be written",
    errno.ENOTDIR: "a part of the path is a file: choose another --out",
    errno.ENOLCK: "its file system has no locks: choose an --out on another",
    errno.ENOSYS: "its file system has no locks: choose an --out on another",
    errno.EOPNOTSUPP: "its file system has no locks: choose an --out on another",
}

ASIDE = "tmp-"
"""What the names of files begin with that are being written."""

Fill = Callable[[IO[bytes]], object]
"""Writes a file's bytes into the stream it is given."""

Check = Callable[[Callable[[str], Any], str], object]
"""Reads a file back, given what opens it and its path; raises if it is not as it was written."""


def is_single_file(name: str) -> bool:
    """Tell whether an output of a name is one file, rather than a folder of part files."""
    return name.lower().endswith(".parquet")


def part_names(entries: list[str], out: str) -> list[str]:
    """Pick the part files; other files are foreign unless their names mark them as hidden."""
    names = sorted(name for name in entries if name.startswith("part-") and name.endswith(".parquet"))
    hidden = {name for name in entries if name.startswith((".", "_", ASIDE, "lock"))}
    foreign = sorted(set(entries) - hidden - set(names))
    if foreign:
        raise OutputError(
            f"{out} contains files that vidcnn did not write ({', '.join(foreign[:3])})",
            "choose another --out, or an empty directory",
        )
    return names


@contextmanager
def explained(out: str) -> Iterator[None]:
    """Turn a failure of the storage into an `OutputError` in one line.

    Args:
        out: The output, as messages name it.
    """
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        code = getattr(error, "errno", None)
        reason = os.strerror(code) if code else public_line(error)
        raise OutputError(f"cannot write {out}: {reason}", _HINTS.get(code or 0, "")) from error


def public_line(error: Exception) -> str:
    """Return the first line of an error, without logins."""
    return hide_logins(first_line(error))
