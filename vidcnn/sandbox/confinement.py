"""Confining a process, in two steps: before it loads anything, and before it reads what anyone may have written.

After the first step it changes no file, and connects nowhere by TCP. After the second it opens none, starts no
program, makes no socket, and reaches no other process: it has what was open before, and what its parent hands over.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from vidcnn.choices import Sandbox
from vidcnn.errors import SandboxError
from vidcnn.sandbox import landlock, seccomp
from vidcnn.sandbox.privileges import drop_privileges
from vidcnn.sandbox.resources import limit_resources
from vidcnn.sandbox.syscalls import is_linux

_DEVICES = (Path("/dev/null"), Path("/dev/zero"))


class Strength(NamedTuple):
    """What confines a process.

    Attributes:
        seccomp: System calls are filtered: it opens nothing, connects nowhere, starts nothing, in any thread.
        landlock: Version of Landlock that refuses the same once more; 0 for none.
        memory_bytes: How much memory it may take; None leaves that open.
        unprivileged: Whether it has no privilege of root.
    """

    seccomp: bool = False
    landlock: int = 0
    memory_bytes: int | None = None
    unprivileged: bool = False

    @property
    def is_closed(self) -> bool:
        """Whether it can open no file, so that others must do that for it."""
        return self.seccomp or self.landlock > 0

    @property
    def is_full(self) -> bool:
        """Whether it is the strongest confinement that there is (see `missing`)."""
        return self.seccomp and self.landlock > 0 and self.memory_bytes is not None and self.unprivileged

    def weaker(self, other: Strength) -> Strength:
        """Return what holds for this process and another one."""
        memory = None
        if self.memory_bytes is not None and other.memory_bytes is not None:
            memory = max(self.memory_bytes, other.memory_bytes)
        return Strength(
            self.seccomp and other.seccomp,
            min(self.landlock, other.landlock),
            memory,
            self.unprivileged and other.unprivileged,
        )

    @property
    def text(self) -> str:
        """The same in words."""
        refused = [
            *(["no files, network or programs (seccomp)"] if self.seccomp else []),
            *([f"Landlock {self.landlock}"] if self.landlock else []),
            *([f"{self.memory_bytes / 2**30:.0f} GiB of memory"] if self.memory_bytes is not None else []),
            *(["no privileges"] if self.unprivileged else []),
        ]
        return ", ".join(refused) or "not confined"


def missing() -> list[str]:
    """Return what this machine lacks of the strongest confinement, in words."""
    if not is_linux():
        return ["Linux"]
    return [
        *([] if seccomp.is_there() else ["filters of system calls (CONFIG_SECCOMP_FILTER, on x86_64 or aarch64)"]),
        *([] if landlock.version() else ["Landlock (CONFIG_SECURITY_LANDLOCK, Linux 5.13 or later)"]),
    ]


def check(wanted: Sandbox) -> None:
    """Check that this machine can confine a process as is wanted.

    Raises:
        SandboxError: All of it is required, and something is missing.
    """
    if wanted == "require" and (lacking := missing()):
        raise SandboxError(
            f"decoders cannot be confined as --sandbox require wants: this kernel has no {' and no '.join(lacking)}",
            "use a newer kernel, or a container that allows them; or --sandbox auto takes what there is",
        )


def begin(wanted: Sandbox) -> None:
    """Take the first step; before any thread is started, for Landlock holds for one and those that it starts.

    Raises:
        OSError: It is required, and the kernel refuses it.
    """
    if wanted == "off":
        return
    drop_privileges(may_read=True)
    if landlock.version():
        changing = landlock.all_rights() & ~landlock.READING
        _try(wanted, lambda: landlock.refuse(changing, dict.fromkeys(_DEVICES, landlock.WRITE_FILE)))


def close(wanted: Sandbox) -> Strength:
    """Take the second step.

    Returns:
        What is in force now.

    Raises:
        OSError: It is required, and the kernel refuses it.
    """
    if wanted == "off":
        return Strength()
    memory_bytes = limit_resources()
    is_unprivileged = drop_privileges(may_read=False)
    abi = 0
    if landlock.version() and _try(wanted, lambda: landlock.refuse(landlock.all_rights())):
        abi = landlock.version()
    is_filtered = seccomp.is_there() and _try(wanted, seccomp.install)
    return Strength(is_filtered, abi, memory_bytes, is_unprivileged)


def _try(wanted: Sandbox, step: Callable[[], object]) -> bool:
    """Take a step; return whether it was taken."""
    try:
        step()
    except OSError:
        if wanted == "require":
            raise
        return False
    return True
