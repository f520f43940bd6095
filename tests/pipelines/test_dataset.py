"""Decoders that are faster than the model wait for it, and do not fill the object store; slower ones all work."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from tests.pipelines import queueing
from vidcnn.cluster import Machine, plan_resources, prepare_environment
from vidcnn.cluster.environment import BUSY_ENVIRONMENT
from vidcnn.reporting.bottleneck import Meter

pytestmark = pytest.mark.ray

STORE_BYTES = 2**30


class StoreWatch(threading.Thread):
    """Looks again and again at what lies in the object stores of all nodes."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.most_bytes = self.spilled_bytes = 0
        self._ended = threading.Event()

    def run(self) -> None:
        import ray
        from ray._private.internal_api import get_memory_info_reply, get_state_from_address

        state = get_state_from_address(ray.get_runtime_context().gcs_address)
        while not self._ended.wait(0.2):
            stats = get_memory_info_reply(state).store_stats
            self.most_bytes = max(self.most_bytes, stats.object_store_bytes_used)
            self.spilled_bytes = max(self.spilled_bytes, stats.spilled_bytes_total)

    def end(self) -> None:
        self._ended.set()
        self.join()


@pytest.fixture(params=[1, 3])
def num_nodes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Start a cluster of this many nodes, two processors each, on this machine."""
    prepare_environment()
    for name, value in BUSY_ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster()
    for _ in range(request.param):
        cluster.add_node(num_cpus=2, object_store_memory=STORE_BYTES)
    ray.init(address=cluster.address, log_to_driver=False)
    yield request.param
    ray.shutdown()
    cluster.shutdown()


def settings_of_stubs(monkeypatch: pytest.MonkeyPatch, decode: type[Any], given: Any, score: type[Any]) -> Any:
    """Put stages in the place of those of the pipeline, and return their settings: `decode` takes what is given."""
    from vidcnn.pipelines import dataset

    for name, stub in {"PlanStage": queueing.ManyUnits, "DecodeStage": decode, "ScoreStage": score}.items():
        monkeypatch.setattr(dataset, name, stub)
    return SimpleNamespace(
        plan=None, decode=given, bundle=None, classifier={}, row_format=SimpleNamespace(schema=None), max_unit_frames=1
    )


USUAL, WIDE = (16, 16, 112, 112, 3), (14, 32, 224, 224, 3)
"""Shapes of batches: what most networks take, and the largest that one batch may be: 10 and 64 MiB."""


@pytest.mark.nightly
@pytest.mark.parametrize(("shape", "num_units"), [(USUAL, 60), (WIDE, 16)])
def test_decoded_clips_wait_in_a_part_of_the_object_store(
    num_nodes: int, shape: tuple[int, ...], num_units: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vidcnn.pipelines import dataset
    from vidcnn.pipelines.stages import video_table

    settings = settings_of_stubs(monkeypatch, queueing.FastDecode, shape, queueing.SlowScore)
    resources = plan_resources(Machine(2.0 * num_nodes, 0, 4e9 * num_nodes, num_nodes), use_gpus=False)
    watch, meter = StoreWatch(), Meter()
    watch.start()
    began = time.monotonic()
    tables = [video_table([b""] * 2) for _ in range(num_units // 2)]
    num_batches = sum(1 for _ in dataset.score_videos(tables, settings, resources, meter))
    watch.end()
    seconds = time.monotonic() - began
    print(f"{num_nodes} nodes, batches {shape}: {watch.most_bytes / 1e6:.0f} MB at most, {seconds:.1f} s")
    assert num_batches == num_units * queueing.BATCHES_PER_UNIT
    assert watch.spilled_bytes == 0
    assert watch.most_bytes < 0.75 * STORE_BYTES * num_nodes


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize("num_nodes", [1], indirect=True)
def test_all_decoders_work_all_the_time_where_the_model_is_faster(
    num_nodes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vidcnn.pipelines import dataset
    from vidcnn.pipelines.stages import video_table

    settings = settings_of_stubs(monkeypatch, queueing.SlowDecode, str(tmp_path), queueing.FastScore)
    resources = plan_resources(Machine(2.0, 0, 4e9), use_gpus=False)
    tables = [video_table([b""] * 4) for _ in range(60)]  # so many that the start counts for little
    assert sum(1 for _ in dataset.score_videos(tables, settings, resources)) == 240
    times = [tuple(map(float, line.split())) for file in tmp_path.iterdir() for line in file.read_text().splitlines()]
    first, last = min(began for began, _ in times), max(ended for _, ended in times)
    busy = sum(ended - began for began, ended in times) / (last - first)
    assert busy > 1.4  # of two; one is 0.85
    assert len(list(tmp_path.iterdir())) <= 6  # processes


@pytest.mark.nightly
def test_tables_come_once_while_the_spool_grows_even_if_its_reader_dies(
    num_nodes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vidcnn.pipelines import dataset
    from vidcnn.pipelines.spool import Spool
    from vidcnn.pipelines.stages import video_table

    monkeypatch.setattr(dataset, "PlanStage", queueing.NamedUnits)
    spool, given = Spool(tmp_path / "spool"), [b"%d" % number for number in range(300)]
    may_go_on = threading.Event()

    def write() -> None:
        for number, name in enumerate(given):
            if number == 200:
                may_go_on.wait(300)
            spool.append(video_table([name]))
        spool.close()

    threading.Thread(target=write, daemon=True).start()
    while spool.num_tables < 200:
        time.sleep(0.01)
    settings: Any = None
    resources = plan_resources(Machine(2.0 * num_nodes, 0, 4e9 * num_nodes, num_nodes), use_gpus=False)
    planned: list[Any] = []
    for unit, _ in dataset.plan_videos(spool, settings, settings, resources):
        planned += unit
        if len(planned) == 150:
            (reader,) = [one for one in psutil.Process().children(recursive=True) if is_reader(one)]
            reader.kill()
            may_go_on.set()
    assert sorted(planned, key=int) == given


def is_reader(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return any("_read_tables" in word for word in process.cmdline())
    return False
