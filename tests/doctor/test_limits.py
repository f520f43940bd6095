from __future__ import annotations

import os
import resource

import pytest

from vidcnn.cluster.control_groups import Limits
from vidcnn.doctor.limits import check_files, check_processes

NO_LIMIT = resource.RLIM_INFINITY


def limit(monkeypatch: pytest.MonkeyPatch, soft: int, hard: int) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (soft, hard))


@pytest.mark.parametrize(
    ("soft", "hard", "level"),
    [
        (1024, NO_LIMIT, "good"),
        (1024, 1024 * 1024, "good"),
        (1024, 1024, "warning"),
        (256, 256, "warning"),
        (NO_LIMIT, NO_LIMIT, "good"),
    ],
)
def test_the_hard_limit_of_files_counts_since_ray_raises_the_other(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, level: str
) -> None:
    limit(monkeypatch, soft, hard)
    found = check_files()
    assert found.level == level
    assert bool(found.remedy) is (level != "good")


@pytest.mark.parametrize(("most", "level"), [(50_000, "good"), (500, "warning"), (100, "failure")])
def test_few_processes_are_named_by_what_a_run_takes(monkeypatch: pytest.MonkeyPatch, most: int, level: str) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    limit(monkeypatch, most, most)
    assert check_processes(Limits(), cores=2).level == level
    limit(monkeypatch, NO_LIMIT, NO_LIMIT)
    assert check_processes(Limits(num_processes=most, num_processes_left=most), cores=2).level == level


def test_root_is_not_held_to_a_limit_of_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    limit(monkeypatch, 10, 10)
    assert check_processes(Limits(), cores=2).value == "no limit"
