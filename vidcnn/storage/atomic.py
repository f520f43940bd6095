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
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
