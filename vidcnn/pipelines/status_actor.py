"""The actor to which workers report how far they are and why they cannot continue, and which makes them stop."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from vidcnn.errors import VidcnnError
from vidcnn.training.state import RunState
from vidcnn.video.stopwatch import Confined, weakest


@ray.remote
class StatusActor:
    """Where workers report how far the run is, or why it cannot continue, and where the driver asks them to stop.

    It has nothing that a run cannot do without: if its process dies, Ray starts it again, empty.
    """

    def __init__(self) -> None:
        self._stop = asyncio.Event()
        self._state: RunState | None = None
        self._failure: VidcnnError | None = None
        self._confined: Confined = ()

    async def post(self, state: RunState) -> None:
        """Record how far the run is."""
        self._state = state

    async def fail(self, failure: VidcnnError) -> None:
        """Record why the run cannot continue."""
        self._failure = failure

    async def note_confined(self, confined: Confined) -> None:
        """Record what confined processes that loaded clips."""
        self._confined = weakest(self._confined, confined)

    async def read(self) -> tuple[RunState | None, VidcnnError | None, Confined]:
        """Return what was recorded last, and what confined all processes that loaded clips."""
        return self._state, self._failure, self._confined

    async def stop(self) -> None:
        """Ask that the run is saved and stops."""
        self._stop.set()

    async def wait_for_stop(self) -> None:
        """Wait until that is asked."""
        await self._stop.wait()


def start_status_actor() -> Any:
    """Start the status actor on the node of this process: what takes the one takes the other.

    On any other node, it would be lost with that node although the run can continue without it.
    """
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    options = {"num_cpus": 0, "max_restarts": -1, "max_task_retries": -1, "scheduling_strategy": here}
    return StatusActor.options(**options).remote()  # type: ignore[attr-defined]


def tell_confined(status_actor: Any, confined: Confined) -> None:
    """Tell the status actor what confined processes that loaded clips, and wait until it knows."""
    with suppress(RayError):  # a report that lacks something is no reason to end a run
        ray.get(status_actor.note_confined.remote(confined))


def is_told(stop: Any) -> bool:
    """Return whether the driver wants a run to stop.

    Args:
        stop: What `StatusActor.wait_for_stop` returned: an actor that was lost has asked nothing.
    """
    if not ray.wait([stop], timeout=0)[0]:
        return False
    try:
        ray.get(stop)
    except RayError:
        return False
    return True
