from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.commands import vidcnn
from vidcnn.cli import app
from vidcnn.reporting.quantized import QuantizeReport

REPORT = QuantizeReport(
    "b8", "simple3d", 3, (), "mse", 4,
    {"clips": 8.0, "agreement": 1.0, "drift": 0.001, "largest_drift": 0.01, "int8_clips_per_second": 20.0,
     "bf16_clips_per_second": 10.0},
    0.99,
)  # fmt: skip


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    calls: list[Any] = []

    def quantize_bundle(*given: Any, **options: Any) -> QuantizeReport:
        calls.append((given, options))
        return REPORT

    monkeypatch.setattr("vidcnn.pipelines.quantize.quantize_bundle", quantize_bundle)
    return calls


def test_options_reach_the_pipeline_and_its_report_is_printed(
    called: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--clips", "9", "--min-agreement", "0.9", "--epochs", "5", "--sandbox", "require"]
    app(["quantize", "b", "--data", "d", "--out", "b8", *given], standalone_mode=False)
    options = {"num_clips": 9, "min_agreement": 0.9, "num_epochs": 5, "seed": 0, "follow_links": False}
    options |= {"sandbox": "require", "show_progress": True}
    assert called == [(("b", "d", "b8"), options)]
    assert len(capsys.readouterr().out.splitlines()) == 4
    app(["quantize", "b", "--data", "d", "--out", "b8", "--quiet"], standalone_mode=False)
    assert len(capsys.readouterr().out.splitlines()) == 1
    app(["quantize", "b", "--data", "d", "--out", "b8", "--json"], standalone_mode=False)
    assert json.loads(capsys.readouterr().out)["speedup"] == 2.0


def test_what_is_missing_is_a_usage_error(tmp_path: Path) -> None:
    done = vidcnn("quantize", tmp_path, "--out", tmp_path / "b8")
    assert done.returncode == 2
    assert "--data" in done.stderr
