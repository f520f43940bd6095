from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

import pytest

from vidcnn.cluster import each_node, environment
from vidcnn.cluster.each_node import ask_each_node
from vidcnn.errors import SourceError


def whoami(fault: str | None) -> str:
    import ray

    number = int(ray.get_runtime_context().get_assigned_resources().get("CPU", 0))
    if fault == "raises":
        raise SourceError("it is gone")
    if fault == "dies":
        os._exit(3)
    if fault == "hangs":
        time.sleep(60)
    return f"{ray.get_runtime_context().get_node_id()} {number}"


@pytest.fixture
def nodes() -> Iterator[list[Any]]:
    """A Ray of two nodes on this machine, the second of which has no processor free for anybody."""
    import ray
    from ray.cluster_utils import Cluster

    environment.prepare_environment()
    settings = {"object_store_memory": 100 * 2**20, "dashboard_agent_listen_port": 0}
    cluster = Cluster(initialize_head=True, head_node_args={**settings, "num_cpus": 1})
    cluster.add_node(**settings, num_cpus=0)
    cluster.wait_for_nodes()
    ray.init(address=cluster.address, log_to_driver=False)
    yield ray.nodes()
    ray.shutdown()
    cluster.shutdown()


@pytest.mark.ray
def test_each_node_answers_or_is_said_to_be_lost(nodes: list[Any]) -> None:
    answers = ask_each_node(whoami, None, seconds=300)
    assert sorted(answers.given.values()) == sorted(f"{node['NodeID']} 0" for node in nodes)
    address = nodes[0]["NodeManagerAddress"]
    assert list(answers.given) == [address, f"{address}#2"]
    assert answers.lost == {}
    raised = ask_each_node(whoami, "raises", seconds=300)
    assert (raised.given, set(raised.lost.values())) == ({}, {"it is gone"})
    died = ask_each_node(whoami, "dies", seconds=300)
    assert len(died.lost) == 2
    assert all("Crashed" in reason for reason in died.lost.values())
    silent = ask_each_node(whoami, "hangs", seconds=1)
    assert set(silent.lost.values()) == {"gave no answer in 1 s"}


def test_nodes_are_named_by_their_addresses_the_head_first() -> None:
    def node(number: int, address: str, *resources: str) -> dict[str, Any]:
        return {"NodeID": str(number), "NodeManagerAddress": address, "Resources": dict.fromkeys(resources, 1.0)}

    found = each_node._names([node(1, "10.0.0.2"), node(2, "10.0.0.2"), node(3, "10.0.0.9", "node:__internal_head__")])
    assert list(found.items()) == [("3", "10.0.0.9"), ("1", "10.0.0.2"), ("2", "10.0.0.2#2")]
