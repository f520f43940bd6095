"""Puts up actors on a cluster of several nodes, and says on which node each is.

It is a process of its own, so that a test's own Ray stays apart.
"""

from __future__ import annotations

import json
import os
from typing import Any

NUM_NODES = 3
NUM_ACTORS = 6


def _serve() -> None:
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    import ray
    from ray.cluster_utils import Cluster

    from vidcnn.pipelines.status_actor import start_status_actor

    node: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 100 * 2**20, "dashboard_agent_listen_port": 0}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    for _ in range(NUM_NODES - 1):
        cluster.add_node(**node)
    cluster.wait_for_nodes()
    try:
        ray.init(address=cluster.address, log_to_driver=False)
        actors = [start_status_actor() for _ in range(NUM_ACTORS)]
        nodes = ray.get([status_actor.__ray_call__.remote(_node) for status_actor in actors])
        print(json.dumps({"driver": ray.get_runtime_context().get_node_id(), "actors": nodes}), file=answers)
    finally:
        ray.shutdown()
        cluster.shutdown()


def _node(_: Any) -> str:
    import ray

    found: str = ray.get_runtime_context().get_node_id()
    return found


if __name__ == "__main__":
    _serve()
