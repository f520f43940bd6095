"""What a device does while the processor goes on: lanes of work, marks in them, and memory for what passes between.

A lane does what it is given in order, and need not have done it when the call returns. `CudaLanes` are streams of a
GPU. On the processor there is one lane, and everything is done at once (`AtOnce`). What is done when is decided in
`vidcnn.inference.transfer`, by nothing but what is named here: so the same scheduling runs on both.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

logger = logging.getLogger(__name__)


class Mark(Protocol):
    """A point in a lane's work."""

    def wait(self) -> None:
        """Wait until the lane has done all that it was given before this point."""


class Lane(Protocol):
    """What does work in order, beside other lanes."""

    def run(self, work: Callable[[], object]) -> None:
        """Give the lane something to do."""

    def mark(self) -> Mark:
        """Mark the end of what the lane has been given so far."""

    def after(self, mark: Mark) -> None:
        """Let what the lane is given from now on begin only when another lane has come to a mark."""


class Buffer(NamedTuple):
    """Memory for the same values on both sides.

    Attributes:
        host: Where the processor writes; locked in memory, if it can be had, so that a GPU reads it by itself.
        device: Where the network reads; the same memory on the processor.
    """

    host: Tensor
    device: Tensor


class Lanes(Protocol):
    """The lanes of a device.

    Attributes:
        device: The device, with its number.
        upload: Copies to the device.
        compute: Runs the network.
        is_apart: Whether the device has memory of its own, which may be too small.
    """

    device: torch.device
    upload: Lane
    compute: Lane
    is_apart: bool

    def buffer(self, shape: tuple[int, ...]) -> Buffer:
        """Return memory for bytes of a shape."""

    def release(self) -> None:
        """Give back memory that nothing uses any more."""


def lanes_of(device: torch.device) -> Lanes:
    """Return the lanes of a device."""
    return CudaLanes(device) if device.type == "cuda" else AtOnce(device)


class AtOnce:
    """The processor: there is nothing to wait for.

    Args:
        device: The device.
    """

    is_apart = False

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.upload: Lane = _Now()
        self.compute: Lane = self.upload

    def buffer(self, shape: tuple[int, ...]) -> Buffer:
        """Return memory for bytes of a shape."""
        memory = torch.empty(shape, dtype=torch.uint8)
        return Buffer(memory, memory)

    def release(self) -> None:
        """Give back memory: there is none to give back."""


class _Now:
    """A lane that does at once what it is given, and a mark in it."""

    def run(self, work: Callable[[], object]) -> None:
        work()

    def mark(self) -> Mark:
        return self

    def after(self, mark: Mark) -> None:
        mark.wait()

    def wait(self) -> None:
        pass


class CudaLanes:
    """A GPU: uploads have a stream of their own, and the network runs in the stream that is the caller's.

    Args:
        device: The GPU; without a number the current one.
    """

    is_apart = True

    def __init__(self, device: torch.device) -> None:
        self.device = torch.device("cuda", torch.cuda.current_device() if device.index is None else device.index)
        self._uploads = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
        self.upload: Lane = _StreamLane(lambda: self._uploads)
        self.compute: Lane = _StreamLane(lambda: torch.cuda.current_stream(self.device))

    def buffer(self, shape: tuple[int, ...]) -> Buffer:
        """Return memory for bytes of a shape."""
        memory = torch.empty(shape, dtype=torch.uint8, device=self.device)
        # Who frees it while a copy is under way must not get it again before the copy is done.
        memory.record_stream(self._uploads)
        return Buffer(_locked(shape), memory)

    def release(self) -> None:
        """Give back to the GPU what this process keeps for later, so that a smaller batch finds it whole."""
        torch.cuda.empty_cache()


class _StreamLane:
    """A stream, looked up for each piece of work: what is current differs between threads."""

    def __init__(self, stream: Callable[[], torch.cuda.Stream]) -> None:
        self._stream = stream

    def run(self, work: Callable[[], object]) -> None:
        with torch.cuda.stream(self._stream()):
            work()

    def mark(self) -> Mark:
        return _Event(self._stream())

    def after(self, mark: Mark) -> None:
        if isinstance(mark, _Event):
            self._stream().wait_event(mark.event)
        else:
            mark.wait()


class _Event:
    """A mark in a stream. Who waits for it sleeps, as decoders may need the processor."""

    def __init__(self, stream: torch.cuda.Stream) -> None:
        self.event = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
        self.event.record(stream)

    def wait(self) -> None:
        self.event.synchronize()


def _locked(shape: tuple[int, ...]) -> Tensor:
    """Return memory that is locked, or, where the system allows none, ordinary memory: copies from it are slower."""
    try:
        return torch.empty(shape, dtype=torch.uint8, pin_memory=True)
    except RuntimeError as error:
        logger.warning("memory cannot be locked, so copies to the GPU are slower: %s", error)
        return torch.empty(shape, dtype=torch.uint8)
