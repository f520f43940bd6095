"""Directories that last no longer than the process that made them, whatever ends it.

A process removes its own at its end. What a killed process left is removed by the next one that asks for a directory of
the same prefix: as long as a process lives, it keeps a lock on a file in its directory.
"""

from __future__ import annotations

import fcntl
import os
import shutil
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
        base: Where to make it.
        end_users: Ends the processes that use a directory which a dead process left, before it is removed.

    Raises:
        OSError: It cannot be made.
    """
    for left in base.glob(f"{prefix}*"):
        if _is_left(left):
            end_users(left)
            shutil.rmtree(left, ignore_errors=True)
    directory = Path(tempfile.mkdtemp(prefix=prefix, dir=base))
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
    """Return whether the process that made a directory has ended."""
    with suppress(OSError), open(directory / _OWNER, "rb") as file:
        return os.fstat(file.fileno()).st_uid == os.getuid() and _can_lock(file)
    return False


def _can_lock(file: IO[bytes]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
