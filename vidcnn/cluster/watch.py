"""Notices when a process dies that an embedded Ray cannot do without, and ends the command with a message.

Without its raylet or its GCS, Ray waits for a while and then ends the process that uses it, from native code: no
`finally` runs, and nothing is printed. So a thread watches their processes, and when one of them is gone an
exception is raised in the main thread, which commits what is finished. If the main thread cannot be reached, since it
waits in native code, the thread ends the process itself.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

from vidcnn import interrupts
from vidcnn.errors import RayDiedError
from vidcnn.processes import parent_of, processes_with

SERVERS = {"raylet": "raylet", "gcs_server": "GCS"}
"""Names of the programs that Ray cannot do without, and what they are called."""

MARK = "VIDCNN_RAY"
"""Environment variable of all processes of an embedded Ray: its directory, by which they are found however they end."""

_LOOK_SECONDS = 0.2
_STARTING_SECONDS = 45.0
"""Where one dies while Ray starts, Ray gives up after 30 seconds and is started again, or ends the process after 60."""
_PATIENCE_SECONDS = 20.0
"""How long the main thread may take to commit what is finished; Ray itself ends the process some time later."""


class RayDeath(BaseException):
    """Raised in the main thread when Ray has died: no `except Exception` on the way takes it for something else."""


class Watch:
    """Watches child processes of this one, from their start on. Use it as a context manager.

    Args:
        find: Returns those there are by now: what each is called, by its number.
        bury: Ends what the dead one has left.

    Attributes:
        death: What has died and how, in words; None while all is well.
    """

    def __init__(self, find: Callable[[], Mapping[int, str]], bury: Callable[[], None]) -> None:
        self.death: str | None = None
        self._find = find
        self._servers: dict[int, str] = {}
        self._bury = bury
        self._started = False
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="ray-watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the watch.

        Raises:
            RayDiedError: The block failed, and Ray has died.
        """
        if not self._over.is_set():
            self.stop()
            if error is not None and self.look() is not None:
                raise RayDiedError(str(self.death)) from error

    def has_started(self) -> None:
        """Note that there may be something to commit from now on."""
        self._servers = {**self._find()}
        self._started = True

    def stop(self) -> None:
        """End the watch; what ends from now on is meant to."""
        with self._lock:
            self._over.set()
            interrupts.ask_no_more()

    def look(self) -> str | None:
        """Return what has died and how, as of now."""
        for pid, name in self._servers.items():
            if self.death is None and (how := _how_ended(pid)) is not None:
                self.death = f"Ray's {name} on this machine died{how}"
        return self.death

    def _run(self) -> None:
        while self.look() is None:
            if len(self._servers) < len(SERVERS):
                self._servers = {**self._find()}
            if self._over.wait(_LOOK_SECONDS):
                return
        deadline = time.monotonic() + _STARTING_SECONDS
        while not self._started and time.monotonic() < deadline:
            if self._over.wait(_LOOK_SECONDS):
                return
        with self._lock:
            if self._over.is_set():
                return
            interrupts.ask_main_thread(RayDeath())
        self._bury()
        if not self._over.wait(_PATIENCE_SECONDS if self._started else 0.0):
            interrupts.end_at_once(str(self.death), interrupts.last_hint(), RayDiedError.exit_code)


def find_servers(scratch: str, parent: int | None = None) -> dict[int, str]:
    """Return the children of a process that Ray cannot do without, and what each is called.

    A server's own child is for a moment the same program, before it becomes what it is started as, and is left out.

    Args:
        scratch: The directory of this Ray.
        parent: The process; None is this one.
    """
    found = {}
    for process in processes_with(MARK, scratch):
        name = os.path.basename(_program(process.pid))
        if name in SERVERS and parent_of(process.pid) == (parent or os.getpid()):
            found[process.pid] = SERVERS[name]
    return found


def _program(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/exe")
    except OSError:
        return ""


def _how_ended(pid: int) -> str | None:
    """Return how a child has ended, in brackets or not at all; None while it runs. Its status stays to be read."""
    try:
        state = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return ""  # Ray has read it
    if state is None:
        return None
    if state.si_code == os.CLD_EXITED:
        return f" (exit code {state.si_status})"
    return f" (killed by signal {state.si_status}{_usual_cause(state.si_status)})"


def _usual_cause(number: int) -> str:
    return ", as where memory is short" if number == signal.SIGKILL else ""
