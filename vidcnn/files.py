"""Writing files so that nobody ever sees half of one."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO


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
        with open(aside, "wb") as file:
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
