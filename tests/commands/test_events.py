from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.commands import vidcnn
from tests.events.cases import write_table
from vidcnn import cli

FIGHT = [0.1] * 20 + [0.9] * 10 + [0.1] * 20
TRUTH = "video,label,start_seconds,end_seconds\ncam/a,fight,20.5,30.5\n"


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("events") / "preds.parquet"
    return write_table(out, {"bad.mp4": None, "cam/a.mp4": FIGHT, "cam/b.mp4": [0.1] * 5})


def test_from_a_table_to_events_and_their_measure(table: Path, tmp_path: Path) -> None:
    (tmp_path / "truth.csv").write_text(TRUTH)
    shown = vidcnn("events", table, "--label", "fight", cwd=tmp_path)
    assert (shown.returncode, shown.stderr) == (0, "")
    lines = shown.stdout.splitlines()
    assert lines[0] == f"{table}: 1 event in 1 of 3 videos, 11 s"
    assert lines[1] == "  1 row of errors: nothing is known of what these stand for"
    assert lines[-2:] == ["cam/a.mp4", "   0:00:20.0 -  0:00:31.0   83%  fight"]

    tuned = vidcnn("events", "tune", table, "--truth", "truth.csv", "--out", "rules.json", "--json", cwd=tmp_path)
    assert json.loads(tuned.stdout)["labels"]["fight"]["f1"] == 1.0
    arguments = ["--rules", "rules.json", "--label", "fight", "--out", "events.csv", "--json"]
    found = vidcnn("events", "--threshold", "0.9", table, *arguments, cwd=tmp_path)
    assert json.loads(found.stdout)["events"] == 1
    measured = vidcnn("events", "evaluate", "events.csv", "--truth", "truth.csv", "--json", cwd=tmp_path)
    reached = json.loads(measured.stdout)
    assert (reached["map"]["0.5"], reached["map"]["0.95"], reached["known"], reached["left_out"]) == (1, 0, 1, 0)
    assert "mean" in vidcnn("events", "evaluate", "events.csv", "--truth", "truth.csv", cwd=tmp_path).stdout


@pytest.mark.parametrize(
    ("arguments", "exit_code", "message"),
    [
        (["--label=figt"], 2, "did you mean fight?"),
        (["--end-threshold=0.7"], 2, "the lower one is at most the upper one"),
        (["--out=events"], 2, "the format of --out events is not known"),
        (["--rules=none.json"], 1, "'none.json' cannot be read"),
    ],
)
def test_what_does_not_fit_is_told(table: Path, arguments: list[str], exit_code: int, message: str) -> None:
    done = vidcnn("events", table, *arguments)
    assert (done.returncode, done.stdout) == (exit_code, "")
    assert message in done.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], []])
def test_its_help_names_its_commands(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    cli._run(["events", *arguments])
    shown = capsys.readouterr().out
    assert all(name in shown for name in ("find", "tune", "evaluate"))
