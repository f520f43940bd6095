"""Whatever fails, the table has every row once: `benchmarks/faults.py` and `benchmarks/kills.py` in short."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.commands import PROJECT, environment

NUM_KILLS = 6


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The part of the program that compares tables."""
    monkeypatch.syspath_prepend(str(PROJECT / "benchmarks"))
    from killing import table

    return table


WHOLE = [{"video": name, "clip": clip, "score": float(clip)} for name in ("a", "b") for clip in range(48)]


def test_a_row_that_is_lost_double_or_changed_is_counted_whatever_the_order(table: Any) -> None:
    expected = table.by_clip(pa.Table.from_pylist(WHOLE))

    def count(rows: list[dict[str, Any]], **options: bool) -> tuple[int, int, int]:
        found = table.compare(table.by_clip(pa.Table.from_pylist(rows, schema=SCHEMA)), expected, **options)
        assert bool(found) == any((found.lost, found.double, found.changed))
        return found.lost, found.double, found.changed

    assert count(WHOLE[::-1]) == (0, 0, 0)
    assert count(WHOLE[16:]) == (16, 0, 0)
    assert count(WHOLE[16:], is_whole=False) == (0, 0, 0)
    assert count([*WHOLE[:32], *WHOLE[:16], *WHOLE[48:]]) == (16, 16, 0)  # 48 rows of a segment, 32 of them different
    assert count([*WHOLE[1:], {"video": "a", "clip": 0, "score": 7.0}]) == (0, 0, 1)
    assert count([*WHOLE, {"video": "c", "clip": 0, "score": 0.0}]) == (0, 1, 0)
    assert count([]) == (96, 0, 0)


SCHEMA = pa.schema({"video": pa.string(), "clip": pa.int64(), "score": pa.float64()})


@pytest.mark.ray
@pytest.mark.nightly
def test_kills_of_each_process_in_each_phase_cost_no_row_and_double_and_change_none(tmp_path: Path) -> None:
    out = tmp_path / "report.json"
    program = PROJECT / "benchmarks" / "kills.py"
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


PAGE = PROJECT / "docs" / "reliability.md"
SHARE = (
    "clock-jumps", "disk-full", "disk-no-inodes", "disk-read-only", "open-files", "paused", "power-cut",
    "storage-stale", "storage-stale-deleted", "ten-on-one", "video-deleted", "video-truncated",
)  # fmt: skip
"""Faults that are tried for every change; those of disks are skipped where nothing may be mounted."""


def faults(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, PROJECT / "benchmarks" / "faults.py", *arguments]
    return subprocess.run(
        list(map(str, line)), env=environment(), capture_output=True, text=True, timeout=3600, check=False
    )


def test_the_page_has_the_table_of_what_was_tried_with_each_fault_and_no_row_lost() -> None:
    table = faults("--table").stdout
    page = PAGE.read_text()
    assert table in page, "put the output of `benchmarks/faults.py --table` there"
    for line in faults("--list").stdout.splitlines():
        assert f"`{line.split()[0]}`" in page, "try it, or say why it cannot be tried"
    lines = table.splitlines()[2:]
    assert len(lines) > 35
    for line in lines:
        _, _, _, tried, *rows, _ = (cell.strip() for cell in line.split("|"))
        assert int(tried) > 0
        assert rows == ["0", "0", "0"], line


@pytest.mark.slow
def test_a_share_of_all_faults_costs_no_row_and_doubles_and_changes_none(tmp_path: Path) -> None:
    out = tmp_path / "report.json"
    done = faults("--quick", "--times", "1", "--json", out, "--fault", *SHARE)
    found = json.loads(out.read_text())["faults"]
    assert done.returncode == 0, done.stdout + done.stderr
    assert set(found) == set(SHARE)
    for name, one in found.items():
        assert (one["lost"], one["double"], one["changed"], one["stalled"]) == (0, 0, 0, 0), done.stdout
        assert one["tried"] == 1 or (one["skipped"] and name.startswith(("disk", "power"))), done.stdout
