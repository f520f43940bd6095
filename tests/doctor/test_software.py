from __future__ import annotations

import json
import platform
import tomllib
from pathlib import Path

import pytest

from vidcnn.doctor import software
from vidcnn.doctor.software import REQUIREMENTS, check_software, misfit, requirements
from vidcnn.reporting.findings import Finding

PROJECT = Path(__file__).parents[2] / "pyproject.toml"


@pytest.mark.parametrize(
    ("version", "wanted", "level"),
    [
        ("2.11.0+cu128", ">=2.11", "good"),
        ("2.10.1", ">=2.11", "failure"),
        ("2.60.0", "<2.64,>=2.50", "good"),
        ("2.64.0", "<2.64,>=2.50", "warning"),
        ("2.12.0a0+git1", ">=2.11", "good"),
        ("odd", ">=1", "good"),
        ("1.0", "", "good"),
    ],
)
def test_too_old_fails_and_too_new_is_a_warning(version: str, wanted: str, level: str) -> None:
    assert misfit(version, wanted)[0] == level


def test_what_is_asked_for_is_what_the_project_declares() -> None:
    found = requirements()
    assert found["av"] == "<19,>=16"
    assert found["python"] == ">=3.11"
    declared = tomllib.loads(PROJECT.read_text())["project"]["dependencies"]
    assert len(found) == len(declared) + 1


def test_on_a_cluster_it_is_what_was_sent_along(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(REQUIREMENTS, json.dumps({"torch": ">=99"}))
    assert requirements() == {"torch": ">=99"}


def by_name(findings: list[Finding]) -> dict[str, Finding]:
    return {one.name: one for one in findings}


def test_versions_are_named_and_misfits_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"torch": "2.9.0", "ray": "2.60.0", "av": "18.1.0", "opencv-contrib-python": "4.10", "pyarrow": "20"}
    monkeypatch.setattr(software, "_versions", lambda names: iter([versions[one] for one in names if one in versions]))
    wanted = {"python": ">=3.99", "torch": ">=2.11", "ray": ">=2.50", "typer": ">=0.16"}
    found = by_name(check_software(wanted, {"pyarrow": "it uses instructions ... (SIGILL)"}, "8.1.2"))
    assert found["av"].value == "18.1.0 (FFmpeg 8.1.2)"
    assert (found["OpenCV"].value, found["OpenCV"].level) == ("4.10", "good")
    assert (found["torch"].level, found["torch"].remedy) == ("failure", "pip install 'torch>=2.11'")
    assert found["torch"].problem == "torch 2.9.0 is too old for vidcnn (>=2.11)"
    assert found["Python"].problem == f"Python {platform.python_version()} is too old for vidcnn (>=3.99)"
    assert found["typer"].problem == "typer is not installed"
    assert "SIGILL" in found["pyarrow"].problem
    assert found["torchvision"].level == "failure"


def test_here_all_fits() -> None:
    findings = check_software(requirements(), {}, None)
    assert {one.level for one in findings} == {"good"}
    assert any("other packages" in one.name for one in findings)


def test_where_nobody_knows_what_is_asked_for_nothing_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    found = by_name(check_software({}, {}, None))
    assert found["versions"].level == "note"
