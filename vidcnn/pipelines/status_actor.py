"""The actor to which workers report how far they are and why they cannot go on, and which tells them to stop."""

from __future__ import annotations

import asyncio
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from vidcnn.errors import VidcnnError
from vidcnn.training.state import RunState


@ray.remote
class StatusActor:
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


def start_status_actor() -> Any:
    """Start the status actor on the node of this process: what takes the one takes the other.

    On any other node, it would be lost with that node although the run can go on without it.
    """
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    options = {"num_cpus": 0, "max_restarts": -1, "max_task_retries": -1, "scheduling_strategy": here}
    return StatusActor.options(**options).remote()  # type: ignore[attr-defined]


def is_told(stop: Any) -> bool:
    """Return whether the driver wants a run to stop.

    Args:
        stop: What `StatusActor.wait_for_stop` returned: an actor that was lost has said nothing.
    """
    if not ray.wait([stop], timeout=0)[0]:
        return False
    try:
        ray.get(stop)
    except RayError:
        return False
    return True
