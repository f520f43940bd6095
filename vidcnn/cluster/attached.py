"""The Ray of the cluster whose job this process is."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from vidcnn.cluster.environment import prepare_environment
from vidcnn.cluster.resources import Machine
from vidcnn.errors import VidcnnError


@contextmanager
def attached_ray(*, use_gpus: bool) -> Iterator[Machine]:
    """Connect to the Ray of the cluster, and let go of it with the block.

    Args:
        use_gpus: Whether GPUs may be used.

    Yields:
        What the cluster offers when it has grown as far as it may.

    Raises:
        VidcnnError: This process is not within a cluster.
    """
    prepare_environment()
    import ray

    try:
        ray.init(address="auto", log_to_driver=False, logging_level=logging.CRITICAL)
    except (RuntimeError, OSError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise VidcnnError(
            f"there is no Ray to attach to: {reason}", "--cluster auto is for the jobs of a cluster; name its address"
        ) from error
    try:
        resources = _largest_resources()
        yield Machine(
            num_cpus=resources.get("CPU", 1.0),
            num_gpus=resources.get("GPU", 0.0) if use_gpus else 0.0,
            memory_bytes=resources.get("memory", 2.0**30),
            num_nodes=max(1, sum(node["Alive"] and node["Resources"].get("CPU", 0) > 0 for node in ray.nodes())),  # type: ignore[no-untyped-call]
        )
    finally:
        ray.shutdown()


def _largest_resources() -> dict[str, float]:
    """Return what there is, or what the autoscaler may add to it where that is more."""
    import ray
    from ray._private.state import state

    there: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    possible = state.get_max_resources_from_cluster_config() or {}
    return {name: max(there.get(name, 0.0), possible.get(name, 0.0)) for name in there.keys() | possible.keys()}
