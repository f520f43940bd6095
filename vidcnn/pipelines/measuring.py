"""What stages say of a cell's work: how long planning took, and what confined the process that reads."""

from __future__ import annotations

import socket
import time
from typing import Generic, NamedTuple, TypeVar

from vidcnn.video.cell import Cell
from vidcnn.video.stopwatch import Confined, StageTimes

T = TypeVar("T")


class FromCell(NamedTuple, Generic[T]):
    """What came of a video that was read in a cell, and what confined the process that read it."""

    found: T
    confined: Confined


class PlanWatch:
    """Measures planning from its making on.

    Args:
        cell: Where videos are planned.
    """

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        self._began, self._busy = time.perf_counter(), cell.busy_seconds

    def read(self) -> StageTimes:
        """Return what was spent since the watch was made; a child that was replaced meanwhile has less."""
        spent = time.perf_counter() - self._began
        busy = max(0.0, self._cell.busy_seconds - self._busy)
        times = StageTimes(plan_seconds=spent, plan_read_seconds=max(0.0, spent - busy))
        return times._replace(confined=confined(self._cell))


def confined(cell: Cell) -> Confined:
    """Return this machine's name with what confines the child of a cell; nothing where there is no child."""
    return () if cell.strength is None else ((socket.gethostname(), cell.strength),)
