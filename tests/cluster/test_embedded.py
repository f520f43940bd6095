from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.commands import environment
from vidcnn.cluster import embedded
from vidcnn.cluster.embedded import local_ray
from vidcnn.cluster.starting import RayStartError
from vidcnn.errors import VidcnnError

pytestmark = pytest.mark.ray

CODE = """
import json, os, psutil, sys
from vidcnn.cluster.embedded import local_ray
with local_ray(num_gpus=0) as machine:
    import ray
    pids = [child.pid for child in psutil.Process().children(recursive=True)]
    print(json.dumps([machine.num_cpus, machine.num_gpus, machine.memory_bytes, pids]), file=sys.stderr)
    assert ray.get(ray.remote(lambda: 7).remote()) == 7
assert not ray.is_initialized()
"""


def test_a_ray_begins_and_ends_with_its_block_and_leaves_neither_process_nor_file_nor_word(tmp_path: Path) -> None:
    import json
    import tempfile

    with tempfile.TemporaryDirectory(prefix="v") as scratch:  # pytest's own have long paths
        done = subprocess.run(
            [sys.executable, "-c", CODE], env=environment() | {"RAY_TMPDIR": scratch},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert os.listdir(scratch) == []
    assert done.stdout == ""
    num_cpus, num_gpus, memory_bytes, pids = json.loads(done.stderr)
    assert (num_cpus, num_gpus, memory_bytes > 2**28) == (len(os.sched_getaffinity(0)), 0, True)
    assert len(pids) >= 3
    assert not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE for pid in pids)


def starts(monkeypatch: pytest.MonkeyPatch, *messages: str) -> list[dict[str, Any]]:
    """Let Ray fail with these messages, one after the other; return what it was started with."""
    given: list[dict[str, Any]] = []

    def init(**options: Any) -> None:
        given.append(options)
        raise RayStartError(messages[min(len(given), len(messages)) - 1])

    monkeypatch.setattr(embedded, "init_ray", init)
    return given


def start() -> None:
    with local_ray():
        raise AssertionError("there is no Ray")


def test_a_ray_that_starts_too_slowly_is_started_again_a_few_times(monkeypatch: pytest.MonkeyPatch) -> None:
    given = starts(monkeypatch, "it timed out during startup")
    with pytest.raises(VidcnnError, match="Ray does not start on this machine: it timed out during startup"):
        start()
    assert len(given) == 3


def test_a_ray_that_cannot_start_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    given = starts(monkeypatch, "no room")
    with pytest.raises(VidcnnError, match="Ray does not start on this machine: no room"):
        start()
    assert len(given) == 1
    assert 256 * 2**20 <= given[0]["object_store_memory"] <= 4 * 2**30
