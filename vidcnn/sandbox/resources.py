"""Limits of memory and files for a process that reads what anyone may have written."""

from __future__ import annotations

import resource
from contextlib import suppress

_MEMORY_BYTES = 4 * 2**30
"""What a process may take beyond what it has when it begins: an 8K film with all its reference frames needs less."""
_FILE_BYTES = 8 * 2**30
"""Shared memory in which pixels are handed over counts as a file."""
_STATUS = "/proc/self/status"


def limit_resources(memory_bytes: int = _MEMORY_BYTES) -> int | None:
    """Limit what this process may take from now on. It then gets no more memory, and its libraries say so.

    Memory that it shares with its parent does not count, nor do programs that it has loaded.

    Args:
        memory_bytes: Memory besides what it has now.

    Returns:
        The limit of memory in bytes; None where this system shows no process how much it has.
    """
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, _FILE_BYTES)
    _limit(resource.RLIMIT_NOFILE, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    taken = _data_bytes()
    if taken is None:
        return None
    _limit(resource.RLIMIT_DATA, taken + memory_bytes)
    return memory_bytes


def _limit(kind: int, value: int) -> None:
    """Set a limit for good, where it is not lower already."""
    _, most = resource.getrlimit(kind)
    if most != resource.RLIM_INFINITY:
        value = min(value, most) if value != resource.RLIM_INFINITY else most
    with suppress(ValueError, OSError):
        resource.setrlimit(kind, (value, value))


def _data_bytes() -> int | None:
    """Return how much memory of its own this process has asked for (proc_pid_status(5), VmData)."""
    try:
        with open(_STATUS, "rb") as file:
            for line in file:
                if line.startswith(b"VmData:"):
                    return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        return None
    return None
