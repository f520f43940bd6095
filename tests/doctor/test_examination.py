from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from vidcnn.doctor import examination, memory, software
from vidcnn.doctor.examination import Wishes, examine
from vidcnn.reporting.findings import Finding, examination_text


@pytest.fixture
def imports(monkeypatch: pytest.MonkeyPatch) -> dict[str, str | None]:
    """What can be imported, so that nobody tries."""
    found: dict[str, str | None] = {}
    monkeypatch.setattr(examination, "try_imports", lambda: found)
    return found


def test_a_machine_fits_on_a_screen(imports: dict[str, str | None], tmp_path: Path) -> None:
    told: list[str] = []
    found = examine(Wishes(storage=str(tmp_path), quick=True), told.append)
    lines = examination_text(found).splitlines()
    room = 30 - 3  # for the measurement
    assert len(lines) <= room
    assert {one.topic for one in found.findings} >= {"software", "processor", "GPU", "decoding", "memory", "storage"}
    assert told[0] == "software"
    assert pickle.loads(pickle.dumps(found)) == found  # it comes from the node of a cluster


def test_what_cannot_be_loaded_is_not_looked_at(imports: dict[str, str | None]) -> None:
    imports |= {"torch": "it uses instructions that this processor does not have (SIGILL)", "av": "no libfoo"}
    found = examine(Wishes())
    (torch,) = (one for one in found.findings if one.name == "torch")
    assert "SIGILL" in torch.problem
    left_out = {one.topic for one in found.findings if one.name == "not looked at"}
    assert left_out == {"processor", "GPU", "decoding", "speed"}


def test_a_check_that_raises_is_a_finding_and_the_others_go_on(
    imports: dict[str, str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(limits: object) -> list[Finding]:
        raise ValueError("odd /proc")

    monkeypatch.setattr(memory, "check_memory", fail)
    found = examine(Wishes(quick=True))
    assert [one.problem for one in found.problems] == ["looking at memory failed: ValueError: odd /proc"]
    assert found.find("open files") is not None


def test_a_node_of_a_cluster_has_a_ray_already(imports: dict[str, str | None]) -> None:
    found = examine(Wishes(quick=True, is_node=True))
    assert found.find("Ray's sockets") is None
    assert found.find("working folder") is None
    assert found.find("temporary folder") is not None


def test_versions_are_compared_with_what_is_asked_for(
    imports: dict[str, str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(software.REQUIREMENTS, '{"pyarrow": ">=1000"}')
    found = examine(Wishes(quick=True))
    assert found.num_failures == 1
    assert "pyarrow" in found.problems[0].problem
