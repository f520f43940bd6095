from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from vidcnn.cluster import this_machine as module
from vidcnn.cluster.this_machine import this_machine


def test_processors_and_memory_are_those_that_this_process_may_use() -> None:
    allowed = os.sched_getaffinity(0)
    assert this_machine(use_gpus=False).num_cpus <= len(allowed)
    assert 0 < this_machine(use_gpus=False).memory_bytes <= psutil.virtual_memory().total
    os.sched_setaffinity(0, {min(allowed)})
    try:
        assert this_machine(use_gpus=False).num_cpus == 1
    finally:
        os.sched_setaffinity(0, allowed)


@pytest.mark.parametrize(
    ("cpus", "memory", "expected"),
    [("50000 100000", "max", 1), ("100000 100000", "1000000000", 1), ("max 100000", "1000000000", None)],
)
def test_the_limits_of_a_container_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cpus: str, memory: str, expected: int | None
) -> None:
    monkeypatch.setattr(module, "_CGROUP", tmp_path)
    (tmp_path / "cpu.max").write_text(cpus + "\n")
    (tmp_path / "memory.max").write_text(memory + "\n")
    machine = this_machine(use_gpus=False)
    assert machine.num_cpus == (expected or len(os.sched_getaffinity(0)))
    if memory != "max":
        assert machine.memory_bytes == pytest.approx(0.7e9)


def test_no_gpu_is_counted_where_none_may_be_used() -> None:
    assert this_machine(use_gpus=False).num_gpus == 0
