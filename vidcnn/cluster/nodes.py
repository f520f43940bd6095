"""The machines of a cluster while a job runs on them: what the job waits for, and which of them it has lost.

Without a message about it, a job that fits on no machine looks like one that is slow to start.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from vidcnn.cluster.ray_internals import cluster_status
from vidcnn.reporting.live import say

_LOOK_SECONDS = 2.0
_PATIENCE_SECONDS = 8.0
"""How long a job may wait for a machine before this is printed; starting a process takes less."""
_REMINDER_SECONDS = 300.0

_PREEMPTED, _IDLE = 3, 4
"""Reasons of Ray for the end of a node: its provider took it back; the autoscaler had no use for it."""


@dataclass(frozen=True)
class Node:
    """A machine of the cluster.

    Attributes:
        id: Ray's id of the node, as hexadecimal digits.
        address: Its IP address.
        total: What it has, by Ray's names of resources.
        free: What of this nobody uses.
    """

    id: str
    address: str
    total: Mapping[str, float]
    free: Mapping[str, float]


@dataclass(frozen=True)
class Demand:
    """What waits for a place.

    Attributes:
        needs: What each of them needs, by Ray's names of resources.
        count: How many there are.
        together: Whether all of them start together or not at all.
    """

    needs: Mapping[str, float]
    count: int
    together: bool


@dataclass(frozen=True)
class ClusterView:
    """A cluster at a moment.

    Attributes:
        nodes: The machines that are there.
        num_starting: Machines that are being started.
        demands: What waits for a place.
        failures: Why machines could not be started.
    """

    nodes: tuple[Node, ...]
    num_starting: int
    demands: tuple[Demand, ...]
    failures: tuple[str, ...] = ()


class NodeWatch:
    """Prints on stderr what a job waits for before it begins, and which machines it loses. Use it as a context manager.

    Args:
        has_begun: Returns whether the job has made any headway.
        view: Returns the cluster as it is.
        why_lost: Returns why a machine is gone, by its id; None where that is as it should be.
        tell: Prints a line.
    """

    def __init__(
        self,
        has_begun: Callable[[], bool],
        view: Callable[[], ClusterView],
        why_lost: Callable[[str], str | None],
        tell: Callable[[str], None] = say,
    ) -> None:
        self._has_begun, self._view, self._why_lost, self._tell = has_begun, view, why_lost, tell
        self._known: dict[str, Node] = {}
        self._waits_since: float | None = None
        self._said, self._said_at = "", 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="node-watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def look(self, now: float) -> None:
        """Print what has changed.

        Args:
            now: Clock in seconds.
        """
        view = self._view()
        there = {node.id: node for node in view.nodes}
        for lost in self._known.keys() - there.keys():
            if (reason := self._why_lost(lost)) is not None:
                address = self._known[lost].address
                self._tell(f"machine {address} {reason}: what it was doing is done again elsewhere")
        self._known = there
        reason = None if self._has_begun() else why_waiting(view)
        if reason is None:
            self._waits_since = None
            return
        if self._waits_since is None:
            self._waits_since = now
        is_new = reason != self._said or now - self._said_at >= _REMINDER_SECONDS
        if now - self._waits_since >= _PATIENCE_SECONDS and is_new:
            self._said, self._said_at = reason, now
            self._tell(reason)

    def _run(self) -> None:
        while not self._over.wait(_LOOK_SECONDS):
            try:
                self.look(time.monotonic())
            except Exception:  # a head that does not answer now: the job itself finds out what is wrong
                continue


def why_waiting(view: ClusterView) -> str | None:
    """Return what keeps a job from beginning, in one line; None where nothing waits for a place."""
    for demand in view.demands:
        if not any(_fits(demand.needs, node.total) for node in view.nodes):
            return f"waiting: no machine of the cluster has {_words(demand.needs)}{_machines(view)}"
    for demand in view.demands:
        if demand.together and (missing := demand.count - _num_places(demand.needs, view.nodes, demand.count)):
            return (
                f"waiting for {missing} of {demand.count} workers: each needs {_words(demand.needs)} that nobody else "
                f"uses{_machines(view)}"
            )
    for demand in view.demands:
        if not any(_fits(demand.needs, node.free) for node in view.nodes):
            return f"waiting: {_in_use(demand.needs, view.nodes)} of the cluster in use by others{_machines(view)}"
    return None


def _fits(needs: Mapping[str, float], room: Mapping[str, float]) -> bool:
    return all(room.get(name, 0.0) >= amount for name, amount in needs.items())


def _num_places(needs: Mapping[str, float], nodes: Sequence[Node], at_most: int) -> int:
    """Return how many of a kind find a place in what is free."""
    found = 0
    for node in nodes:
        free = dict(node.free)
        while found < at_most and _fits(needs, free):
            found += 1
            free = {name: amount - needs.get(name, 0.0) for name, amount in free.items()}
    return found


def _words(needs: Mapping[str, float]) -> str:
    return " and ".join(_amount(name, amount) for name, amount in _shown(needs)) or "room"


def _shown(needs: Mapping[str, float]) -> Iterator[tuple[str, float]]:
    """Yield what is worth naming of what something needs: not the shares of a whole that only divide it."""
    for name in ("GPU", "CPU", "memory"):
        if needs.get(name, 0.0) and (name != "memory" or len(needs) == 1):
            yield name, needs[name]


def _amount(name: str, amount: float) -> str:
    if name == "memory":
        return f"{amount / 1e9:.1f} GB of memory"
    one, many = {"CPU": ("a processor", "processors"), "GPU": ("a GPU", "GPUs")}[name]
    return one if amount <= 1 else f"{amount:g} {many}"


def _in_use(needs: Mapping[str, float], nodes: Sequence[Node]) -> str:
    """Return which of the resources that something needs are used up."""
    for name, many in (("GPU", "GPUs"), ("CPU", "processors")):
        total = sum(node.total.get(name, 0.0) for node in nodes)
        free = sum(node.free.get(name, 0.0) for node in nodes)
        if needs.get(name) and total and not any(node.free.get(name, 0.0) >= needs[name] for node in nodes):
            return f"{total - free:g} of {total:g} {many}"
    return "the memory"


def _machines(view: ClusterView) -> str:
    count = len(view.nodes)
    there = "1 machine is there" if count == 1 else f"{count} machines are there"
    starting = f", {view.num_starting} more starting" if view.num_starting else ""
    failure = f"; the last could not be started: {view.failures[-1]}" if view.failures and not starting else ""
    return f" ({there}{starting}{failure})"


def view_cluster() -> ClusterView:
    """Return the cluster of the Ray that this process is connected to, as it is.

    Raises:
        Exception: Its head does not answer.
    """
    status = cluster_status()
    waiting = status.resource_demands
    alone = [bundle for demand in waiting.ray_task_actor_demand for bundle in demand.bundles_by_count]
    groups = [
        bundle
        for demand in waiting.placement_group_demand
        if demand.state != "RESCHEDULING"
        for bundle in demand.bundles_by_count
    ]
    return ClusterView(
        nodes=tuple(map(_node, (*status.active_nodes, *status.idle_nodes))),
        num_starting=len(status.pending_nodes) + sum(launch.count for launch in status.pending_launches),
        demands=(
            *(Demand(bundle.bundle, bundle.count, together=False) for bundle in alone),
            *(Demand(bundle.bundle, bundle.count, together=True) for bundle in groups),
        ),
        failures=tuple(str(launch.details) for launch in status.failed_launches),
    )


def _node(info: Any) -> Node:
    usage = info.resource_usage.usage
    return Node(
        id=info.node_id,
        address=info.ip_address,
        total={one.resource_name: one.total for one in usage},
        free={one.resource_name: one.total - one.used for one in usage},
    )


def why_lost(node_id: str) -> str | None:
    """Return why a machine is gone, as `NodeWatch` prints it; None where the autoscaler removed it unused."""
    import ray

    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    reason = next((node.get("DeathReason") for node in nodes if node["NodeID"] == node_id), None)
    if reason == _IDLE:
        return None
    return "was taken back by its provider" if reason == _PREEMPTED else "was lost"
