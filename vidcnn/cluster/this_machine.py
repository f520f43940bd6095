"""What this machine offers to a job that runs without Ray."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from vidcnn.cluster.control_groups import read_limits
from vidcnn.cluster.resources import Machine

_FREE_SHARE = 0.7
"""Share of the memory that is free which a job may take."""


def this_machine(*, use_gpus: bool) -> Machine:
    """Return the processors, the GPUs and the memory that this process may use, as far as its container has them.

    Args:
        use_gpus: Whether GPUs may be used; torch is loaded to count them.
    """
    num_gpus = 0
    if use_gpus:
        import torch

        num_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    limits = read_limits()
    num_cpus = len(os.sched_getaffinity(0))
    if limits.cpus is not None:
        num_cpus = min(num_cpus, max(1, int(limits.cpus)))
    free_bytes = _available_bytes()
    if limits.memory_free_bytes is not None:
        free_bytes = min(free_bytes, limits.memory_free_bytes)
    return Machine(float(num_cpus), float(num_gpus), _FREE_SHARE * free_bytes)


def _available_bytes() -> float:
    """Return the memory that new processes can have."""
    with suppress(OSError, ValueError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return 1024.0 * int(line.split()[1])
    return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES"))
