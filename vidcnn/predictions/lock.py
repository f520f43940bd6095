"""Keep two runs from writing one output: an exclusive lock on a file in a directory of its own.

The kernel unlocks when the process ends, however it ends; programs that the process starts do not inherit the
lock.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from contextlib import suppress

from vidcnn.errors import OutputBusyError

_NAME = "lock"
_NUM_ATTEMPTS = 100


def acquire(directory: str, out: str) -> int:
    """Create a directory and lock it, without waiting.

    Args:
        directory: The directory; its parents are created too.
        out: What the lock is for, as messages name it.

    Returns:
        A file descriptor for `release`.

    Raises:
        OutputBusyError: Another process holds the lock; the message names it.
        OSError: The directory cannot be made, or its file system has no locks.
    """
    path = os.path.join(directory, _NAME)
    for num_left in reversed(range(_NUM_ATTEMPTS)):
        try:
            os.makedirs(directory, exist_ok=True)
            lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except (FileNotFoundError, FileExistsError):
            if num_left:
                continue  # most likely, its last holder has just removed the directory
            raise
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(lock, path):
                _write_holder(lock)
                return lock
        except BlockingIOError:
            holder = _read_holder(lock)
            os.close(lock)
            raise _busy(out, holder) from None
        except BaseException:
            os.close(lock)
            raise
        os.close(lock)  # its last holder has just removed the file: a lock on it keeps nobody out
    raise _busy(out, "others come and go")


def release(directory: str, lock: int) -> None:
    """Unlock a directory, and remove it if nothing but the lock is in it."""
    # The file goes before the lock does, so that no other process can hold a lock on a file removed here.
    with suppress(OSError):
        os.unlink(os.path.join(directory, _NAME))
        os.rmdir(directory)
    os.close(lock)


def _is_at(lock: int, path: str) -> bool:
    """Tell whether an open file is still the one at a path."""
    try:
        return os.path.samestat(os.fstat(lock), os.stat(path))
    except FileNotFoundError:
        return False


def _write_holder(lock: int) -> None:
    holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%F %T %z")}
    os.ftruncate(lock, 0)
    os.pwrite(lock, json.dumps(holder).encode(), 0)


def _read_holder(lock: int) -> str:
    try:
        holder = json.loads(os.pread(lock, 4096, 0))
        return f"process {holder['pid']} on {holder['host']} since {holder['since']}"
    except (ValueError, KeyError, TypeError):
        return "which has just begun"


def _busy(out: str, holder: str) -> OutputBusyError:
    return OutputBusyError(f"{out} is held by another run ({holder})", "wait until it ends, or choose another --out")
