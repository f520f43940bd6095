"""Processes: the priority of this one, and those that it has started, and their end.

Ray's agents outlive the Ray that they belong to by up to half a minute when it ends abruptly. A command that reports it
is done should leave nothing behind.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections import defaultdict
from contextlib import suppress
from typing import NamedTuple

SETTINGS = threading.Lock()
"""Held while a thread changes settings of the whole process, such as which warnings are shown, and puts them back."""

LOW_PRIORITY = 10
"""Niceness of what shares processors with a model that should have them first."""


_EXITING = 0x4


class ProcessId(NamedTuple):
    """A process, and not a later one of the same number.

    Attributes:
        pid: Its number.
        started: When it started, in clock ticks since the machine did.
    """

    pid: int
    started: int


def lower_priority() -> None:
    """Run after processes of usual priority; this cannot be undone, and a second call does nothing.

    A process whose priority is lower already keeps it, as only root could raise it.
    """
    if os.getpriority(os.PRIO_PROCESS, 0) < LOW_PRIORITY:
        os.setpriority(os.PRIO_PROCESS, 0, LOW_PRIORITY)


def descendants() -> list[ProcessId]:
    """Return the children of this process, their children, and so on; none where there is no ``/proc``."""
    children: dict[int, list[ProcessId]] = defaultdict(list)
    for name in os.listdir("/proc") if os.path.isdir("/proc/self") else []:
        if name.isdigit() and (found := _status(int(name))):
            parent, process = found
            children[parent].append(process)
    waiting, result = [os.getpid()], []
    while waiting:
        for process in children[waiting.pop()]:
            waiting.append(process.pid)
            result.append(process)
    return result


def processes_with(name: str, value: str) -> list[ProcessId]:
    """Return this user's processes that were started with an environment variable; none where there is no ``/proc``.

    Unlike parents, which change when one of them dies, and names, the environment that a process began with stays.

    Args:
        name: Name of the variable.
        value: The value that it must have.
    """
    entry, result = f"{name}={value}".encode(), []
    for number in os.listdir("/proc") if os.path.isdir("/proc/self") else []:
        if number.isdigit() and (found := _status(int(number))):
            with suppress(OSError), open(f"/proc/{number}/environ", "rb") as file:
                if os.fstat(file.fileno()).st_uid == os.getuid() and entry in file.read().split(b"\0"):
                    result.append(found[1])
    return result


def find_process(pid: int) -> ProcessId | None:
    """Return a process by its number; None if there is none, or no ``/proc``."""
    found = _status(pid)
    return None if found is None else found[1]


def parent_of(pid: int) -> int | None:
    """Return the parent of a process; None if there is none, or no ``/proc``."""
    found = _status(pid)
    return None if found is None else found[0]


def runs(process: ProcessId, word: str) -> bool:
    """Return whether a word is in a process's command line."""
    try:
        with open(f"/proc/{process.pid}/cmdline", "rb") as file:
            return word.encode() in file.read()
    except OSError:
        return False


def end_processes(processes: list[ProcessId], *, patience_seconds: float = 2.0) -> None:
    """Wait for processes to end, and kill those that do not."""
    deadline = time.monotonic() + patience_seconds
    while alive := [process for process in processes if _is_alive(process)]:
        if time.monotonic() > deadline:
            for process in alive:
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(process.pid, signal.SIGKILL)
            return
        time.sleep(0.05)


def queue_seconds(pid: int) -> float:
    """Return how long a process's first thread has waited for a processor so far; 0 where that is not known."""
    try:
        with open(f"/proc/{pid}/schedstat", "rb") as file:
            return int(file.read().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0


def cpu_seconds(pid: int) -> float:
    """Return how long a process has computed so far, all its threads together; 0 where that is not known."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # utime and stime, proc_pid_stat(5)
    except (OSError, ValueError, IndexError):
        return 0.0


def memory_bytes(pid: int) -> int:
    """Return how much memory a process has resident; 0 where that is not known."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def waits_for_disk(pid: int) -> bool:
    """Return whether the kernel keeps a process waiting in a read or write that cannot be interrupted."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] == b"D"
    except (OSError, IndexError):
        return False


def run_module(module: str) -> tuple[list[str], dict[str, str]]:
    """Return how to run a module in a process that finds what this one finds, and nothing in the folder it is run in.

    Returns:
        The beginning of a command line, to which arguments may be added, and the environment.
    """
    return [sys.executable, "-P", "-m", module], environment() | search_variables()


def environment() -> dict[str, str]:
    """Return the variables of this process, which other threads may change meanwhile."""
    while True:
        with suppress(KeyError, RuntimeError):
            return dict(os.environ)


def search_variables() -> dict[str, str]:
    """Return the variables by which a Python finds what this one finds, and nothing in the folder it is run in.

    They hold for what that Python starts itself, too, such as the workers of a compiler.
    """
    found = [entry for entry in sys.path if isinstance(entry, str)]
    if "" in found:
        with suppress(OSError):  # the folder may be gone
            found[found.index("")] = os.getcwd()
    return {"PYTHONPATH": os.pathsep.join(filter(None, found)), "PYTHONSAFEPATH": "1"}


def is_ending(pid: int) -> bool:
    """Return whether a process has ended, or is about to (proc(5), /proc/pid/stat; PF_EXITING in linux/sched.h)."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return True
    return fields[0] in (b"Z", b"X") or bool(int(fields[6]) & _EXITING)


def _is_alive(process: ProcessId) -> bool:
    found = _status(process.pid)
    return found is not None and found[1] == process


def _status(pid: int) -> tuple[int, ProcessId] | None:
    """Return a process's parent and identity, or None if it has ended (proc(5), /proc/pid/stat)."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if fields[0] == b"Z" else (int(fields[1]), ProcessId(pid, int(fields[19])))
