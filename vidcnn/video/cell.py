"""Work on untrusted files in a process that can be killed.

libav reads what anyone may have written: it can crash, hang, or take all memory. So it runs in a child process, which
is given some items of work, one after the other, and is killed when it makes no headway for longer than an item may
take. The parent learns over which item that happened, has what came before it, and starts another child.

    parent   run(work, items) ->            value  value            CellError(position=2, "crash")
    child               items[0], items[1], items[2] x

Time that the child waits for a processor does not count: on a busy machine everything takes longer.
"""

from __future__ import annotations

import atexit
import os
import pickle
import select
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

from vidcnn.errors import InternalError, StorageError
from vidcnn.processes import cpu_seconds, environment, memory_bytes, queue_seconds, run_module, waits_for_disk
from vidcnn.storage.retrying import RetryPolicy, retrying
from vidcnn.video.cell_channel import receive, send
from vidcnn.video.cell_status import STATUS_BYTES, CellStatus
from vidcnn.video.cell_worker import END, ERROR, NEXT, READY

Item = TypeVar("Item")
FailureKind = Literal["crash", "timeout", "storage"]

_LOOK_SECONDS = 0.5
"""How often to look whether a silent child makes headway."""
_START_SECONDS = 300.0
_START_TRIES = RetryPolicy(num_tries=4, first_wait_seconds=0.2)
_MAX_IDLE_BYTES = 2**30
"""A child that has more memory than this when it has done its work is replaced: libav and PyAV leak some."""
_MAX_RUNS = 1000
_SECRETS = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
"""Variables that are not for a child: with them it could let other machines run what it likes."""
_DYING_SECONDS = 5.0
"""How long to wait for a killed child: one that the kernel keeps waiting in a read ends only when that does."""


class CellError(Exception):
    """The child died or was killed over an item.

    Args:
        position: Index of the item.
        kind: ``crash``; ``timeout``; or ``storage``, where it hung in a read.
        message: What happened, in plain words.
    """

    def __init__(self, position: int, kind: FailureKind, message: str) -> None:
        super().__init__(position, kind, message)
        self.position = position
        self.kind = kind
        self.message = message


class Cell:
    """A child process that does work, and is replaced whenever it dies.

    Args:
        yields: Whether processes of usual priority go before it.
    """

    def __init__(self, *, yields: bool = False) -> None:
        self._yields = yields
        self._child: _Child | None = None
        self._num_started = 0
        self._run: object | None = None  # the one whose values the child gives

    @property
    def generation(self) -> int:
        """Number of the child that does the next work; what was sent to an earlier one is lost."""
        return self._num_started if self._child is not None else self._num_started + 1

    @property
    def busy_seconds(self) -> float:
        """How long the child has computed so far, or waited for a processor; 0 where there is none."""
        return self._child.busy_seconds if self._child is not None else 0.0

    def run(
        self,
        work: Callable[..., Any],
        items: Sequence[Item],
        *arguments: Any,
        seconds: Callable[[Item], float],
    ) -> Iterator[Any]:
        """Call ``work(items, *arguments)`` in the child, and yield what it yields; it works only when it is asked.

        Args:
            work: A function of a module, which returns an iterable. It calls `vidcnn.video.cell_status.at` with the
                index of each item that it begins.
            items: What it works on; anything that can be pickled, as the other arguments and what it yields.
            *arguments: Its other arguments.
            seconds: How long it may take over an item without continuing to the next one or yielding a value.

        Raises:
            CellError: The child died or was killed.
            StorageError: No child can be started on this machine.
            Exception: What `work` raised.
        """
        if self._run is not None or (self._child is not None and self._child.environment != _environment()):
            self.close()  # nobody takes the values of the other run any more; and logins may have changed
        child = self._started(work.__module__)
        this_run = self._run = object()
        is_over = False
        try:
            child.send((work, items, arguments))
            while True:
                kind, value = child.ask(items, seconds)
                if kind == END:
                    is_over = True
                    return
                if kind == ERROR:
                    is_over = True
                    raise value
                yield value
        finally:
            if self._run is this_run:
                self._run = None
                if not is_over or child.is_worn():
                    self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the child."""
        if self._child is not None:
            self._child.kill()
            self._child = None

    def _started(self, module: str) -> _Child:
        if self._child is None:
            self._child = retrying(lambda: _Child(self._yields, module), policy=_START_TRIES)
            self._num_started += 1
        return self._child


def this_cell(*, yields: bool) -> Cell:
    """Return the cell that this process keeps for its work, so that a child serves many tasks.

    Args:
        yields: As for `Cell`.
    """
    if yields not in _cells:
        _cells[yields] = Cell(yields=yields)
        atexit.register(_cells[yields].close)
    return _cells[yields]


def take_cell(*, yields: bool) -> Cell:
    """Return the cell that this process keeps, for the caller alone, who closes it; from then on there is another.

    Args:
        yields: As for `Cell`.
    """
    return _cells.pop(yields, None) or Cell(yields=yields)


_cells: dict[bool, Cell] = {}


def _environment() -> dict[str, str]:
    """Return the variables that a child must know; TMPDIR is another one while a compiled model is loaded."""
    return {name: value for name, value in environment().items() if name != "TMPDIR"}


class _Child:
    """A running child, which has imported a module: on a busy machine that alone may take long."""

    def __init__(self, yields: bool, module: str) -> None:
        self.num_runs = 0
        self.environment = _environment()
        self._is_killed = False
        status_file = os.memfd_create("vidcnn-status")
        mine, its = socket.socketpair()
        lifeline, self._lifeline = os.pipe()
        try:
            os.ftruncate(status_file, STATUS_BYTES)
            self._status = CellStatus(status_file)
            files = (its.fileno(), lifeline, status_file)
            command, variables = run_module("vidcnn.video.cell_worker")
            self._process = subprocess.Popen(
                [*command, *map(str, files), str(int(yields)), module],
                env={name: value for name, value in variables.items() if name not in _SECRETS},
                stdin=subprocess.DEVNULL,
                pass_fds=files,
            )
        except OSError as error:
            mine.close()
            os.close(self._lifeline)
            reason = error.strerror or str(error)
            raise StorageError(f"no process for decoding can be started on this machine: {reason}") from error
        finally:
            its.close()
            os.close(lifeline)
            os.close(status_file)
        self._channel = mine
        try:
            kind, _ = self._receive([None], lambda _: _START_SECONDS)
        except CellError as failure:
            message = f"the process for decoding does not start: {failure.message}"
            raise StorageError(message, "its own messages are in Ray's logs") from failure
        except BaseException:
            self.kill()
            raise
        assert kind == READY

    def send(self, value: Any) -> None:
        """Give the child some work."""
        self.num_runs += 1
        self._status.reset()
        try:
            send(self._channel, value)
        except OSError as error:
            raise self._death() from error

    def ask(self, items: Sequence[Item], seconds: Callable[[Item], float]) -> tuple[str, Any]:
        """Ask for the next value, and return it with its kind."""
        try:
            send(self._channel, NEXT)
        except OSError as error:
            raise self._death() from error
        return self._receive(items, seconds)

    @property
    def busy_seconds(self) -> float:
        """How long it has computed so far, or waited for a processor."""
        return cpu_seconds(self._process.pid) + queue_seconds(self._process.pid)

    def is_worn(self) -> bool:
        """Whether it should be replaced."""
        return self.num_runs >= _MAX_RUNS or memory_bytes(self._process.pid) > _MAX_IDLE_BYTES

    def kill(self) -> None:
        """End the child at once. Doing it again does nothing."""
        if self._is_killed:
            return
        self._is_killed = True
        self._process.kill()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_DYING_SECONDS)
        self._channel.close()
        os.close(self._lifeline)

    def _receive(self, items: Sequence[Item], seconds: Callable[[Item], float]) -> tuple[str, Any]:
        position = self._status.position
        began = self._clock()

        def wait(channel: socket.socket) -> None:
            nonlocal position, began
            while not select.select([channel], [], [], _LOOK_SECONDS)[0]:
                if position != self._status.position:
                    position, began = self._status.position, self._clock()
                allowed = seconds(items[min(position, len(items) - 1)])
                if self._clock() - began > allowed:
                    raise self._timeout(position, allowed)

        try:
            kind, value = receive(self._channel, wait)
        except (EOFError, OSError) as error:
            raise self._death() from error
        except (pickle.UnpicklingError, AttributeError, TypeError, ImportError) as error:
            raise InternalError.of(error, "taking a value from the process for decoding") from error
        return kind, value

    def _clock(self) -> float:
        """Return the seconds that the child had, from any moment on, without those it waited for a processor."""
        return time.monotonic() - queue_seconds(self._process.pid)

    def _timeout(self, position: int, allowed: float) -> CellError:
        is_reading = self._status.is_reading or waits_for_disk(self._process.pid)
        self.kill()
        if is_reading:
            return CellError(position, "storage", f"it cannot be read: the storage gave nothing for {allowed:.0f} s")
        return CellError(position, "timeout", f"no headway for {allowed:.0f} s")

    def _death(self) -> CellError:
        position = self._status.position
        self.kill()
        code = self._process.returncode
        if code is not None and code < 0:
            with suppress(ValueError):
                return CellError(position, "crash", f"it was killed by {signal.Signals(-code).name}")
        return CellError(position, "crash", f"it ended with exit code {code}")
