"""Processes are killed in every phase of a run, and the table has every row once: `benchmarks/faults.py` in short."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import PROJECT, environment

NUM_KILLS = 6


@pytest.mark.ray
@pytest.mark.slow
def test_kills_of_each_process_in_each_phase_cost_no_row_and_double_and_change_none(tmp_path: Path) -> None:
    out = tmp_path / "report.json"
    program = PROJECT / "benchmarks" / "faults.py"
    line = [sys.executable, program, "--kills", NUM_KILLS, "--seed", 8, "--short", "--out", out]
    done = subprocess.run(
        list(map(str, line)), env=environment(), capture_output=True, text=True, timeout=3600, check=False
    )
    report = json.loads(out.read_text())
    assert report["rows"] == {"lost": 0, "double": 0, "changed": 0}, done.stdout
    assert (done.returncode, report["kills"]) == (0, NUM_KILLS), done.stdout + done.stderr
    met = {(record["victim"], record["phase"]) for record in report["records"]}
    assert {victim for victim, _ in met} == {"driver", "decoder", "task", "actor", "raylet"}
    assert {phase for _, phase in met} == {"plan", "decode", "commit", "publish"}
    storages = {record["table"] for record in report["records"]}
    assert len(storages) >= 3, "files and folders, on a disk and in object storage"
