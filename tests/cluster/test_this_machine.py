from __future__ import annotations

import os

import psutil
import pytest

from vidcnn.cluster import this_machine as module
from vidcnn.cluster.control_groups import Limits
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
    ("limits", "num_cpus", "memory_bytes"),
    [
        (Limits(cpus=0.5), 1, None),
        (Limits(cpus=1.0, memory_bytes=10**9, memory_free_bytes=10**8), 1, 7e7),
        (Limits(cpus=1e6, memory_bytes=10**9, memory_free_bytes=10**9), None, 7e8),
    ],
)
def test_the_limits_of_a_container_hold(
    monkeypatch: pytest.MonkeyPatch, limits: Limits, num_cpus: int | None, memory_bytes: float | None
) -> None:
    monkeypatch.setattr(module, "read_limits", lambda: limits)
    machine = this_machine(use_gpus=False)
    assert machine.num_cpus == (num_cpus or len(os.sched_getaffinity(0)))
    if memory_bytes is not None:
        assert machine.memory_bytes == pytest.approx(memory_bytes)


def test_no_gpu_is_counted_where_none_may_be_used() -> None:
    assert this_machine(use_gpus=False).num_gpus == 0
