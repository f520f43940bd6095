"""The processes of a run, as they are seen from outside: by their titles, and by the processor time they take."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import suppress

import psutil

VICTIMS = {
    "driver": "the command itself",
    "planner": "a process that plans",
    "decoder": "the process in which files are decoded",
    "task": "the process that hands their clips on",
    "actor": "a process that runs the model",
    "raylet": "Ray's own process on this machine",
    "gcs": "Ray's process that knows of all others",
}

_PLANNER = re.compile(r"^ray::.*(PlanStage|count_clips)")
_TASK = re.compile(r"^ray::.*DecodeStage")
_CELL = re.compile(r"^\S*python\S* .*-m vidcnn\.video\.cell")
_ACTOR = re.compile(r"^ray::MapWorker.*ScoreStage")
_RAYLET = re.compile(r"^\S*/raylet ")
_GCS = re.compile(r"^\S*/gcs_server ")
_WITNESS = re.compile(r"^\S*python\S* .*-m vidcnn\.cluster\.witness")
_WITNESS_SECONDS = 5.0
_TICK_SECONDS = 1 / os.sysconf("SC_CLK_TCK")


class Processes:
    """What a command has started.

    Args:
        driver: The command.
    """

    def __init__(self, driver: int) -> None:
        self._driver = driver
        self._seen: dict[int, psutil.Process] = {}
        self._since: dict[int, float] = {}  # processor time when a process was first seen to decode

    def find(self, victim: str) -> list[int]:
        """Return the processes that a victim may be, and take note of all others."""
        titles = dict(self._titles())
        tasks = [pid for pid, title in titles.items() if _TASK.search(title)]
        if victim == "driver":
            return [self._driver]
        if victim == "decoder":
            cells = [pid for pid, title in titles.items() if _CELL.search(title)]
            return [pid for pid in cells if _parent(pid) in tasks] if cells else tasks  # older versions had no cells
        if victim == "task":
            return tasks
        wanted = {"planner": _PLANNER, "actor": _ACTOR, "raylet": _RAYLET, "gcs": _GCS}[victim]
        return [pid for pid, title in titles.items() if wanted.search(title)]

    def decoding_seconds(self) -> dict[int, float]:
        """Return for each process that decodes the processor time that it took since it was first seen to."""
        found = {pid: cpu_seconds(pid) for pid in self.find("decoder")}
        self._since = {pid: min(self._since.get(pid, seconds), seconds) for pid, seconds in found.items()}
        return {pid: seconds - self._since[pid] for pid, seconds in found.items()}

    def decoding(self, victim: str) -> list[int]:
        """Return the processes that decode just now, or the tasks that they do it for."""
        busy = [pid for pid, seconds in self.decoding_seconds().items() if seconds > 0]
        if victim == "decoder":
            return busy
        tasks = {_parent(decoder) for decoder in busy}
        return [pid for pid in self.find("task") if pid in tasks]

    def end(self) -> None:
        """Let the command's witness say its word, and kill what is left: Ray's processes notice after a while only."""
        for pid, title in self._titles():
            if _WITNESS.search(title):
                with suppress(psutil.Error, psutil.TimeoutExpired):
                    self._seen[pid].wait(_WITNESS_SECONDS)
        for process in self._seen.values():
            with suppress(psutil.Error):
                process.kill()

    def _titles(self) -> Iterator[tuple[int, str]]:
        with suppress(psutil.Error):
            for process in psutil.Process(self._driver).children(recursive=True):
                self._seen.setdefault(process.pid, process)
        # Children of a raylet that died are nobody's; they are still those of this command.
        for pid, process in list(self._seen.items()):
            with suppress(psutil.Error):
                if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                    yield pid, " ".join(process.cmdline())


def _parent(pid: int) -> int | None:
    with suppress(psutil.Error):
        return int(psutil.Process(pid).ppid())
    return None


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has taken; 0 if it has ended."""
    with suppress(OSError), open(f"/proc/{pid}/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
        return (int(fields[11]) + int(fields[12])) * _TICK_SECONDS
    return 0.0


def kill(pid: int, *, patience_seconds: float = 10.0) -> bool:
    """Kill a process, and tell whether it was alive until then and is dead now."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        os.kill(pid, signal.SIGKILL)
    except (psutil.NoSuchProcess, ProcessLookupError):
        return False
    deadline = time.monotonic() + patience_seconds
    while time.monotonic() < deadline:
        if _is_gone(process):
            return True
        time.sleep(0.001)
    return False


def _is_gone(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def stop(pid: int) -> None:
    """Stop a process until `let_go`, so that the moment does not pass."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)


def let_go(pid: int) -> None:
    """Let a process go on that was stopped."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)
