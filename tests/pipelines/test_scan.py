"""A scan has one row for each video, continues what was interrupted, and finds what is there twice."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from tests.commands import command, environment, wait_until
from tests.scans import write_scenes
from vidcnn.config import InferSpec, ScanSpec
from vidcnn.errors import OutputBusyError, SettingsDifferError, SourceError, VideoError
from vidcnn.pipelines.infer import run_inference
from vidcnn.pipelines.scan import run_scan
from vidcnn.predictions.output_storage import open_storage
from vidcnn.reporting.scan_text import ScanReport
from vidcnn.sampling.segments import ClipSpec, Sampling
from vidcnn.sandbox import seccomp
from vidcnn.sources import Listing
from vidcnn.video.attempts import plan_in_cell
from vidcnn.video.cell import Cell
from vidcnn.video.planning import PlanSettings

FAST = {"preset": "ultrafast"}
MOVING = ("moving", 8.0)


def scan(source: Path, out: Path, **values: Any) -> ScanReport:
    return run_scan(ScanSpec(source=(str(source),), out=str(out), **values), show_progress=False)


def rows(out: Path) -> dict[str, dict[str, Any]]:
    table = pq.read_table(out) if out.is_file() else ds.dataset(out, format="parquet").to_table()
    found = table.to_pylist()
    assert len({row["video"] for row in found}) == len(found)
    return {row["video"]: row for row in found}


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """Some videos, with copies of one that are alike, encoded again or scaled, or in another container."""
    folder = tmp_path / "videos"
    folder.mkdir()
    write_scenes(folder / "b.mp4", MOVING, options=FAST, seed=1)
    shutil.copy(folder / "b.mp4", folder / "copy.mp4")
    write_scenes(folder / "scaled.mkv", MOVING, size=(192, 256), options=FAST | {"crf": "32"}, seed=1)
    write_scenes(folder / "other_codec.avi", MOVING, codec="mpeg4", options={"qscale": "6"}, seed=1)
    write_scenes(folder / "unlike.mp4", MOVING, options=FAST, seed=2)
    (folder / "text.mp4").write_text("no video")
    return folder


def repeated(found: dict[str, dict[str, Any]]) -> dict[str, tuple[str | None, str | None]]:
    pairs = {name: (row["duplicate_of"], row["near_duplicate_of"]) for name, row in found.items()}
    return {name: pair for name, pair in pairs.items() if pair != (None, None)}


@pytest.mark.parametrize("name", ["scan.parquet", "scan"])
def test_what_is_there_twice_is_found_also_among_what_an_earlier_run_scanned(
    name: str, videos: Path, tmp_path: Path
) -> None:
    out = tmp_path / name
    report = scan(videos, out)
    assert (report.num_videos, report.num_videos_done, report.summary.num_videos) == (6, 6, 6)
    found = rows(out)
    assert set(found) == {"b.mp4", "copy.mp4", "scaled.mkv", "other_codec.avi", "unlike.mp4", "text.mp4"}
    assert repeated(found) == {
        "copy.mp4": ("b.mp4", None),
        "scaled.mkv": (None, "b.mp4"),
        "other_codec.avi": (None, "b.mp4"),
    }
    assert {name for name, row in found.items() if row["error"]} == {"text.mp4"}

    shutil.copy(videos / "unlike.mp4", videos / "a.mp4")  # before all others by name
    write_scenes(videos / "copy.mp4", MOVING, options=FAST, seed=3)  # no longer a copy
    report = scan(videos, out)
    assert (report.num_videos, report.num_videos_done, report.summary.num_videos) == (7, 2, 7)
    assert repeated(rows(out)) == {
        "scaled.mkv": (None, "b.mp4"),
        "other_codec.avi": (None, "b.mp4"),
        "unlike.mp4": ("a.mp4", None),
    }
    assert scan(videos, out).num_videos_done == 0
    assert (report.summary.same.num_videos, report.summary.near.num_videos) == (1, 2)


def test_the_root_of_the_source_is_recorded(videos: Path, tmp_path: Path) -> None:
    scan(videos, tmp_path / "scan.parquet", quick=True)
    metadata = pq.read_metadata(tmp_path / "scan.parquet").metadata
    assert f'"source_root": "{videos}"'.encode() in metadata[b"vidcnn.settings"]


def test_other_settings_are_refused_and_a_table_of_another_kind_is(videos: Path, tmp_path: Path) -> None:
    scan(videos, tmp_path / "scan.parquet", quick=True)
    with pytest.raises(SettingsDifferError, match="quick on, now off"):
        scan(videos, tmp_path / "scan.parquet")


def test_an_output_that_another_run_holds_is_left_alone(videos: Path, tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path / "scan.parquet"))
    try:
        with pytest.raises(OutputBusyError):
            scan(videos, tmp_path / "scan.parquet")
    finally:
        storage.close()


def test_errors_are_done_again_when_that_is_wanted(videos: Path, tmp_path: Path) -> None:
    out = tmp_path / "scan.parquet"
    scan(videos, out, quick=True)
    assert scan(videos, out, quick=True, redo_errors="timeout").num_videos_done == 0
    assert scan(videos, out, quick=True, redo_errors="unreadable").num_videos_done == 1
    assert len(rows(out)) == 6


def test_predictions_are_made_of_those_videos_of_a_scan_that_are_meant(
    videos: Path, tmp_path: Path, bundle: Path
) -> None:
    table, out = tmp_path / "scan.parquet", tmp_path / "preds.parquet"
    scan(videos, table)

    def infer(**values: Any) -> set[str]:
        out.unlink(missing_ok=True)
        spec = InferSpec(source=(str(table),), out=str(out), model=str(bundle), num_clips=1, **values)
        run_inference(spec, show_progress=False)
        return set(pq.read_table(out)["video"].to_pylist())

    unlike = {"b.mp4", "unlike.mp4"}
    assert infer() == {video.name for video in Listing([str(videos)])}
    assert infer(where="readable and duplicate_of is null and near_duplicate_of is null") == unlike
    assert infer(where="container == 'mp4' and error is null and duplicate_of is null") == unlike
    assert infer(where="not readable") == {"text.mp4"}
    with pytest.raises(SettingsDifferError, match=r"preds\.parquet is a table of predictions, not a scan"):
        scan(videos, out)
    with pytest.raises(SettingsDifferError, match=r"scan\.parquet is a scan, not a table of predictions"):
        run_inference(InferSpec(source=(str(videos),), out=str(table), model=str(bundle)), show_progress=False)


def test_each_name_of_a_file_has_a_row_and_so_has_what_holds_nothing(tmp_path: Path) -> None:
    """Links, hard and symbolic, in the source and out of it; an empty file; a folder that cannot be read."""
    folder, out = tmp_path / "videos", tmp_path / "scan.parquet"
    (folder / "sub").mkdir(parents=True)
    write_scenes(folder / "a.mp4", ("moving", 2), options=FAST)
    write_scenes(tmp_path / "outside.mp4", ("moving", 2), options=FAST, seed=1)
    os.link(folder / "a.mp4", folder / "sub/hard.mp4")
    os.symlink("a.mp4", folder / "symbolic.mp4")
    os.symlink("gone.mp4", folder / "broken.mp4")
    os.symlink(tmp_path / "outside.mp4", folder / "out.mp4")
    os.symlink("sub", folder / "again")  # a folder is listed once
    (folder / "empty.mp4").touch()
    report = scan(folder, out)
    assert report.num_videos == 6
    found = rows(out)
    assert {name: row["error_kind"] for name, row in found.items()} == {
        "a.mp4": None,
        "sub/hard.mp4": None,
        "symbolic.mp4": None,
        "broken.mp4": "unreadable",
        "out.mp4": "unsafe",
        "empty.mp4": "unreadable",
    }
    assert repeated(found) == {"sub/hard.mp4": ("a.mp4", None), "symbolic.mp4": ("a.mp4", None)}
    assert (found["out.mp4"]["content_hash"], found["out.mp4"]["size_bytes"]) == (None, 0)
    assert "empty" in found["empty.mp4"]["error"]
    assert "broken symbolic link" in found["broken.mp4"]["error"]
    assert scan(folder, tmp_path / "followed.parquet", follow_links=True).summary.num_readable == 4

    (folder / "empty.mp4").write_bytes((folder / "a.mp4").read_bytes())  # what was being copied is there now
    assert scan(folder, out).num_videos_done == 1
    assert repeated(rows(out))["empty.mp4"] == ("a.mp4", None)


def test_a_folder_that_vanishes_while_the_source_is_listed_is_told_of_and_nothing_else_is_lost(tmp_path: Path) -> None:
    folder = tmp_path / "videos"
    for name in ("a.mp4", "sub/b.mp4", "z/c.mp4"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("no video")
    listing = iter(Listing([str(folder)]))
    assert next(listing).name == "a.mp4"
    shutil.rmtree(folder / "sub")
    assert {(video.name, video.error_kind) for video in listing} == {("sub", "unreadable"), ("z/c.mp4", None)}


def test_predictions_are_of_what_a_video_is_now_and_it_is_said_where_it_has_changed_since_the_scan(
    videos: Path, tmp_path: Path, bundle: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    table, out = tmp_path / "scan.parquet", tmp_path / "preds.parquet"
    scan(videos, table)
    write_scenes(videos / "b.mp4", ("moving", 3), options=FAST, seed=5)
    (videos / "unlike.mp4").unlink()
    values: dict[str, Any] = {"where": "container == 'mp4' and duplicate_of is null and duration_seconds > 5"}
    spec = InferSpec(source=(str(table),), out=str(out), model=str(bundle), num_clips=1, **values)
    report = run_inference(spec, show_progress=False)
    notice = f"1 video has changed since '{table}' was written, such as b.mp4: --where goes by what was there then"
    assert [text.partition(";")[0] for text in report.notices] == [notice]
    assert notice in capfd.readouterr().err
    found = {row["video"]: row for row in pq.read_table(out).to_pylist()}
    assert found["b.mp4"]["end_seconds"] <= 3
    assert (found["unlike.mp4"]["error_kind"], len(found)) == ("unreadable", 2)

    assert scan(videos, table).num_videos_done == 1  # what is new; a video that is gone keeps its row
    out.unlink()
    with pytest.raises(SourceError, match="no row of the list"):
        run_inference(spec.model_copy(update={"where": "duration_seconds < 1"}), show_progress=False)
    report = run_inference(spec.model_copy(update={"where": "duration_seconds < 5"}), show_progress=False)
    assert (report.notices, set(pq.read_table(out)["video"].to_pylist())) == ((), {"b.mp4"})


@pytest.mark.slow
def test_a_scan_that_was_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    folder, out = tmp_path / "videos", tmp_path / "scan"
    folder.mkdir()
    for index in range(40):
        write_scenes(folder / f"{index:02}.mp4", ("moving", 4), options=FAST, seed=index)
    whole = tmp_path / "whole.parquet"
    scan(folder, whole)
    arguments = command("scan", folder, "--out", out, "--decoders", "1", "--quiet")
    process = subprocess.Popen(arguments, env=environment())
    try:
        wait_until(lambda: list(out.glob("part-*.parquet")) or process.poll() is not None, seconds=120)
    finally:
        process.kill()
        process.wait()
    report = scan(folder, out)
    assert report.num_videos == 40
    assert rows(out) == rows(whole)


@pytest.mark.ray
def test_rows_are_the_same_on_ray(videos: Path, tmp_path: Path) -> None:
    scan(videos, tmp_path / "here.parquet")
    report = scan(videos, tmp_path / "ray.parquet", in_process="off")
    assert pq.read_table(tmp_path / "here.parquet").equals(pq.read_table(tmp_path / "ray.parquet"))
    ((_, strength),) = report.confinement.items()
    assert strength.seccomp is seccomp.is_there()


@pytest.mark.real
@pytest.mark.slow
def test_real_videos_have_one_row_each_with_the_error_that_planning_gives(real_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "scan.parquet"
    scan(real_data / "videos", out)
    found = rows(out)
    listed = list(Listing([str(real_data / "videos")]))
    assert set(found) == {video.name for video in listed}
    settings = PlanSettings(ClipSpec(Sampling(16, fps=15)), 25.0, 8192 * 8192)
    with Cell() as cell:
        plans = dict(plan_in_cell(listed, settings, cell))
    for index, video in enumerate(listed):
        plan, row = plans[index], found[video.name]
        if isinstance(plan, VideoError):
            assert (row["error_kind"], row["error"], row["readable"]) == (plan.kind, plan.message, False), video.name
        else:
            assert row["num_frames"] > 0
            assert row["duration_seconds"] > 0
        assert os.path.getsize(video.location) == row["size_bytes"]
        assert row["content_hash"]
