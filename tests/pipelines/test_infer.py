from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.commands import command, environment, make_tiny_bundle, vidcnn
from tests.videos import write_video
from vidcnn.errors import ERROR_KINDS
from vidcnn.predictions import Output

pytestmark = pytest.mark.ray

NUM_GOOD = 6


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_bundle(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Good videos of different lengths, and one of each kind of bad ones."""
    folder = tmp_path_factory.mktemp("source") / "videos"
    (folder / "deep" / "er").mkdir(parents=True)
    for index in range(NUM_GOOD):
        write_video(folder / f"good_{index}.mp4", 20 + 37 * index, rate=15, first_number=100 * index)
    write_video(folder / "deep" / "er" / "raw.h264", 30, container="h264")
    write_video(folder / "sound.mp4", 0, sound_only=True)
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "noise.avi").write_bytes(random.Random(0).randbytes(5000))
    (folder / "playlist.mp4").write_text("ffconcat version 1.0\nfile good_0.mp4\n")
    whole = (folder / "good_5.mp4").read_bytes()
    (folder / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    (folder / "notes.txt").write_text("not a video")
    return folder


@pytest.fixture(scope="module")
def finished(videos: Path, bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The table of an undisturbed run."""
    out = tmp_path_factory.mktemp("undisturbed") / "preds.parquet"
    with tempfile.TemporaryDirectory(prefix="v") as temporary:
        arguments = ("infer", videos, "--out", out, "--model", bundle, "--json", "--quiet")
        result = vidcnn(*arguments, extra={"RAY_TMPDIR": temporary})
        assert os.listdir(temporary) == []
    assert (result.returncode, result.stderr) == (0, ""), result.stderr
    summary = json.loads(result.stdout)
    assert summary["videos"] == NUM_GOOD + 6
    assert summary["run"]["ignored_files"] == {"txt": 1}
    return out


@pytest.fixture(scope="module")
def undisturbed(finished: Path) -> pa.Table:
    return pq.read_table(finished)


def rows(path: Path) -> pa.Table:
    """Return the rows of a file or a dataset."""
    return ordered(pq.read_table(path))


def ordered(table: pa.Table) -> pa.Table:
    """Return rows in a fixed order, with kinds of errors by name: their numbers depend on which came first."""
    index = table.schema.get_field_index("error_kind")
    table = table.set_column(index, "error_kind", table["error_kind"].cast(pa.string()))
    return table.sort_by([("video", "ascending"), ("clip", "ascending")])


def test_every_video_has_its_rows_and_every_bad_one_its_kind(undisturbed: pa.Table) -> None:
    frame = undisturbed.to_pandas()
    clips = frame[frame.error.isna()].groupby("video").size().to_dict()
    expected = {f"good_{index}.mp4": -(-(20 + 37 * index) // 16) for index in range(NUM_GOOD)}
    assert clips == expected | {"deep/er/raw.h264": 2}
    kinds = frame[frame.error.notna()].set_index("video").error_kind.to_dict()
    assert kinds == {
        "sound.mp4": "no_video",
        "empty.mp4": "unreadable",
        "noise.avi": "unreadable",
        "playlist.mp4": "unsafe",
        "cut.mp4": "truncated",
    }
    assert set(kinds.values()) <= set(ERROR_KINDS)
    good = frame[frame.error.isna()]
    assert (good.label == good.top_labels.str[0]).all()
    assert (good.top_scores.map(sum) - 1).abs().max() < 1e-5  # four classes, and five are kept
    one = good[good.video == "good_0.mp4"]
    assert one["clip"].tolist() == [0, 1]
    assert one.start_seconds.tolist() == pytest.approx([0, 16 / 15])
    assert one.end_seconds.tolist() == pytest.approx([16 / 15, 20 / 15])


def test_other_readers_see_the_same_rows(undisturbed: pa.Table, tmp_path: Path) -> None:
    path = tmp_path / "preds.parquet"
    pq.write_table(undisturbed, path)
    count = undisturbed.num_rows
    assert len(pd.read_parquet(path)) == len(pl.read_parquet(path)) == count
    assert duckdb.sql(f"select count(*) from '{path}'").fetchall() == [(count,)]
    assert duckdb.sql(f"select count(*) from '{path}' where error_kind = 'truncated'").fetchall() == [(1,)]


def test_a_second_run_does_what_is_new_or_changed_and_nothing_else(videos: Path, bundle: Path, tmp_path: Path) -> None:
    source = tmp_path / "videos"
    source.mkdir()
    for index in range(3):
        shutil.copy(videos / f"good_{index}.mp4", source)
    arguments = ("infer", source, "--out", tmp_path / "preds", "--model", bundle, "--json", "--quiet")
    assert json.loads(vidcnn(*arguments).stdout)["run"]["videos_done"] == 3
    first = rows(tmp_path / "preds")

    again = json.loads(vidcnn(*arguments).stdout)
    assert again["run"]["videos_done"] == 0
    assert rows(tmp_path / "preds").equals(first)

    shutil.copy(videos / "good_3.mp4", source / "good_1.mp4")
    shutil.copy(videos / "good_4.mp4", source)
    third = json.loads(vidcnn(*arguments).stdout)
    assert third["run"]["videos_done"] == 2
    now = rows(tmp_path / "preds").to_pandas().groupby("video").size().to_dict()
    assert now == {"good_0.mp4": 2, "good_1.mp4": 9, "good_2.mp4": 6, "good_4.mp4": 11}


def test_other_settings_on_the_same_output_are_refused_by_name(
    videos: Path, bundle: Path, finished: Path, tmp_path: Path
) -> None:
    out = shutil.copy(finished, tmp_path)
    result = vidcnn("infer", videos, "--out", out, "--model", bundle, "--quiet", "--stride", "2")
    assert result.returncode == 1
    assert "clip_stride was null, now 2" in result.stderr
    assert "Traceback" not in result.stderr
    assert Path(out).read_bytes() == finished.read_bytes()


def test_too_many_bad_videos_among_the_first_ones_end_with_3_and_a_whole_table(
    videos: Path, bundle: Path, tmp_path: Path
) -> None:
    out = tmp_path / "p.parquet"
    arguments = ("infer", videos / "good_*", videos / "empty.mp4", "--out", out, "--model", bundle, "--quiet")
    result = vidcnn(*arguments, "--limit", "2", "--max-error-fraction", "0.4")
    assert result.returncode == 3
    assert "1 of 2 videos are bad" in result.stderr
    assert pq.read_table(out)["video"].to_pylist() == ["empty.mp4", "good_0.mp4", "good_0.mp4"]


def test_dry_run_counts_clips_and_writes_nothing(
    videos: Path, bundle: Path, undisturbed: pa.Table, tmp_path: Path
) -> None:
    result = vidcnn("infer", videos, "--out", tmp_path / "p.parquet", "--model", bundle, "--dry-run", "--json")
    plan = json.loads(result.stdout)
    whole = [row for row in undisturbed.to_pylist() if row["clip"] is not None]
    assert plan["clips"] == len(whole)
    assert {bad["video"] for bad in plan["bad_videos"]} == {
        row["video"] for row in undisturbed.to_pylist() if row["clip"] is None
    }
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("trial", ["--dry-run", "--estimate"])
def test_a_trial_makes_nothing_of_a_misspelt_output(videos: Path, bundle: Path, tmp_path: Path, trial: str) -> None:
    out = tmp_path / "no" / "such" / "folder" / "p.parquet"
    result = vidcnn("infer", videos / "good_0.mp4", "--out", out, "--model", bundle, trial, "--json", timeout=600)
    assert result.returncode == 0, result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_tells_that_the_output_is_held_or_has_other_settings(
    videos: Path, bundle: Path, finished: Path, tmp_path: Path
) -> None:
    out = tmp_path / "p.parquet"
    shutil.copy(finished, out)
    arguments = ("infer", videos, "--out", out, "--model", bundle, "--dry-run")
    other = vidcnn(*arguments, "--stride", "2", timeout=600)
    assert other.returncode == 1
    assert "was written with other clips: stride 1, now 2" in other.stderr
    with Output.open(str(out), schema=pq.read_schema(out)):
        held = vidcnn(*arguments, timeout=600)
    assert held.returncode == 75
    assert "held by another run" in held.stderr
    assert list(tmp_path.iterdir()) == [out]


def descendants(process: subprocess.Popen[str]) -> list[psutil.Process]:
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


@pytest.mark.parametrize("sent", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_an_interrupted_run_says_so_and_leaves_no_process(
    videos: Path, bundle: Path, tmp_path: Path, sent: signal.Signals
) -> None:
    out = tmp_path / "preds.parquet"
    arguments = ("infer", videos, "--out", out, "--model", bundle, "--quiet")
    process = subprocess.Popen(command(*arguments), env=environment(), stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not any("raylet" in child.name() for child in descendants(process)) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(2)
    started = descendants(process)
    process.send_signal(sent)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert stderr.splitlines()[0] == "vidcnn: interrupted"
    _, alive = psutil.wait_procs(started, timeout=15)
    assert alive == []


def killed_and_continued(arguments: tuple[str | Path, ...], delays: list[float]) -> list[psutil.Process]:
    """Start a command and kill it with SIGKILL, once for each delay, then let it end.

    Returns:
        Processes of the killed commands. Nobody waits for them: Ray's agents take half a minute to notice.
    """
    left: list[psutil.Process] = []
    for delay in delays:
        process = subprocess.Popen(command(*arguments), env=environment(), stderr=subprocess.DEVNULL, text=True)
        try:
            process.wait(delay)
        except subprocess.TimeoutExpired:
            left += descendants(process)
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
    result = vidcnn(*arguments)
    assert (result.returncode, result.stderr) == (0, "")
    return left


def test_a_killed_run_continues_to_the_same_rows(
    videos: Path, bundle: Path, undisturbed: pa.Table, tmp_path: Path
) -> None:
    out = tmp_path / "preds.parquet"
    killed_and_continued(("infer", videos, "--out", out, "--model", bundle, "--quiet"), [6.0])
    assert pq.read_table(out).equals(undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["preds.parquet", "preds"])
def test_ten_kills_at_random_moments_change_no_row(
    videos: Path, bundle: Path, undisturbed: pa.Table, tmp_path: Path, name: str
) -> None:
    moments = random.Random(name)
    delays = [moments.uniform(0.5, 16.0) for _ in range(10)]
    out = tmp_path / name
    left = killed_and_continued(("infer", videos, "--out", out, "--model", bundle, "--quiet"), delays)
    assert rows(out).equals(ordered(undisturbed))
    _, alive = psutil.wait_procs(left, timeout=90)
    assert alive == []


@pytest.mark.slow
def test_a_second_run_at_the_same_time_ends_with_75(videos: Path, bundle: Path, tmp_path: Path) -> None:
    arguments = ("infer", videos, "--out", tmp_path / "preds", "--model", bundle, "--quiet")
    first = subprocess.Popen(command(*arguments), env=environment(), stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while not (tmp_path / ".preds.vidcnn" / "lock").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        second = vidcnn(*arguments)
        assert second.returncode == 75
        assert "another run" in second.stderr or "busy" in second.stderr or str(first.pid) in second.stderr
    finally:
        first.send_signal(signal.SIGINT)
        first.wait(60)
