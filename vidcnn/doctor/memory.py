"""Memory, and the shared memory in which Ray keeps what travels between processes."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from vidcnn.cluster.control_groups import Limits
from vidcnn.reporting.findings import Finding

TOPIC = "memory"
_MEMINFO = Path("/proc/meminfo")
_SHARED = Path("/dev/shm")
_LEAST_BYTES = 2**30
"""Ray and a model take more than this."""
_USUAL_BYTES = 4 * 2**30
_LEAST_SHARED_BYTES = 256 * 2**20
_GIB = 2**30


def check_memory(limits: Limits, meminfo: Path = _MEMINFO) -> list[Finding]:
    """Look at the memory that processes of this container can have.

    Args:
        limits: Limits of the container.
        meminfo: The kernel's account of the machine's memory.
    """
    known = _described(meminfo)
    total, free = known.get("MemTotal", 0), known.get("MemAvailable", 0)
    is_limited = limits.memory_bytes is not None and limits.memory_bytes < total
    if limits.memory_bytes is not None and limits.memory_free_bytes is not None:
        total, free = min(total, limits.memory_bytes), min(free, limits.memory_free_bytes)
    value = f"{free / _GIB:.1f} of {total / _GIB:.1f} GiB free" + (", a limit of the container" if is_limited else "")
    facts = {"total_bytes": total, "free_bytes": free, "limit_bytes": limits.memory_bytes}
    short = f"{total / _GIB:.0f} GiB"
    remedy = "end other programs, use a larger machine, or give the container more (--memory, resources.limits.memory)"
    if free < _LEAST_BYTES:
        problem = f"{free / _GIB:.1f} GiB of memory are free: Ray and a model take more"
        return [Finding(TOPIC, "memory", value, "failure", problem, remedy, facts, short)]
    if free < _USUAL_BYTES:
        problem = f"{free / _GIB:.1f} GiB of memory are free: large models, and many processors, take more"
        return [Finding(TOPIC, "memory", value, "warning", problem, remedy, facts, short)]
    return [Finding(TOPIC, "memory", value, facts=facts, short=short)]


def check_shared_memory(store_bytes: int, folder: Path = _SHARED) -> list[Finding]:
    """Look at the shared memory.

    Args:
        store_bytes: Size that Ray's object store gets here.
        folder: Where it is.
    """
    remedy = "let it be larger: --shm-size 2g (Docker), an emptyDir of the medium Memory at /dev/shm (Kubernetes)"
    if not folder.is_dir():
        problem = f"there is no {folder}: Ray keeps clips in files instead, which is slower"
        return [Finding(TOPIC, str(folder), "missing", "warning", problem, remedy)]
    status = os.statvfs(folder)
    free = status.f_bavail * status.f_frsize
    facts = {"free_bytes": free, "object_store_bytes": store_bytes}
    value = f"{free / _GIB:.1f} GiB free; Ray's object store takes {store_bytes / _GIB:.1f}"
    if free < _LEAST_SHARED_BYTES:
        value = f"{free / 2**20:.0f} MiB free"
        problem = f"{folder} has {free / 2**20:.0f} MiB: Ray keeps clips in files instead, which is slower"
        return [Finding(TOPIC, str(folder), value, "warning", problem, remedy, facts)]
    if not os.access(folder, os.W_OK | os.X_OK):
        problem = f"{folder} cannot be written: Ray does not start"
        return [Finding(TOPIC, str(folder), value, "failure", problem, f"chmod 1777 {folder}", facts)]
    return [Finding(TOPIC, str(folder), value, facts=facts)]


def _described(meminfo: Path) -> dict[str, int]:
    """Return the kernel's account, in bytes."""
    found: dict[str, int] = {}
    with suppress(OSError, ValueError):
        for line in meminfo.read_text().splitlines():
            name, _, value = line.partition(":")
            found[name] = int(value.split()[0]) * 1024
    return found
