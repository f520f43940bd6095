from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.commands import vidcnn
from tests.s3 import Server

REPORT = {
    "started": "2026-11-22T02:00:00.000Z", "seconds": 3725.0, "exit_code": 0, "error": None, "videos_done": 1200,
    "clips": 34000, "clips_per_second": 12.25, "limited_by": "decode-bound: the model idle 20%",
}  # fmt: skip
FAILED = {
    "started": "2026-11-23T02:00:00.000Z", "seconds": 2.0, "exit_code": 1, "videos_done": 0, "clips": 0,
    "error": {"message": "the weights could not be downloaded from where they are", "hint": ""},
}  # fmt: skip


def leave(folder: Path, **reports: Any) -> None:
    folder.mkdir()
    for name, report in reports.items():
        (folder / f"{name}.json").write_text(json.dumps(report))


def test_runs_are_listed_with_what_they_did_and_how_they_ended(tmp_path: Path) -> None:
    stopped = {**FAILED, "started": "2026-11-24T02:00:00.000Z", "exit_code": 130}
    leave(tmp_path / "preds.runs", b=REPORT, a=FAILED, c=stopped, other={"x": 1})
    (tmp_path / "preds.runs" / "half.json").write_text("{")
    done = vidcnn("runs", tmp_path / "preds.parquet")
    assert (done.returncode, done.stderr) == (0, "")
    heading = done.stdout.splitlines()[0]
    assert heading.split("  ")[0] == "started (UTC)"
    assert heading.rstrip().endswith("limited by")
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()[2:]]
    assert lines == [
        "2026-11-22 02:00:00 1 h 2 min 1,200 34,000 12.2 done decode-bound",
        "2026-11-23 02:00:00 2 s 0 0 failed (1): the weights could not be downloaded from...",
        "2026-11-24 02:00:00 2 s 0 0 interrupted",
    ]
    last = vidcnn("runs", tmp_path / "preds", "--last", "1", "--json")
    assert json.loads(last.stdout) == [stopped]


def test_what_is_no_report_is_left_out(tmp_path: Path) -> None:
    wrong = {"videos_done": "x"}, {"error": "boom"}, {"exit_code": [1]}
    leave(tmp_path / "preds.runs", **{f"w{index}": {**REPORT, **one} for index, one in enumerate(wrong)})
    (tmp_path / "preds.runs" / "folder.json").mkdir()
    assert vidcnn("runs", tmp_path / "preds.parquet").returncode == 1
    (tmp_path / "preds.runs" / "right.json").write_text(json.dumps(REPORT))
    assert json.loads(vidcnn("runs", tmp_path / "preds.parquet", "--json").stdout) == [REPORT]


def test_an_output_without_reports_says_how_to_have_them(tmp_path: Path) -> None:
    done = vidcnn("runs", tmp_path / "preds.parquet")
    assert done.returncode == 1
    assert "there are no reports of runs of" in done.stderr
    assert "--report" in done.stderr


def test_reports_are_read_where_the_output_is(s3: Server) -> None:
    s3.put("preds.runs/a.json", body=json.dumps(REPORT).encode())
    done = vidcnn("runs", f"s3://bkt/preds.parquet{s3.query}", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [REPORT]
