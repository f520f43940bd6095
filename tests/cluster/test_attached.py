from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from vidcnn.cluster import attached
from vidcnn.cluster.attached import attached_ray
from vidcnn.cluster.starting import RayStartError
from vidcnn.errors import UsageError, VidcnnError


class Cluster:
    """What Ray tells of a cluster."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import ray
        from ray._private.state import state

        self.there: dict[str, float] = {}
        self.most: dict[str, float] = {}
        self.nodes: list[dict[str, Any]] = []
        self.groups: list[Any] = []
        self.connected = 0
        monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
        monkeypatch.setattr(attached, "init_ray", self._connect)
        monkeypatch.setattr(ray, "cluster_resources", lambda: self.there)
        monkeypatch.setattr(ray, "nodes", lambda: self.nodes)
        monkeypatch.setattr(ray, "shutdown", self._let_go)
        monkeypatch.setattr(state, "get_max_resources_from_cluster_config", lambda: self.most)
        monkeypatch.setattr(
            state,
            "get_cluster_config",
            lambda: SimpleNamespace(node_group_configs=self.groups) if self.groups else None,
        )

    def _connect(self, *, address: str) -> None:
        assert address == "10.0.0.1:6379"
        self.connected += 1

    def _let_go(self) -> None:
        self.connected -= 1


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    return Cluster(monkeypatch)


def node(cpus: float, *, alive: bool = True) -> dict[str, Any]:
    return {"Resources": {"CPU": cpus}, "Alive": alive}


def test_a_cluster_offers_what_is_there_and_is_let_go_of(cluster: Cluster) -> None:
    cluster.there = {"CPU": 12.0, "GPU": 2.0, "memory": 5e9}
    cluster.nodes = [node(8), node(4), node(0), node(2, alive=False)]
    with attached_ray(use_gpus=True, has_begun=lambda: False) as machine:
        assert cluster.connected == 1
        assert (machine.num_cpus, machine.num_gpus, machine.memory_bytes, machine.node_cpus) == (12, 2, 5e9, 4)
    assert cluster.connected == 0
    with attached_ray(use_gpus=False, has_begun=lambda: False) as machine:
        assert machine.num_gpus == 0


def test_a_cluster_that_may_grow_offers_what_it_may_grow_to(cluster: Cluster) -> None:
    cluster.there = {"CPU": 4.0, "memory": 5e9}
    cluster.nodes = [node(0)]
    cluster.most = {"CPU": float("inf"), "GPU": 8.0, "memory": 1e9}
    cluster.groups = [
        SimpleNamespace(resources={"CPU": 16.0}, max_count=10),
        SimpleNamespace(resources={"CPU": 2.0}, max_count=0),
    ]
    with attached_ray(use_gpus=True, has_begun=lambda: False) as machine:
        assert (machine.num_cpus, machine.num_gpus, machine.memory_bytes, machine.node_cpus) == (1e5, 8, 5e9, 16)


def enter() -> None:
    with attached_ray(use_gpus=False, has_begun=lambda: False):
        raise AssertionError("there is no cluster")


def test_a_process_that_is_no_job_of_a_cluster_is_told_so(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS")
    with pytest.raises(UsageError, match="this process is not a job of a cluster"):
        enter()


def test_a_cluster_that_is_not_there_is_named(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: Any) -> None:
        raise RayStartError("nobody answers")

    monkeypatch.setattr(attached, "init_ray", fail)
    with pytest.raises(VidcnnError, match=r"there is no Ray at 10\.0\.0\.1:6379: nobody answers"):
        enter()
