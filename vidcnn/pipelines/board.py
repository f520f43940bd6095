"""The board on which workers say how far they are and why they cannot go on, and the driver that they are to stop."""

from __future__ import annotations

import asyncio
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from vidcnn.errors import VidcnnError
from vidcnn.training.state import RunState


@ray.remote
class Board:
    """Where the first worker says how far the run is, any worker why it cannot go on, and the driver to stop.

    It holds nothing that a run cannot do without: if its process dies, Ray starts it again, empty.
    """

    def __init__(self) -> None:
        self._stop = asyncio.Event()
        self._state: RunState | None = None
        self._failure: VidcnnError | None = None

    async def post(self, state: RunState) -> None:
        """Say how far the run is."""
        self._state = state

    async def fail(self, failure: VidcnnError) -> None:
        """Say why the run cannot go on."""
        self._failure = failure

    async def read(self) -> tuple[RunState | None, VidcnnError | None]:
        """Return what was said last."""
        return self._state, self._failure

    async def stop(self) -> None:
        """Say that the run is to be saved, and to stop."""
        self._stop.set()

    async def wait_for_stop(self) -> None:
        """Wait until somebody says so."""
        await self._stop.wait()


def open_board() -> Any:
    """Put up a board on the node of this process: what takes the one takes the other.

    On any other node, a board would be lost with that node although the run can go on without it.
    """
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    options = {"num_cpus": 0, "max_restarts": -1, "max_task_retries": -1, "scheduling_strategy": here}
    return Board.options(**options).remote()  # type: ignore[attr-defined]


def is_told(stop: Any) -> bool:
    """Tell whether the driver wants a run to stop.

    Args:
        stop: What `Board.wait_for_stop` returned: a board that was lost has told nothing.
    """
    if not ray.wait([stop], timeout=0)[0]:
        return False
    try:
        ray.get(stop)
    except RayError:
        return False
    return True
