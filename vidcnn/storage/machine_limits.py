"""Limits of this machine that a run may come to: too many files or processes, too little memory or room."""

from __future__ import annotations

import errno
import os

from vidcnn.errors import CONTINUES, StorageError

_REMEDIES = {
    errno.EAGAIN: "let it have more processes (ulimit -u)",
    errno.EMFILE: "let it have more open files (ulimit -n)",
    errno.ENFILE: "let it have more open files (fs.file-max)",
    errno.ENOMEM: "make room in its memory",
    errno.ENOSPC: "make room in its temporary folder and in /dev/shm",
}
"""What to do, by error number."""


def machine_limit(error: Exception, doing: str) -> StorageError | None:
    """Return what an error says of this machine, or None where it is about something else.

    Args:
        error: The error.
        doing: What was being done, such as ``planning``.
    """
    if not isinstance(error, OSError) or error.errno not in _REMEDIES:
        return None
    return StorageError(
        f"this machine is at a limit while {doing}: {os.strerror(error.errno)}",
        f"{_REMEDIES[error.errno]}; {CONTINUES}",
    )
