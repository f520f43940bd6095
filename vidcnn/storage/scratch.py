"""Directories that last no longer than the process that made them, whatever ends it.

A process removes its own at its end. What a killed process left is removed by the next one that asks for a directory of
the same prefix: as long as a process lives, it keeps a lock on a file in its directory.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

_OWNER = "owner"

_own_directories: set[Path] = set()


@contextmanager
def scratch_directory(
    prefix: str, base: Path, *, end_users: Callable[[Path], object] = lambda directory: None
) -> Iterator[Path]:
    """Make a directory that goes away with the block.

    Args:
        prefix: How its name begins; those that dead processes left under the same prefix are removed.
        base: Where to make it. Nobody but this user may enter what is made.
        end_users: Ends the processes that use a directory which a dead process left, before it is removed.

    Raises:
        OSError: It cannot be made.
    """
    for left in base.glob(f"{prefix}*"):
        if _is_left(left):
            end_users(left)
            shutil.rmtree(left, ignore_errors=True)
    directory = Path(tempfile.mkdtemp(prefix=prefix, dir=base))  # mode 0700, whatever the umask
    _own_directories.add(directory)
    with _own(directory):
        try:
            yield directory
        finally:
            shutil.rmtree(directory, ignore_errors=True)
            _own_directories.discard(directory)


def remove_own() -> None:
    """Remove the directories of this process, which is about to end."""
    for directory in tuple(_own_directories):
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def _own(directory: Path) -> Iterator[None]:
    # The file gets its name when it is locked: before that, nobody takes the directory for one that was left.
    with open(directory / f".{_OWNER}", "wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        os.rename(file.name, directory / _OWNER)
        yield


def _is_left(directory: Path) -> bool:
    """Return whether this user has made a directory with a process that has ended.

    Anyone may have put something of this name there: a link, a folder of theirs, a pipe that nobody writes to.
    """
    with suppress(OSError):
        if not stat.S_ISDIR((status := os.lstat(directory)).st_mode) or status.st_uid != os.geteuid():
            return False
        with open(directory / _OWNER, "rb", opener=_open_safely) as file:
            status = os.fstat(file.fileno())
            return stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid() and _can_lock(file)
    return False


def _open_safely(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def _can_lock(file: IO[bytes]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
