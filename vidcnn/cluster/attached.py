"""The Ray of the cluster whose job this process is."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from vidcnn.cluster import parcel
from vidcnn.cluster.environment import prepare_environment
from vidcnn.cluster.nodes import NodeWatch, view_cluster, why_lost
from vidcnn.cluster.ray_internals import cpus_of_groups, resources_to_come
from vidcnn.cluster.resources import Machine
from vidcnn.cluster.silence import silence
from vidcnn.cluster.starting import RayStartError, init_ray
from vidcnn.errors import UsageError, VidcnnError

_HINT = "--cluster auto is for the jobs of a cluster; from elsewhere, name the address of its job server"

_UNLIMITED = 1e5
"""Means as many processors as the autoscaler can add."""


@contextmanager
def attached_ray(*, use_gpus: bool, has_begun: Callable[[], bool]) -> Iterator[Machine]:
    """Connect to the Ray of the cluster, and disconnect at the end of the block.

    Args:
        use_gpus: Whether GPUs may be used.
        has_begun: Returns whether the job has made any headway; until then what it waits for is printed.

    Yields:
        What the cluster offers when it has grown as far as it may.

    Raises:
        UsageError: This process is not a job of a cluster.
        VidcnnError: The cluster's Ray cannot be reached.
    """
    prepare_environment()
    with silence():
        yield from _attach(use_gpus, has_begun)


def _attach(use_gpus: bool, has_begun: Callable[[], bool]) -> Iterator[Machine]:
    import ray

    address = os.environ.get("RAY_ADDRESS")
    if address is None:
        raise UsageError("this process is not a job of a cluster", _HINT)
    try:
        init_ray(address=address)
    except RayStartError as error:
        raise VidcnnError(f"there is no Ray at {address}: {error}", _HINT) from error
    try:
        resources = _largest_resources()
        with NodeWatch(has_begun, view_cluster, why_lost):
            yield Machine(
                num_cpus=resources.get("CPU", 1.0),
                num_gpus=resources.get("GPU", 0.0) if use_gpus else 0.0,
                memory_bytes=resources.get("memory", 2.0**30),
                node_cpus=_smallest_cpus(),
            )
    finally:
        ray.shutdown()
        parcel.remove_variables()  # here, too: a command that is interrupted may end without a word to its caller


def _largest_resources() -> dict[str, float]:
    """Return what there is, or what the autoscaler may add to it where that is more."""
    import ray

    there: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    possible = resources_to_come()
    return there | {name: max(there.get(name, 0.0), min(most, _UNLIMITED)) for name, most in possible.items()}


def _smallest_cpus() -> float | None:
    """Return the processors of the smallest machine that has any, among those there are and those that may come."""
    import ray

    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    there = [node["Resources"].get("CPU", 0.0) for node in nodes if node["Alive"]]
    return min((cpus for cpus in (*there, *cpus_of_groups()) if cpus), default=None)
