from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.commands.conftest import Call
from vidcnn.config import EvaluateSpec


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[EvaluateSpec]:
    """What is to be evaluated; nothing is."""
    import vidcnn.pipelines.evaluate

    specs: list[EvaluateSpec] = []

    def run(spec: EvaluateSpec, *, show_progress: bool, announce: Callable[[Any], None]) -> Any:
        specs.append(spec)
        announce(["a"])
        return f"progress {show_progress}"

    monkeypatch.setattr(vidcnn.pipelines.evaluate, "run_evaluation", run)
    for name in ("evaluate_text", "evaluate_line"):
        monkeypatch.setattr(f"vidcnn.training.report.{name}", lambda result, name=name: f"{name} {result}")
    monkeypatch.setattr("vidcnn.training.report.notice_lines", lambda notices: [f"notice {one}" for one in notices])
    monkeypatch.setattr("vidcnn.training.report.evaluate_json", lambda result: {"result": result})
    monkeypatch.setattr("vidcnn.training.report.write_json", lambda path, result: Path(path).write_text(result))
    return specs


def test_options_make_a_spec_and_figures_are_printed(call: Call, asked: list[EvaluateSpec]) -> None:
    ended = call("evaluate", "videos", "--model", "b", "--clips", "3", "--split", "test")
    assert ended == (0, "evaluate_text progress True\n", "notice a\n")
    assert asked == [EvaluateSpec(data="videos", model="b", clips=3, split="test")]


def test_quiet_is_one_line_and_json_one_object(call: Call, asked: list[EvaluateSpec]) -> None:
    assert call("evaluate", "videos", "--quiet") == (0, "evaluate_line progress False\n", "")
    assert json.loads(call("evaluate", "videos", "--json").stdout) == {"result": "progress True"}


def test_figures_go_to_a_file_only_where_one_is_named(
    call: Call, asked: list[EvaluateSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call("evaluate", "videos", "--out", tmp_path / "f.json").code == 0
    assert (tmp_path / "f.json").read_text() == "progress True"
    assert call("evaluate", "videos").code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["f.json"]


def test_figures_that_cannot_be_written_are_printed_before_that_is_said(
    call: Call, asked: list[EvaluateSpec], tmp_path: Path
) -> None:
    ended = call("evaluate", "videos", "--quiet", "--out", tmp_path / "no" / "f.json")
    assert (ended.code, ended.stdout) == (1, "evaluate_line progress False\n")
    assert "the figures cannot be written to" in ended.stderr
