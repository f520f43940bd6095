"""Writing files so that nobody ever sees half of one."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO


def open_new(path: str | Path) -> BinaryIO:
    """Open a file that is new, to be written; what was there under its name is removed, and no link is followed.

    Raises:
        OSError: It cannot be made.
    """
    with suppress(FileNotFoundError):
        os.unlink(path)
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666), "wb")


def make_directories(path: str | Path) -> None:
    """Make a directory, with those above it that are not there, so that they stay if the machine stops.

    What a directory contains is lost with its own name, however well it was written.

    Raises:
        OSError: It cannot be made.
    """
    path = os.path.abspath(path)
    if os.path.isdir(path):
        return
    above = os.path.dirname(path)
    make_directories(above)
    try:
        os.mkdir(path)
    except FileExistsError:
        if not os.path.isdir(path):
            raise
    sync_directory(above)


def sync_directory(path: str | Path) -> None:
    """Make the names in a directory last through a power failure.

    Raises:
        OSError: It cannot be opened, or its disk fails.
    """
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def write_whole(path: Path, content: bytes | Callable[[BinaryIO], Any]) -> None:
    """Write a file so that it is there as a whole or not at all, and stays if the machine stops.

    Args:
        path: The file, which is replaced if it is there.
        content: Its bytes, or what writes them.

    Raises:
        OSError: It cannot be written.
    """
    aside = path.with_name(f".{path.name}.part")
    try:
        with open_new(aside) as file:
            if isinstance(content, bytes):
                file.write(content)
            else:
                content(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)
