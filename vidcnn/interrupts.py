"""Ending a command early: after Ctrl-C, SIGTERM, or SIGHUP, which a terminal sends when it closes.

What the first signal does depends on how far the command is::

    nothing is taken yet    the process ends at once, with one line
    the command works       KeyboardInterrupt is raised in the main thread, as Python does for Ctrl-C
    within `uninterrupted`  it is raised at the end of the block

It is never raised while a lock of the standard library is acquired or released, which would then never be released, and
whoever waits for it would wait forever: it comes a moment later.

While that exception is on its way out, another signal ends the process at once, together with what it has started: it
is as safe as SIGKILL. Signals that come within a second of each other are one.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

from vidcnn.errors import RayDiedError, RunInterruptedError, VidcnnError

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

EXIT_CODE = RunInterruptedError.exit_code
_SAME_SECONDS = 1.0
_AGAIN_SECONDS = 2.0
"""After this time it is looked whether the exception is on its way: libraries swallow some."""
_LATER_SECONDS = 0.02
_MAX_LATER = 50
"""How often an exception is delayed while locks are in use."""
_LOCKING: dict[str, frozenset[str] | None] = {
    "logging": None,  # all of it
    "threading": frozenset(("acquire", "release", "__enter__", "__exit__", "notify", "notify_all", "set", "clear")),
    "importlib._bootstrap": frozenset(
        ("acquire", "release", "__enter__", "__exit__", "_get_module_lock", "_lock_unlock_module", "cb")
    ),
}
"""Functions that take locks or give them back, by module."""
_NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _State:
    """How far the command is.

    Attributes:
        owns_process: Whether the process is a command's own, and may be ended at once.
        raises: Whether the first signal raises an exception.
        num_shields: Blocks of `uninterrupted` that the main thread is in.
        kept: What to raise at the end of these.
        raised: What was raised last.
        when: When a signal was last heeded; None before the first.
        asked: What another thread wants to be raised.
        later: What is delayed while locks are in use.
        num_put_off: How often it was.
        hints: What becomes of the work that is done, for each `interruptible` block.
        last_acts: What to do when the last line is written.
        exit_code: With what a signal ends the process, when all is done and printed; None before.
    """

    def __init__(self) -> None:
        self.owns_process = False
        self.raises = False
        self.num_shields = 0
        self.kept: BaseException | None = None
        self.raised: BaseException | None = None
        self.when: float | None = None
        self.asked: BaseException | None = None
        self.later: BaseException | None = None
        self.num_put_off = 0
        self.hints: list[str] = []
        self.last_acts: list[Callable[[], None]] = []
        self.exit_code: int | None = None


_state = _State()


def own_process() -> None:
    """Take the signals of a process that is a command's own; nothing is taken yet."""
    _state.owns_process = True
    _take_signals()
    signal.signal(signal.SIGALRM, _look_again)
    atexit.register(_ignore_signals)  # as the first one, so that it is called last


def _ignore_signals() -> None:
    """Stop signals from changing the exit code: Python gives its handlers back before the process ends."""
    for number in (*_NUMBERS, signal.SIGALRM):
        signal.signal(number, signal.SIG_IGN)


def begin() -> None:
    """Note that the command works from now on, so that what it takes has to be given back."""
    _state.raises = True


def finish(exit_code: int) -> None:
    """Note that all is done and printed: a signal now ends the process as it would have ended."""
    _act_last()
    if _state.owns_process:
        _state.exit_code = exit_code  # in one step, as a signal may come at any


def leave(exit_code: int) -> None:
    """End a process that is a command's own, without what libraries do at its end, which may wait for what is dead."""
    if _state.owns_process:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        _act_last()
        os._exit(exit_code)


def when_all_is_told(act: Callable[[], None]) -> None:
    """Call something when the command has written its last line; now where the process is not a command's own."""
    if _state.owns_process:
        _state.last_acts.append(act)
    else:
        act()


def _act_last() -> None:
    while _state.last_acts:
        _state.last_acts.pop()()


def was_interrupted() -> bool:
    """Return whether a signal has come: what fails after it may fail because of it."""
    return _state.when is not None


def last_hint() -> str:
    """Return what becomes of the work that is done."""
    return _state.hints[-1] if _state.hints else ""


@contextmanager
def interruptible(hint: str) -> Iterator[None]:
    """Make a signal end a run in order.

    Args:
        hint: What becomes of the work that is done.

    Raises:
        RunInterruptedError: The block was ended by a signal.
        RayDiedError: Ray died; its hint is the one given.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    previous, raises, heard = _take_signals() if in_main_thread else {}, _state.raises, _state.when
    _state.raises = True
    _state.hints.append(hint)
    try:
        yield
    except (KeyboardInterrupt, SystemExit):  # the latter from Ray's own handler, while it starts
        raise RunInterruptedError("interrupted", hint) from None
    except RayDiedError as error:
        raise RayDiedError(error.message, hint) from error.__cause__
    except VidcnnError:
        raise
    except Exception as error:
        if _state.when == heard:
            raise
        raise RunInterruptedError(
            "interrupted", hint
        ) from error  # libraries make other errors of an interrupted import
    finally:
        _state.hints.pop()
        if not _state.hints:
            _state.raised = None
        _state.raises = raises
        for number, handler in previous.items():
            signal.signal(number, handler)
        if not _state.owns_process:
            _state.when = None


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Keep a signal until the end of the block, which removes what would otherwise stay behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _state.num_shields += 1
    try:
        yield
    finally:
        _state.num_shields -= 1
        kept = _state.kept
        if kept is not None and not _state.num_shields:
            _state.kept = None
            _raise(kept)


@contextmanager
def background() -> Iterator[ThreadPoolExecutor]:
    """Give a thread for work beside the block; at its end that is waited for, unless the block is interrupted.

    Yields:
        A pool of one thread.
    """
    from concurrent.futures import ThreadPoolExecutor

    pool = ThreadPoolExecutor(1)
    try:
        yield pool
    except (KeyboardInterrupt, SystemExit):
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    except BaseException:
        pool.shutdown()
        raise
    pool.shutdown()


def ask_main_thread(error: BaseException) -> None:
    """Raise an exception in the main thread, from another one, unless the main thread ends for another reason already.

    Only within an `interruptible` block of the main thread.
    """
    _state.asked = error
    if signal.getsignal(signal.SIGTERM) is _on_signal:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)


def ask_no_more() -> None:
    """Take back what `ask_main_thread` asked for, if it was not raised yet."""
    _state.asked = None


def end_at_once(message: str, hint: str, exit_code: int) -> None:
    """End this process now, and what it has started; what it was writing is as after SIGKILL."""
    processes, scratch = sys.modules.get("vidcnn.processes"), sys.modules.get("vidcnn.storage.scratch")
    with suppress(Exception):
        if processes is not None:
            processes.end_processes(processes.descendants(), patience_seconds=0)
        if scratch is not None:
            scratch.remove_own()
    text = f"vidcnn: {message}\n" + (f"        {hint}\n" if hint else "")
    with suppress(Exception):
        os.write(sys.stderr.fileno(), text.encode(errors="backslashreplace"))  # its buffer may be in use
    os._exit(exit_code)


def _take_signals() -> dict[int, Any]:
    """Handle signals here, and return what they did before; ignored signals stay ignored."""
    previous: dict[int, Any] = {number: signal.getsignal(number) for number in _NUMBERS}
    taken = {number: handler for number, handler in previous.items() if handler is not signal.SIG_IGN}
    for number in taken:
        signal.signal(number, _on_signal)
    return taken


def _on_signal(number: int, frame: FrameType | None) -> None:
    if _state.exit_code is not None:
        os._exit(_state.exit_code)
    if number == signal.SIGTERM and _state.asked is not None:
        error, _state.asked = _state.asked, None
        if sys.exception() is not None:
            return
    else:
        now = time.monotonic()
        if _state.when is not None and now - _state.when < _SAME_SECONDS:
            return
        if _state.owns_process and (not _state.raises or _state.kept is not None or _is_on_its_way()):
            end_at_once("interrupted", last_hint(), EXIT_CODE)
        _state.when = now
        error = KeyboardInterrupt()
    _raise_when_safe(error, frame)


def _raise_when_safe(error: BaseException, frame: FrameType | None) -> None:
    """Raise an exception in the code that a signal came in, now or when that leaves nothing locked forever."""
    if _state.num_shields:
        _state.kept = error
        return
    if _state.owns_process and _state.num_put_off < _MAX_LATER and _uses_locks(frame):
        _state.num_put_off += 1
        _state.later = error
        signal.setitimer(signal.ITIMER_REAL, _LATER_SECONDS)
        return
    _state.num_put_off = 0
    _raise(error)


def _uses_locks(frame: FrameType | None) -> bool:
    """Return whether code acquires or releases a lock of the standard library, or is called by code that holds one."""
    is_innermost = True
    while frame is not None:
        module = str(frame.f_globals.get("__name__")).replace("_frozen_importlib", "importlib._bootstrap")
        if module in _LOCKING:
            names = _LOCKING[module]
            if names is None or (is_innermost and frame.f_code.co_name in names):
                return True
        frame, is_innermost = frame.f_back, False
    return False


def _raise(error: BaseException) -> NoReturn:
    _state.raised = error
    if _state.owns_process and isinstance(error, KeyboardInterrupt):
        signal.setitimer(signal.ITIMER_REAL, _AGAIN_SECONDS)
    raise error


def _look_again(number: int, frame: FrameType | None) -> None:
    """Raise an exception that was delayed, or again if it was swallowed."""
    if _state.later is not None:
        error, _state.later = _state.later, None
        _raise_when_safe(error, frame)
        return
    if _state.raised is None or not _state.hints or _is_on_its_way():
        return
    if _state.num_shields:
        signal.setitimer(signal.ITIMER_REAL, _AGAIN_SECONDS)
    else:
        _raise(KeyboardInterrupt())


def _is_on_its_way() -> bool:
    """Return whether the main thread unwinds because of the last signal, rather than having lost it in a library."""
    error = sys.exception()
    while error is not None and error is not _state.raised:
        error = error.__context__
    return error is not None and error is _state.raised
