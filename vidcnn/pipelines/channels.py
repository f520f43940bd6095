"""Threads that hand values on to each other, each waiting when the next one is behind, and ended together."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

Value = TypeVar("Value")


class StoppedError(Exception):
    """The other side of a channel wants no more."""


class Channel(Generic[Value]):
    """A queue of a few values that ends when all its writers have.

    Args:
        num_writers: Threads that write.
        capacity: Values that may wait to be read.
    """

    def __init__(self, *, num_writers: int, capacity: int) -> None:
        self._num_writers = num_writers
        self._capacity = capacity
        self._values: deque[Value] = deque()
        self._is_stopped = False
        self._error: BaseException | None = None
        self._changed = threading.Condition()

    def write_all(self, values: Iterable[Value]) -> None:
        """Write values, each when there is room for it.

        Raises:
            StoppedError: The channel was stopped.
        """
        for value in values:
            with self._changed:
                self._changed.wait_for(lambda: self._is_stopped or len(self._values) < self._capacity)
                if self._is_stopped:
                    raise StoppedError
                self._values.append(value)
                self._changed.notify_all()

    def end_writer(self) -> None:
        """Note that one of the writers has written all it has."""
        with self._changed:
            self._num_writers -= 1
            self._changed.notify_all()

    def stop(self, error: BaseException | None = None) -> None:
        """End reading and writing.

        Args:
            error: What readers are to raise, instead of `StoppedError`.
        """
        with self._changed:
            self._is_stopped = True
            self._error = self._error or error
            self._changed.notify_all()

    def __iter__(self) -> Iterator[Value]:
        """Yield each value once, among all readers, until the last writer has ended.

        Raises:
            StoppedError: The channel was stopped.
        """
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._is_stopped or self._values or not self._num_writers)
                if self._is_stopped:
                    raise self._error or StoppedError
                if not self._values:
                    return
                value = self._values.popleft()
                self._changed.notify_all()
            yield value


class Writers:
    """Threads that write to channels, for the length of a block. At its end they are stopped, wherever they are.

    Args:
        work: What each thread does, and the channel that it writes to. If it fails, readers of all channels raise its
            error.
        ending_seconds: How long to wait at the end for each of them.
    """

    def __init__(self, work: Sequence[tuple[Callable[[], None], Channel[Any]]], *, ending_seconds: float) -> None:
        self._work = work
        self._channels = [channel for _, channel in work]
        self._ending_seconds = ending_seconds
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        for function, channel in self._work:
            thread = threading.Thread(target=self._run, args=(function, channel), daemon=True)
            self._threads.append(thread)
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for channel in self._channels:
            channel.stop()
        if not isinstance(error, KeyboardInterrupt | SystemExit):
            for thread in self._threads:
                thread.join(self._ending_seconds)

    def _run(self, function: Callable[[], None], channel: Channel[Any]) -> None:
        try:
            function()
        except StoppedError:
            pass
        except BaseException as error:  # the thread's reader raises it
            for each in self._channels:
                each.stop(error)
        finally:
            channel.end_writer()
