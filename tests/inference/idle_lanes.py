"""Lanes that are as late as they may be, and that take turns as chance has it: a GPU at its worst, on the processor."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any

import torch

from vidcnn.inference.lanes import Buffer


class IdleMark:
    """A point in a lane's work."""

    def __init__(self, lanes: IdleLanes) -> None:
        self.lanes = lanes
        self.is_reached = False

    def wait(self) -> None:
        self.lanes.work_until(self)


class IdleLane:
    """Does nothing until somebody waits for it."""

    def __init__(self, lanes: IdleLanes) -> None:
        self.lanes = lanes
        self.queue: deque[tuple[str, Any]] = deque()

    def run(self, work: Callable[[], object]) -> None:
        self.queue.append(("run", work))
        self.lanes.idle()

    def mark(self) -> IdleMark:
        mark = IdleMark(self.lanes)
        self.queue.append(("mark", mark))
        return mark

    def after(self, mark: IdleMark) -> None:
        self.queue.append(("after", mark))

    @property
    def can_go_on(self) -> bool:
        if not self.queue:
            return False
        kind, mark = self.queue[0]
        return kind != "after" or mark.is_reached or self.lanes.is_careless

    def step(self) -> None:
        kind, item = self.queue.popleft()
        if kind == "run":
            item()
        elif kind == "mark":
            item.is_reached = True


class IdleLanes:
    """A device of two lanes, with memory of its own.

    Args:
        seed: Of the order in which lanes take turns.
        eagerness: How often some work is done before anybody waits for it.
        is_careless: Whether lanes do not wait for each other, as if nobody had told them to.
    """

    is_apart = True
    device = torch.device("cpu")

    def __init__(self, seed: int, *, eagerness: float = 0.3, is_careless: bool = False) -> None:
        self.random = Random(seed)
        self.eagerness = eagerness
        self.is_careless = is_careless
        self.upload, self.compute = IdleLane(self), IdleLane(self)
        self.buffers: list[Buffer] = []
        self.num_released = 0

    def buffer(self, shape: tuple[int, ...]) -> Buffer:
        # What was never written is seen in the results.
        buffer = Buffer(torch.full(shape, 171, dtype=torch.uint8), torch.full(shape, 205, dtype=torch.uint8))
        self.buffers.append(buffer)
        return buffer

    def release(self) -> None:
        self.num_released += 1

    def work_until(self, mark: IdleMark) -> None:
        while not mark.is_reached:
            ready = [lane for lane in (self.upload, self.compute) if lane.can_go_on]
            assert ready, "the lanes wait for each other for ever"
            self.random.choice(ready).step()

    def idle(self) -> None:
        while self.random.random() < self.eagerness:
            if ready := [lane for lane in (self.upload, self.compute) if lane.can_go_on]:
                self.random.choice(ready).step()
