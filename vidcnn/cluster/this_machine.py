"""What this machine offers to a job that runs without Ray."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from vidcnn.cluster.resources import Machine

_CGROUP = Path("/sys/fs/cgroup")
_FREE_SHARE = 0.7
"""Share of the memory that is free which a job may take."""


def this_machine(*, use_gpus: bool) -> Machine:
    """Return the processors, the GPUs and the memory that this process may use.

    Args:
        use_gpus: Whether GPUs may be used; torch is loaded to count them.
    """
    num_gpus = 0
    if use_gpus:
        import torch

        num_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return Machine(float(_num_cpus()), float(num_gpus), _FREE_SHARE * min(_available_bytes(), _memory_limit()))


def _num_cpus() -> int:
    """Return the processors of this process: those that it may run on, as far as its container has a share in them."""
    num_cpus = len(os.sched_getaffinity(0))
    with suppress(OSError, ValueError):
        quota, period = (_CGROUP / "cpu.max").read_text().split()
        if quota != "max":
            num_cpus = min(num_cpus, max(1, int(int(quota) / int(period))))
    return num_cpus


def _available_bytes() -> float:
    """Return the memory that new processes can have."""
    with suppress(OSError, ValueError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return 1024.0 * int(line.split()[1])
    return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES"))


def _memory_limit() -> float:
    with suppress(OSError, ValueError):
        limit = (_CGROUP / "memory.max").read_text().strip()
        if limit != "max":
            return float(limit)
    return float("inf")
