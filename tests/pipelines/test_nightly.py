"""jobs/nightly.yaml as it stands, on folders that grow between its runs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import fs

from tests.commands import PROJECT, command, environment, vidcnn
from tests.s3 import Server
from tests.videos import write_video
from vidcnn.storage.uris import open_filesystem

pytestmark = pytest.mark.ray

JOB = PROJECT / "jobs" / "nightly.yaml"


@pytest.fixture
def place(tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own, with the environment that the job asks for."""
    (tmp_path / "videos").mkdir()
    monkeypatch.setenv("VIDEOS", str(tmp_path / "videos"))
    monkeypatch.setenv("PREDICTIONS", str(tmp_path / "preds"))
    monkeypatch.setenv("MODEL", str(bundle))
    return tmp_path


def record(path: Path, num_frames: int, *, first_number: int = 0, age_seconds: float = 3600) -> None:
    write_video(path, num_frames, rate=15, first_number=first_number)
    age(path, age_seconds)


def age(path: Path, seconds: float) -> None:
    moment = time.time() - seconds
    os.utime(path, (moment, moment))


def run(*arguments: str | Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Run the job to a good end; return what it printed, and the report that it left."""
    result = vidcnn("run", JOB, "--json", "--quiet", *arguments)
    assert (result.returncode, result.stderr) == (0, "")
    folder = Path(os.environ["PREDICTIONS"]).with_suffix(".runs")
    return json.loads(result.stdout), json.loads(sorted(folder.iterdir())[-1].read_text())


def rows(out: Path) -> list[dict[str, Any]]:
    table = pq.read_table(out)
    index = table.schema.get_field_index("error_kind")
    table = table.set_column(index, "error_kind", table["error_kind"].cast(pa.string()))
    return table.sort_by([("video", "ascending"), ("clip", "ascending")]).to_pylist()


def num_rows_of(table: list[dict[str, Any]]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for row in table:
        counts[row["video"]] = counts.get(row["video"], 0) + 1
    return counts


def test_a_folder_whose_videos_are_all_being_written_is_left_to_the_next_run(place: Path) -> None:
    record(place / "videos" / "a.mp4", 20, age_seconds=0)
    result = vidcnn("run", JOB, "--quiet")
    assert (result.returncode, result.stderr) == (0, "")
    assert (
        result.stdout
        == f"{place}/preds: 0 videos, 0 predictions; this run: nothing to do, 0 videos done and 1 waiting\n"
    )
    (report,) = (json.loads(path.read_text()) for path in (place / "preds.runs").iterdir())
    assert (report["exit_code"], report["videos_listed"], report["videos_waiting"]) == (0, 1, 1)
    assert {path.name for path in place.iterdir()} == {"videos", "preds.runs"}


@pytest.mark.slow
def test_runs_over_a_folder_that_grows_make_the_rows_of_one_run_over_all_of_it(place: Path) -> None:
    videos, out = place / "videos", place / "preds"
    record(videos / "a.mp4", 40)
    record(videos / "b.mp4", 60)
    (videos / "bad.mp4").write_bytes(b"not a video")
    age(videos / "bad.mp4", 3600)
    whole = write_video(place / "whole.mp4", 90, rate=15, first_number=500).read_bytes()
    (videos / "c.mp4").write_bytes(whole[: len(whole) // 2])  # being copied

    printed, report = run("--set", "max_error_fraction=0.5")
    assert num_rows_of(rows(out)) == {"a.mp4": 3, "b.mp4": 4, "bad.mp4": 1}
    assert (printed["run"]["videos_done"], printed["run"]["videos_waiting"]) == (3, 1)
    assert (report["videos_done"], report["videos_waiting"], report["clips"]) == (3, 1, 7)
    assert (report["error_rows"], report["bad_videos"], report["table"]["videos"]) == ({"unreadable": 1}, 1, 3)
    before = [row for row in rows(out) if row["video"] == "b.mp4"]

    (videos / "c.mp4").write_bytes(whole)
    age(videos / "c.mp4", 600)
    record(videos / "deep.mp4", 33, age_seconds=600)
    record(videos / "b.mp4", 20, first_number=900, age_seconds=1)  # recorded anew just now
    printed, report = run("--set", "max_error_fraction=0.5")
    assert (report["videos_listed"], report["videos_done"], report["videos_waiting"]) == (5, 2, 1)
    assert [row for row in rows(out) if row["video"] == "b.mp4"] == before, "its old rows stay until it is settled"

    age(videos / "b.mp4", 600)
    printed, report = run("--set", "max_error_fraction=0.5")
    assert (report["videos_done"], report["videos_waiting"], report["clips"]) == (1, 0, 2)
    found = rows(out)
    assert len({(row["video"], row["clip"]) for row in found}) == len(found)

    result = vidcnn("infer", videos, "--out", place / "once", "--model", os.environ["MODEL"])
    assert result.returncode == 0
    assert found == rows(place / "once")
    idle, report = run("--set", "max_error_fraction=0.5")
    assert (idle["run"]["videos_done"], report["table"]["videos"], report["clips_per_second"]) == (0, 5, None)
    assert len(list((place / "preds.runs").iterdir())) == 4


@pytest.mark.slow
def test_two_starts_at_once_give_one_run_and_one_that_ends_with_75(place: Path) -> None:
    for index in range(6):
        record(place / "videos" / f"{index}.mp4", 200, first_number=100 * index)
    starts = [
        subprocess.Popen(command("run", JOB, "--quiet"), env=environment(), stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    errors = [start.communicate(timeout=400)[1] for start in starts]
    assert sorted(start.returncode for start in starts) == [0, 75], errors
    assert f"process {next(start.pid for start in starts if not start.returncode)} on" in "".join(errors)
    assert num_rows_of(rows(place / "preds")) == {f"{index}.mp4": 13 for index in range(6)}
    reports = [json.loads(path.read_text()) for path in (place / "preds.runs").iterdir()]
    assert sorted((report["exit_code"], report["clips"]) for report in reports) == [(0, 78), (75, 0)]
    shutil.rmtree(place / "preds.runs")
    assert {path.name for path in place.iterdir()} == {"videos", "preds"}


@pytest.mark.slow
def test_two_starts_at_once_on_an_output_in_object_storage_give_one_run_too(
    place: Path, s3: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = f"s3://bkt/night/preds.parquet{s3.query}"
    monkeypatch.setenv("PREDICTIONS", out)
    record(place / "videos" / "a.mp4", 200)
    starts = [
        subprocess.Popen(command("run", JOB, "--quiet"), env=environment(), stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    errors = [start.communicate(timeout=400)[1] for start in starts]
    assert sorted(start.returncode for start in starts) == [0, 75], errors
    assert f"process {next(start.pid for start in starts if not start.returncode)} on" in "".join(errors)
    filesystem, path = open_filesystem(out)
    assert pq.read_table(path, filesystem=filesystem).num_rows == 13
    infos = filesystem.get_file_info(fs.FileSelector("bkt/night", recursive=True))
    files = [info.path.removeprefix("bkt/night/") for info in infos if info.is_file]
    assert [name for name in files if not name.startswith("preds.runs/")] == ["preds.parquet"]
    reports = [json.loads(filesystem.open_input_file(f"bkt/night/{name}").read()) for name in files if "runs" in name]
    assert sorted((report["exit_code"], report["clips"]) for report in reports) == [(0, 13), (75, 0)]
