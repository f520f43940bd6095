"""What is used of Ray without a promise works as it is used: a failure here means that Ray has changed."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.commands import PROJECT, environment
from vidcnn.cluster import ray_internals


# Runs in a process of its own: it connects to a cluster.
def printed_by(code: str) -> str:
    """Run code in a process of its own, and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(), cwd=PROJECT, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


CONNECTED = """
import time
import ray
from ray.cluster_utils import Cluster
from vidcnn.cluster import nodes, ray_internals as internals

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": 100 * 2**20})
ray.init(address=cluster.address, log_to_driver=False, logging_level="CRITICAL")
assert internals.head_address() == cluster.address
assert "sockets" in __import__("os").listdir(internals.session_folder())
assert internals.resources_to_come() == {} and internals.cpus_of_groups() == []

from ray._raylet import GcsClient
GcsClient(address=cluster.address).internal_kv_put(b"gcs://x", b"value", True, None)
assert internals.read_store(cluster.address, b"gcs://x") == b"value"
internals.remove_from_store(cluster.address, b"gcs://x")
assert internals.read_store(cluster.address, b"gcs://x") is None

view = nodes.view_cluster()
assert [node.total["CPU"] for node in view.nodes] == [1.0] and view.demands == (), view
task = ray.remote(num_gpus=1)(int).remote()
while not (view := nodes.view_cluster()).demands:
    time.sleep(0.1)
print(nodes.why_waiting(view))
ray.shutdown()
cluster.shutdown()
"""


@pytest.mark.ray
def test_the_state_and_the_store_of_a_cluster_can_be_read() -> None:
    assert (
        printed_by(CONNECTED) == "waiting: no machine of the cluster has a GPU and a processor (1 machine is there)\n"
    )


def test_the_command_is_noted_so_that_it_can_be_written_down(monkeypatch: pytest.MonkeyPatch) -> None:
    from ray._private import utils

    def usual() -> str:
        return "vidcnn infer caf\udce9.mp4 s3://KEY:SECRET@videos"

    monkeypatch.setattr(utils, "get_entrypoint_name", usual)
    with ray_internals.written_command():
        assert utils.get_entrypoint_name() == r"vidcnn infer caf\xe9.mp4 s3://videos"
    assert utils.get_entrypoint_name is usual


def test_no_thread_is_left_of_a_dataset_whose_blocks_were_read() -> None:
    code = """
import threading
import ray.data
from vidcnn.cluster import ray_internals as internals

ray.init(num_cpus=1, object_store_memory=100 * 2**20, log_to_driver=False, logging_level="CRITICAL")
ray.data.DataContext.get_current().enable_progress_bars = False
with internals.blocks_of(ray.data.range(3)) as blocks:
    print(sum(block.num_rows for block in blocks))
with internals.blocks_of(ray.data.range(3)) as blocks:
    print(next(iter(blocks)).num_rows > 0)
for thread in threading.enumerate():
    if thread.name == "Prefetcher":
        thread.join(20)
print([thread.name for thread in threading.enumerate() if thread.name == "Prefetcher"])
"""
    assert printed_by(code) == "3\nTrue\n[]\n"


def test_ray_data_can_be_kept_from_its_statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    from ray.data._internal.execution.operators import map_operator

    monkeypatch.setattr(map_operator, "to_stats", map_operator.to_stats)  # is put back
    assert ray_internals.keep_no_block_statistics()
    assert map_operator.to_stats([object()]) == []
    monkeypatch.delattr(map_operator, "to_stats")
    assert not ray_internals.keep_no_block_statistics()


def test_ray_data_is_put_back_as_it_was_for_whoever_uses_it_next() -> None:
    from ray.data import DataContext
    from ray.data._internal.execution.operators import map_operator

    from vidcnn.pipelines.dataset import _SETTINGS, ray_data_settings

    context = DataContext.get_current()

    def state() -> list[Any]:
        key = "backpressure_policies.enabled"
        return [getattr(context, name, None) for name in _SETTINGS] + [map_operator.to_stats, context.get_config(key)]

    before = state()
    with suppress(KeyError), ray_data_settings(num_waiting=3):
        assert context.max_errored_blocks == -1
        assert state()[-2:] != before[-2:]
        raise KeyError
    assert state() == before


def test_a_trainer_has_the_callbacks_that_are_left_out_and_no_others_are() -> None:
    from ray.train import RunConfig
    from ray.train.torch import TorchTrainer

    def names(trainer: Any) -> set[str]:
        made = trainer(lambda: None, run_config=RunConfig(storage_path="/tmp"))
        return {type(callback).__name__ for callback in made._create_default_callbacks()}

    all_of_them = names(TorchTrainer)
    assert set(ray_internals._IDLE_CALLBACKS) <= all_of_them
    assert names(ray_internals.without_idle_callbacks(TorchTrainer)) == all_of_them - set(ray_internals._IDLE_CALLBACKS)

    class Other:
        pass

    assert ray_internals.without_idle_callbacks(Other) is Other


SEARCHING = """
import json, os, sys
import ray
from vidcnn.cluster import ray_internals as internals

here = os.getcwd()
if sys.argv[1] == "searched":
    sys.path.insert(0, "")
ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="CRITICAL",
         job_config=internals.same_search_path())
print(json.dumps(here in ray.get(ray.remote(lambda: __import__("sys").path).remote())))
"""


@pytest.mark.ray
@pytest.mark.parametrize(("how", "is_searched"), [("searched", True), ("not searched", False)])
def test_workers_search_the_current_folder_where_their_driver_does(how: str, is_searched: bool, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-c", SEARCHING, how],
        env=environment(), cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) is is_searched


def test_a_job_server_is_asked_with_the_token_of_its_client() -> None:
    from ray.job_submission import JobSubmissionClient

    assert callable(JobSubmissionClient._do_request)


# Runs in a process of its own: it starts Ray.
AHEAD = """
import time, ray, ray.data
from vidcnn.cluster import ray_internals as internals

ray.init(num_cpus=2, object_store_memory=100 * 2**20, log_to_driver=False, logging_level="CRITICAL")
context = ray.data.DataContext.get_current()
context.target_max_block_size, context.target_min_block_size, context.enable_progress_bars = 1, 0, False
assert internals.keep_queues_short(context, 8)

@ray.remote(num_cpus=0)
class Counter:
    def __init__(self):
        self.ahead = self.most = 0
    def make(self):
        self.ahead += 1
        self.most = max(self.most, self.ahead)
    def use(self):
        self.ahead -= 1
    def get(self):
        return self.most

counter = Counter.remote()

def make(rows):
    for number in range(300):
        ray.get(counter.make.remote())
        yield {"number": [number]}

def use(rows):
    counter.use.remote()
    time.sleep(0.02)
    return rows

one = ray.data.TaskPoolStrategy(size=1)
rows = ray.data.from_items([0]).map_batches(make, batch_size=None, num_cpus=0.1)
rows = rows.map_batches(use, batch_size=None, num_cpus=0.2, compute=one)
used = sum(1 for _ in rows.iter_rows())
print(used, ray.get(counter.get.remote()))
ray.shutdown()
"""


@pytest.mark.ray
def test_a_stage_of_ray_data_can_be_kept_from_running_ahead_of_the_next() -> None:
    used, ahead = map(int, printed_by(AHEAD).split())
    assert used == 300
    assert ahead < 180  # some 100; without the limit 240 of 300


def test_a_ray_on_loopback_takes_no_other_address_and_later_ones_do_as_before() -> None:
    from ray._private import ray_constants, services

    before = ray_constants.ENABLE_RAY_CLUSTER
    with ray_internals.on_loopback():
        assert services.get_node_ip_address() == "127.0.0.1"
    assert before is ray_constants.ENABLE_RAY_CLUSTER
