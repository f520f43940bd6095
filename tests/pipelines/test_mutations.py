"""Damaged and forged files give their rows: a share of `benchmarks/mutations.py`, and its parts."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.commands import PROJECT, environment
from tests.videos import write_video


@pytest.fixture(autouse=True)
def _benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(PROJECT / "benchmarks"))


def test_parts_cover_their_parents_and_lie_in_them(tmp_path: Path) -> None:
    from mutating.parts import parts_of

    for name, least in (("a.mp4", 20), ("a.mkv", 20), ("a.avi", 10), ("a.ts", 10), ("a.flv", 10)):
        data = write_video(tmp_path / name, 20).read_bytes()
        parts = parts_of(data)
        assert len(parts) >= least, name
        for part in parts:
            assert 0 <= part.start <= part.body <= part.end <= len(data)
            if part.parent >= 0:
                assert parts[part.parent].start < part.start <= part.end <= parts[part.parent].end


def test_every_change_changes_every_kind_of_file_and_is_the_same_each_time(tmp_path: Path) -> None:
    from mutating.changes import CHANGES, MAX_BYTES

    files = [write_video(tmp_path / name, 20).read_bytes() for name in ("a.mp4", "a.mkv", "a.ts")] + [
        random.Random(0).randbytes(500)
    ]
    for change in set(CHANGES):
        for data in files:
            made = [change(data, files, random.Random(seed)) for seed in range(6)]
            assert made == [change(data, files, random.Random(seed)) for seed in range(6)]
            assert any(one != data for one in made), change.__name__
            assert max(map(len, made)) < 3 * MAX_BYTES


def test_rows_that_do_not_fit_the_plan_are_faults(tmp_path: Path) -> None:
    from mutating.trial import Outcome, Trial, _faults_of

    path = write_video(tmp_path / "a.mp4", 100)
    trial = Trial()
    try:
        outcome = trial.run(path)
    finally:
        trial.close()
    assert (outcome.faults, outcome.num_planned, outcome.kinds) == ([], 4, {"prediction"})
    assert outcome.peak_bytes > 10 * 2**20
    rows = outcome.rows
    changed: list[Any] = [rows[:-1], [*rows, rows[0]], [(0, 0.0, 1.0, None, None, None), *rows[1:]]]
    changed += [[(0, 0.0, 1.0, None, None, "odd"), *rows[1:]], [(0, 1.0, 1.0, *rows[0][3:]), *rows[1:]]]
    for wrong in changed:
        assert list(_faults_of(Outcome(rows=wrong, num_planned=4)))
    assert list(_faults_of(Outcome(rows=rows, num_planned=None)))
    assert not list(_faults_of(Outcome(rows=[(None, None, None, None, None, "unreadable")], num_planned=None)))


@pytest.mark.slow
def test_damaged_files_give_their_rows_once_in_bounded_time_and_memory_and_leave_nothing(tmp_path: Path) -> None:
    out = tmp_path / "report.json"
    program = PROJECT / "benchmarks" / "mutations.py"
    line = [sys.executable, program, "--mutations", 150, "--minutes", 4, "--seed", 11, "--out", out]
    done = subprocess.run(
        list(map(str, line)), env=environment(), capture_output=True, text=True, timeout=900, check=False
    )
    report = json.loads(out.read_text())
    assert report["failures"] == [], done.stdout
    assert done.returncode == 0, done.stdout + done.stderr
    assert report["mutations"] >= 20, "the machine is too busy with other things to say anything"
    assert "prediction" in report["files_with_rows_of_kind"]


@pytest.mark.nightly
def test_a_video_of_twelve_hours_has_each_clip_once_in_bounded_memory(tmp_path: Path) -> None:
    from memory import repeat_video
    from mutating.trial import Trial

    short = write_video(tmp_path / "short.mp4", 600, rate=5)
    long = repeat_video(short, tmp_path / "long.mp4", 12 * 3600)
    trial = Trial()
    try:
        outcome = trial.run(long)
    finally:
        trial.close()
    num_frames = 600 * (12 * 3600 // 120 + 1)
    assert (outcome.faults, outcome.num_planned) == ([], -(-num_frames // 32))
    assert outcome.kinds == {"prediction"}
    assert outcome.rows[-1][2] == pytest.approx(num_frames / 5)
    assert outcome.peak_bytes < 600 * 2**20
