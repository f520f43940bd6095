from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.commands.conftest import Call
from vidcnn.config import TrainSpec
from vidcnn.errors import VidcnnError


class Result:
    """How a training run ended."""

    failure: VidcnnError | None = None

    def __init__(self, shows_progress: bool) -> None:
        self._shows_progress = shows_progress

    def __str__(self) -> str:
        return f"progress {self._shows_progress}"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[TrainSpec]:
    """What is to be trained; nothing is."""
    import vidcnn.pipelines.train

    specs: list[TrainSpec] = []

    def run(spec: TrainSpec, *, show_progress: bool, announce: Any) -> Result:
        specs.append(spec)
        announce("plan")
        return Result(show_progress)

    monkeypatch.setattr(vidcnn.pipelines.train, "run_training", run)
    for name in ("train_text", "train_line", "plan_text"):
        monkeypatch.setattr(f"vidcnn.training.report.{name}", lambda result, name=name: f"{name} {result}")
    monkeypatch.setattr("vidcnn.training.report.train_json", lambda result: {"result": str(result)})
    return specs


def test_options_make_a_spec_and_the_plan_is_announced_before_the_result(call: Call, asked: list[TrainSpec]) -> None:
    ended = call("train", "--data", "videos", "--out", "run", "--epochs", "3")
    assert ended == (0, "train_text progress True\n", "plan_text plan\n")
    assert asked == [TrainSpec(data="videos", out="run", epochs=3)]


def test_quiet_says_nothing_of_the_plan_and_one_line_at_the_end(call: Call, asked: list[TrainSpec]) -> None:
    assert call("train", "--data=v", "--out=r", "--quiet") == (0, "train_line progress False\n", "")
    assert json.loads(call("train", "--data=v", "--out=r", "--quiet", "--json").stdout) == {"result": "progress False"}


def test_a_job_gives_what_the_options_do_not(call: Call, asked: list[TrainSpec], tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text("command: train\ndata: videos\nout: run\nepochs: 3\n")
    assert call("train", tmp_path / "job.yaml", "--epochs", "5").code == 0
    assert asked == [TrainSpec(data="videos", out="run", epochs=5)]


def test_what_went_wrong_at_the_end_is_said_after_the_result(
    call: Call, asked: list[TrainSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Result, "failure", VidcnnError("no room for the bundle"))
    ended = call("train", "--data=v", "--out=r", "--quiet")
    assert ended == (1, "train_line progress False\n", "vidcnn: no room for the bundle\n")
