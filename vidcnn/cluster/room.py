"""Whether Ray has room to start: without it, a start only times out.

Takes the folder of Ray's files and Ray's own message; returns errors that name the folder, what is free in it, and
what moves it.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from vidcnn.errors import VidcnnError, describe_reason

SHARED_MEMORY = Path("/dev/shm")

_PROBE_BYTES = 256 * 2**10
"""Ray's logs and sockets take more than this at once."""
_LITTLE_BYTES = 64 * 2**20
"""With less than this, a start that fails has probably failed for want of room."""
_HINTS = {
    "temporary": "make room there, or name a folder on another disk in RAY_TMPDIR",
    "shared": "make room there and let it be written; containers take --shm-size 2g",
}


def check_room(folder: Path, shared_memory: Path = SHARED_MEMORY) -> None:
    """Check that Ray can write its files and its shared memory.

    Shared memory that is merely small is no matter: Ray takes files in its folder then.

    Args:
        folder: Where Ray's files go.
        shared_memory: Where its shared memory is; it need not be there.

    Raises:
        VidcnnError: One of the two cannot be written, or is full.
    """
    _probe(folder, "temporary")
    if shared_memory.is_dir() and _free_bytes(shared_memory) > _PROBE_BYTES:
        _probe(shared_memory, "shared")


def start_error(reason: str, folder: Path) -> VidcnnError:
    """Return the error of a Ray that does not start.

    Args:
        reason: Ray's own message.
        folder: Where its files go.
    """
    if _free_bytes(folder) < _LITTLE_BYTES:
        return VidcnnError(
            f"Ray does not start on this machine, and its temporary folder {folder} has little room "
            f"({_free_text(folder)}): {reason}",
            _HINTS["temporary"],
        )
    return VidcnnError(f"Ray does not start on this machine: {reason}", "--debug shows more")


def _probe(folder: Path, kind: str) -> None:
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(_PROBE_BYTES))
    except OSError as error:
        what = f"Ray's {'temporary folder' if kind == 'temporary' else 'shared memory'} {folder}"
        reason = f"{what} cannot be written: {describe_reason(error)} ({_free_text(folder)})"
        raise VidcnnError(reason, _HINTS[kind]) from error


def _free_bytes(folder: Path) -> int:
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize


def _free_text(folder: Path) -> str:
    return f"{_free_bytes(folder) / 2**20:.1f} MiB free"
