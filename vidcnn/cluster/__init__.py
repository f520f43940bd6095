"""The Ray that a command runs on, how its processors are shared out, and commands that run on a cluster far away."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from vidcnn.cluster.environment import attach_to_cluster, is_attached, prepare_environment
from vidcnn.cluster.resources import Machine, ResourcePlan, plan_resources

__all__ = [
    "Machine",
    "ResourcePlan",
    "attach_to_cluster",
    "is_attached",
    "open_ray",
    "plan_resources",
    "prepare_environment",
]


def open_ray(
    *, use_gpus: bool = True, has_begun: Callable[[], bool] = lambda: False
) -> AbstractContextManager[Machine]:
    """Start an embedded Ray, or connect to that of the cluster whose job this process is; end it with the block.

    Args:
        use_gpus: Whether GPUs may be used.
        has_begun: Returns whether the job has made any headway; until then, on a cluster, what it waits for is
            printed.
    """
    if is_attached():
        from vidcnn.cluster.attached import attached_ray

        return attached_ray(use_gpus=use_gpus, has_begun=has_begun)
    from vidcnn.cluster.embedded import local_ray

    return local_ray(num_gpus=None if use_gpus else 0)
