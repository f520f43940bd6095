"""System calls for which Python has no function."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from functools import cache
from typing import Any


@cache
def _library() -> Any:
    return ctypes.CDLL(None, use_errno=True)


def is_linux() -> bool:
    """Return whether this system has Linux's system calls, with pointers of 64 bits."""
    return sys.platform == "linux" and sys.maxsize > 2**32


def machine() -> str:
    """Return the kind of processor, such as ``x86_64``."""
    return platform.machine()


def call(number: int, *arguments: Any) -> int:
    """Make a system call by its number.

    Args:
        number: What it is on this kind of processor.
        *arguments: Integers, ctypes' pointers, or None.

    Returns:
        What it returns.

    Raises:
        OSError: It failed.
    """
    given = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    result = int(_library().syscall(ctypes.c_long(number), *given))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def prctl(option: int, *arguments: int) -> int:
    """Change or read a property of this process (prctl(2)).

    Raises:
        OSError: It failed.
    """
    given = [ctypes.c_ulong(value) for value in (*arguments, 0, 0, 0, 0)[:4]]
    result = int(_library().prctl(ctypes.c_int(option), *given))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
