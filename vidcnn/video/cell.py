"""Work on untrusted files in a process that can be killed.

libav reads what anyone may have written: it can crash, hang, or take all memory. So it runs in a child process, which
is given some items of work, one after the other, and is killed when it makes no headway for longer than an item may
take. The parent learns over which item that happened, has what came before it, and starts another child.

    parent   run(work, items) ->            value  value            CellError(position=2, "crash")
    child               items[0], items[1], items[2] x

Time that the child waits for a processor does not count: on a busy machine everything takes longer.

The child is confined before it begins (`vidcnn.sandbox`): it opens no file itself. This process opens for it what it is
granted (`vidcnn.video.file_server`), and believes nothing that it says (`vidcnn.video.cell_values`).
"""

from __future__ import annotations

import atexit
import fcntl
import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

from vidcnn.choices import Sandbox
from vidcnn.errors import StorageError
from vidcnn.processes import cpu_seconds, environment, memory_bytes, queue_seconds, run_module, waits_for_disk
from vidcnn.sandbox import confinement
from vidcnn.sandbox.confinement import Strength
from vidcnn.storage.retrying import RetryPolicy, retrying
from vidcnn.video.cell_channel import receive_plain, send
from vidcnn.video.cell_status import STATUS_BYTES, CellStatus
from vidcnn.video.cell_values import BadValueError
from vidcnn.video.cell_worker import CONFINED, END, ERROR, NEXT, READY, STRANGE, VALUE, Preparation
from vidcnn.video.file_server import FileServer
from vidcnn.video.golden import USUAL
from vidcnn.video.grants import NOTHING, Grant

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

    @property
    def strength(self) -> Strength | None:
        """What confines the child; None where there is none, or it has no work yet."""
        return self._child.strength if self._child is not None else None

    def run(
        self,
        work: Callable[..., Any],
        items: Sequence[Item],
        *arguments: Any,
        seconds: Callable[[Item], float],
        grant: Grant = NOTHING,
        sandbox: Sandbox = "auto",
        preparation: Preparation | None = None,
    ) -> Iterator[Any]:
        """Call ``work(items, *arguments)`` in the child, and yield what it yields; it works only when it is asked.

        Args:
            work: A function of a module, which returns an iterable. It calls `vidcnn.video.cell_status.at` with the
                index of each item that it begins.
            items: What it works on; anything that can be pickled, as the other arguments. What it yields are plain
                values (`vidcnn.video.cell_values`).
            *arguments: Its other arguments.
            seconds: How long it may take over an item without continuing to the next one or yielding a value.
            grant: The files that it may read.
            sandbox: How the child is confined.
            preparation: What is called in the child before it is confined, to load what the work needs.

        Raises:
            CellError: The child died or was killed.
            StorageError: No child can be started on this machine.
            SandboxError: It cannot be confined as is required.
            Exception: What `work` raised.
        """
        if self._run is not None or (self._child is not None and not self._child.fits(sandbox, preparation)):
            self.close()  # nobody takes the values of the other run any more; or another child is needed
        child = self._started(work.__module__, sandbox)
        this_run = self._run = object()
        is_over = False
        message = (work, items, arguments, preparation)
        try:
            child.send(message, grant)
            kind, value = child.ask(items, seconds)
            if kind == STRANGE:
                self.close()
                child = self._started(work.__module__, sandbox)
                child.send(message, grant)
                kind, value = child.ask(items, seconds)
            while True:
                if kind == END:
                    is_over = True
                    return
                if kind == ERROR and isinstance(value, Exception):
                    is_over = True
                    raise value
                if kind != VALUE:
                    raise child.nonsense("a message that is none")
                yield value
                kind, value = child.ask(items, seconds)
        finally:
            if self._run is this_run:
                self._run = None
                if not is_over or child.is_worn():
                    self.close()

    def ready(self, sandbox: Sandbox, preparation: Preparation | None) -> int:
        """Return the number of the child that does the next work, if that is run with these arguments of `run`."""
        if self._child is not None and not self._child.fits(sandbox, preparation):
            self.close()
        return self.generation

    def nonsense(self, what: str) -> CellError:
        """End the child, which sent what it may not send, and return the error."""
        error = self._child.nonsense(what) if self._child is not None else CellError(0, "crash", f"it sent {what}")
        self.close()
        return error

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

    def _started(self, module: str, sandbox: Sandbox) -> _Child:
        if self._child is None:
            confinement.check(sandbox)
            self._child = retrying(lambda: _Child(self._yields, module, sandbox), policy=_START_TRIES)
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


def _start(command: list[str], variables: dict[str, str], files: tuple[int, ...]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        env={name: value for name, value in variables.items() if name not in _SECRETS},
        stdin=subprocess.DEVNULL,
        pass_fds=files,
    )


class _Child:
    """A running child, which has imported a module: on a busy machine that alone may take long."""

    def __init__(self, yields: bool, module: str, sandbox: Sandbox) -> None:
        self.num_runs = 0
        self.strength: Strength | None = None
        self._sandbox = sandbox
        self._preparation: Preparation | None = None
        self._environment = _environment()
        self._is_killed = False
        status_file = os.memfd_create("vidcnn-status", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        mine, its = socket.socketpair()
        my_files, its_files = socket.socketpair()
        lifeline, self._lifeline = os.pipe()
        try:
            os.ftruncate(status_file, STATUS_BYTES)
            # To read what it took back would kill this process.
            fcntl.fcntl(status_file, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
            self._status = CellStatus(status_file)
            files = (its.fileno(), lifeline, status_file, its_files.fileno())
            command, variables = run_module("vidcnn.video.cell_worker")
            command += [*map(str, files), str(int(yields)), sandbox, module]
            self._process = _start(command, variables, files)
        except OSError as error:
            mine.close()
            my_files.close()
            os.close(self._lifeline)
            reason = error.strerror or str(error)
            raise StorageError(f"no process for decoding can be started on this machine: {reason}") from error
        finally:
            its.close()
            its_files.close()
            os.close(lifeline)
            os.close(status_file)
        self._channel = mine
        self._files = FileServer(my_files)
        try:
            kind, _ = self._receive([None], lambda _: _START_SECONDS)
        except CellError as failure:
            message = f"the process for decoding does not start: {failure.message}"
            raise StorageError(message, "its own messages are in Ray's logs") from failure
        except BaseException:
            self.kill()
            raise
        assert kind == READY

    def fits(self, sandbox: Sandbox, preparation: Preparation | None) -> bool:
        """Return whether it can take some work."""
        is_prepared = sandbox == "off" or preparation in (None, self._preparation, USUAL)
        return self._sandbox == sandbox and is_prepared and self._environment == _environment()

    def send(self, message: tuple[Any, ...], grant: Grant) -> None:
        """Give the child some work, and what it may read for it."""
        self.num_runs += 1
        self._status.reset()
        self._files.grant = grant
        try:
            send(self._channel, message)
        except OSError as error:
            raise self._death() from error
        if self.strength is None:
            self._preparation = message[-1]
            kind, value = self._receive([None], lambda _: _START_SECONDS)
            if kind == ERROR and isinstance(value, Exception):
                self.kill()
                raise value
            assert kind == CONFINED
            self.strength = Strength(*value)

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
        self._files.close()
        os.close(self._lifeline)

    def nonsense(self, what: str) -> CellError:
        """End the child, which sent what it may not send, and return the error."""
        position = self._status.position
        self.kill()
        return CellError(position, "crash", f"it sent {what}")

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
            message = receive_plain(self._channel, wait)
        except (EOFError, OSError) as error:
            raise self._death() from error
        except BadValueError as error:
            raise self.nonsense(f"what is no value ({error})") from error
        if not (isinstance(message, tuple) and len(message) == 2 and isinstance(message[0], str)):
            raise self.nonsense("a message that is none")
        return message

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
