"""The limits of the container or the service that this process is in, as the kernel's control groups have them.

Both versions are read. Each group above that of the process may have a limit, too, and the smallest holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_MOUNT = Path("/sys/fs/cgroup")
_GROUPS = Path("/proc/self/cgroup")
_UNLIMITED_BYTES = 2**60
"""What version 1 has where there is no limit is about 2**63."""


@dataclass(frozen=True)
class Limits:
    """What a process may have; None where nothing limits it.

    Attributes:
        cpus: Processors, as a share of time.
        memory_bytes: Memory of all processes of the group.
        memory_free_bytes: What of this is left, counting what the kernel can take back.
        num_processes: Processes and threads of the group.
        num_processes_left: How many more there may be.
    """

    cpus: float | None = None
    memory_bytes: int | None = None
    memory_free_bytes: int | None = None
    num_processes: int | None = None
    num_processes_left: int | None = None


def read_limits(mount: Path = _MOUNT, groups: Path = _GROUPS) -> Limits:
    """Read the limits of this process.

    Args:
        mount: Where the kernel shows control groups.
        groups: The file that names those of this process.
    """
    memory = min(_memory(mount, groups), default=None)
    processes = min(_processes(mount, groups), default=None)
    return Limits(
        cpus=min(_cpus(mount, groups), default=None),
        memory_bytes=memory[0] if memory else None,
        memory_free_bytes=memory[1] if memory else None,
        num_processes=processes[0] if processes else None,
        num_processes_left=processes[1] if processes else None,
    )


def _folders(mount: Path, groups: Path, controller: str) -> Iterator[Path]:
    """Yield the folders of a controller that hold for this process: its group's, and those above it."""
    with suppress(OSError, ValueError):
        for line in groups.read_text().splitlines():
            _, names, path = line.split(":", 2)
            if names and controller not in names.split(","):
                continue
            root = mount / controller if names else mount
            folder = root / path.lstrip("/")
            # In a container the path may be one of the host, and the mount then shows the group itself.
            for one in (folder, *folder.parents):
                if one.is_relative_to(root) and one.is_dir():
                    yield one


def _cpus(mount: Path, groups: Path) -> Iterator[float]:
    for folder in _folders(mount, groups, "cpu"):
        with suppress(OSError, ValueError):
            quota, period = (folder / "cpu.max").read_text().split()
            if quota != "max":
                yield int(quota) / int(period)
        with suppress(OSError, ValueError):
            microseconds = _number(folder / "cpu.cfs_quota_us")  # -1 where there is no limit
            if microseconds > 0:
                yield microseconds / _number(folder / "cpu.cfs_period_us")


def _memory(mount: Path, groups: Path) -> Iterator[tuple[int, int]]:
    """Yield limits of memory, and what is left of each."""
    names = (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes"))
    for folder in _folders(mount, groups, "memory"):
        for limit_name, used_name in names:
            with suppress(OSError, ValueError):
                limit = _number(folder / limit_name)
                if limit < _UNLIMITED_BYTES:
                    used = _number(folder / used_name) - _inactive_bytes(folder / "memory.stat")
                    yield limit, max(0, limit - used)


def _processes(mount: Path, groups: Path) -> Iterator[tuple[int, int]]:
    for folder in _folders(mount, groups, "pids"):
        with suppress(OSError, ValueError):
            limit = _number(folder / "pids.max")
            yield limit, max(0, limit - _number(folder / "pids.current"))


def _number(path: Path) -> int:
    """Read a file with one number; ``max`` raises ValueError, as anything else."""
    return int(path.read_text())


def _inactive_bytes(path: Path) -> int:
    """Return how much of a group's memory is of files that nobody has used lately, and can be taken back."""
    with suppress(OSError, ValueError):
        for line in path.read_text().splitlines():
            name, value = line.split()
            if name in ("inactive_file", "total_inactive_file"):
                return int(value)
    return 0
