"""Who holds an output: what a lock records of the process that took it.

A lock names its holder, so that another run can name the process that it waits for, and check whether that still
exists.
"""

from __future__ import annotations

import json
import os
import socket
import time
import uuid
from dataclasses import asdict, dataclass
from functools import cache
from typing import Literal

from vidcnn.errors import OutputBusyError
from vidcnn.processes import find_process

State = Literal["contending", "held"]


@dataclass(frozen=True)
class Holder:
    """A process that holds an output, or tries to.

    Attributes:
        token: Different for each time that a lock is taken.
        pid: The process.
        started: When it started, in clock ticks since its machine did; None where that is not known.
        host: Its machine, as people call it.
        machine: The running system of its machine: no other, and not the same after a restart; None if not known.
        namespace: The space in which `pid` counts, one for each container; None where that is not known.
        since: When it took the lock, for people.
        state: Whether it holds the lock, or only tries to take it.
    """

    token: str
    pid: int
    started: int | None
    host: str
    machine: str | None
    namespace: str | None
    since: str
    state: State

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} since {self.since}"

    def encode(self) -> bytes:
        """Write it as JSON."""
        return json.dumps(asdict(self)).encode()

    @property
    def is_here(self) -> bool:
        """Whether it is on this machine, which has not restarted since."""
        here = this_process(self.state)
        if self.machine is None or here.machine is None:
            return self.host == here.host
        return self.machine == here.machine

    @property
    def is_certain(self) -> bool:
        """Whether this machine knows for certain that its process has ended."""
        here = this_process(self.state)
        comparable = self.machine is not None and self.namespace is not None and self.started is not None
        return comparable and (self.machine, self.namespace) == (here.machine, here.namespace)

    @property
    def has_ended(self) -> bool:
        """Whether its process has ended for certain. Of other machines and containers nothing is certain."""
        if not self.is_certain:
            return False
        found = find_process(self.pid)
        return found is None or found.started != self.started


def this_process(state: State) -> Holder:
    """Return this process as a new holder."""
    found = find_process(os.getpid())
    return Holder(
        token=uuid.uuid4().hex,
        pid=os.getpid(),
        started=found.started if found else None,
        host=socket.gethostname(),
        machine=_machine(),
        namespace=_namespace(),
        since=time.strftime("%F %T %z"),
        state=state,
    )


def decode(content: bytes) -> Holder | None:
    """Read what `Holder.encode` wrote; None if it is something else."""
    try:
        return Holder(**json.loads(content))
    except (ValueError, TypeError, RecursionError):
        return None


def busy(out: str, holder: Holder | str, hint: str = "") -> OutputBusyError:
    """Return the error that names who holds an output."""
    return OutputBusyError(
        f"{out} is held by another run ({holder})", hint or "wait until it ends, or choose another --out"
    )


@cache
def _machine() -> str | None:
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip()
    except OSError:
        return None


def _namespace() -> str | None:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return None
