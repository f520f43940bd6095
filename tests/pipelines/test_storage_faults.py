"""Storage that fails for a while condemns no video: what could not be read is left undone, and done by the next run."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.commands import vidcnn
from tests.faulty_s3 import Fault, faulty
from tests.s3 import Server
from tests.videos import write_video

pytestmark = pytest.mark.ray


def kinds(out: Path) -> dict[str, set[str | None]]:
    found: dict[str, set[str | None]] = {}
    for row in pq.read_table(out).to_pylist():
        found.setdefault(row["video"].rpartition("/")[2], set()).add(row["error_kind"])
    return found


@pytest.mark.parametrize(
    "fault",
    [
        *(pytest.param(fault, marks=pytest.mark.slow) for fault in ("error", "denied")),
        *(pytest.param(fault, marks=pytest.mark.nightly) for fault in ("short", "cut")),
    ],
)
def test_object_storage_that_lists_well_and_fails_to_read_leaves_videos_to_the_next_run(
    s3: Server, bundle: Path, tmp_path: Path, fault: Fault
) -> None:
    for name in ("good", "late", "later"):
        s3.put(f"in/{name}.mp4", body=write_video(tmp_path / f"{name}.mp4", 60, rate=15).read_bytes())
    s3.put("in/noise.mp4", body=b"noise" * 200)
    with faulty(s3, match="late") as proxy:
        out = tmp_path / "preds.parquet"
        arguments = ("infer", proxy.location("bkt/in"), "--out", out, "--model", bundle, "--json")
        proxy.fail(fault)
        first = vidcnn(*arguments, timeout=600)
        assert proxy.num_faults > 3  # it was asked again
        assert first.returncode == 1, first.stderr
        assert "late.mp4 and 1 more could not be read through no fault of the file: it cannot be read" in first.stderr
        assert "the same command continues with these" in first.stderr
        assert "Traceback" not in first.stderr
        assert json.loads(first.stdout)["run"]["videos_undone"] == 2
        assert kinds(out) == {"good.mp4": {None}, "noise.mp4": {"unreadable"}}

        proxy.fail("none")
        second = vidcnn(*arguments, timeout=600)
        assert second.returncode == 0, second.stderr
        assert json.loads(second.stdout)["run"]["videos_done"] == 2
        assert kinds(out) == {"good.mp4": {None}, "late.mp4": {None}, "later.mp4": {None}, "noise.mp4": {"unreadable"}}


def test_a_folder_that_cannot_be_listed_is_an_error_and_no_row(s3: Server, bundle: Path, tmp_path: Path) -> None:
    s3.put("in/a.mp4", body=write_video(tmp_path / "a.mp4", 20).read_bytes())
    with faulty(s3) as proxy:
        proxy.fail("list_error")
        out = tmp_path / "preds.parquet"
        done = vidcnn("infer", proxy.location("bkt/in"), "--out", out, "--model", bundle, timeout=600)
    assert done.returncode == 1
    assert "cannot be read" in done.stderr
    assert not out.exists()
