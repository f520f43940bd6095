from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.commands import PROJECT, command, environment, vidcnn, wait_until
from tests.videos import write_video
from vidcnn.errors import ERROR_KINDS
from vidcnn.predictions import Output

pytestmark = pytest.mark.ray

NUM_GOOD = 6


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
    assert summary["run"]["in_process"] is True
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
    assert list(third["run"]["confinement"]) == [socket.gethostname()]
    now = rows(tmp_path / "preds").to_pandas().groupby("video").size().to_dict()
    assert now == {"good_0.mp4": 2, "good_1.mp4": 9, "good_2.mp4": 6, "good_4.mp4": 11}


def test_other_settings_on_the_same_output_are_refused_by_name(
    videos: Path, bundle: Path, finished: Path, tmp_path: Path
) -> None:
    out = shutil.copy(finished, tmp_path)
    result = vidcnn("infer", videos, "--out", out, "--model", bundle, "--quiet", "--stride", "2")
    assert result.returncode == 1
    assert "was written with other clips: fps 15, now none, stride none, now 2" in result.stderr
    assert "Traceback" not in result.stderr
    assert Path(out).read_bytes() == finished.read_bytes()


def test_rows_of_classes_with_other_names_are_not_added_to_a_table(
    videos: Path, bundle: Path, finished: Path, tmp_path: Path
) -> None:
    out = shutil.copy(finished, tmp_path)
    renamed = shutil.copytree(bundle, tmp_path / "renamed")
    card = json.loads((renamed / "model.json").read_text())
    before, card["labels"] = card["labels"][0], ["another", *card["labels"][1:]]
    (renamed / "model.json").write_text(json.dumps(card))
    result = vidcnn("infer", videos, "--out", out, "--model", renamed, "--quiet")
    assert result.returncode == 1
    assert f"was written with other labels: {before}, now another" in result.stderr
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


def test_clips_longer_than_their_videos_are_said_before_a_run(videos: Path, bundle: Path, tmp_path: Path) -> None:
    arguments = (
        "infer",
        videos / "good_*",
        "--out",
        tmp_path / "p.parquet",
        "--model",
        bundle,
        "--num-frames",
        "10000",
    )
    told = vidcnn(*arguments, "--dry-run").stdout.splitlines()
    assert told[1].startswith(
        "6 of 6 clips are longer than their videos: the last frame is repeated; --short-clips drop"
    )


@pytest.mark.slow
def test_clips_longer_than_their_videos_are_counted_by_a_run(videos: Path, bundle: Path, tmp_path: Path) -> None:
    arguments = ("infer", videos / "good_*", "--out", tmp_path / "p.parquet", "--model", bundle, "--num-frames", "100")
    result = vidcnn(*arguments, "--json", "--quiet", "--report")
    run = json.loads(result.stdout)["run"]
    # The videos have 20, 57, 94, 131, 168 and 205 frames; the tails of the longer three are as usual.
    assert (run["short_clips"], run["clips_done"]) == (3, 3 + 2 + 2 + 3)
    assert run["notices"][0].startswith("3 of 10 clips are longer than their videos: the last frame is repeated")
    (report,) = (tmp_path / "p.runs").iterdir()
    assert json.loads(report.read_text())["notices"] == run["notices"]
    assert json.loads(vidcnn(*arguments, "--json", "--quiet").stdout)["run"]["short_clips"] == 0


@pytest.mark.slow
def test_batches_larger_than_the_source_are_made_smaller_with_a_notice(
    videos: Path, bundle: Path, tmp_path: Path, finished: Path
) -> None:
    out = tmp_path / "preds.parquet"
    done = vidcnn("infer", videos, "--out", out, "--model", bundle, "--batch-size", "100000", "--json")
    (notice,) = json.loads(done.stdout)["run"]["notices"]
    assert re.fullmatch(r"the model takes \d+ clips at once, not 100,000: more would need memory .*", notice)
    assert f"vidcnn: {notice}" in done.stderr
    assert done.returncode == 0
    assert pq.read_table(out, columns=["video"]).num_rows == pq.read_table(finished, columns=["video"]).num_rows


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
    assert "was written with other clips: fps 15, now none, stride none, now 2" in other.stderr
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


def titles(process: subprocess.Popen[str]) -> list[str]:
    """What the processes that a command has started call themselves."""
    found = []
    for child in descendants(process):
        with suppress(psutil.Error):
            found.append(" ".join(child.cmdline()))
    return found


@pytest.mark.parametrize("in_process", ["on", "off"])
@pytest.mark.parametrize("sent", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_an_interrupted_run_says_so_and_leaves_no_process(
    videos: Path, bundle: Path, tmp_path: Path, sent: signal.Signals, in_process: str
) -> None:
    out = tmp_path / "preds.parquet"
    arguments = ("infer", videos, "--out", out, "--model", bundle, "--quiet", "--in-process", in_process)
    process = subprocess.Popen(command(*arguments), env=environment(), stderr=subprocess.PIPE, text=True)
    begun = "vidcnn.video.cell_worker" if in_process == "on" else "ray::"
    wait_until(lambda: any(begun in title for title in titles(process)), of=process)
    started = descendants(process)
    process.send_signal(sent)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert stderr.splitlines()[0] == "vidcnn: interrupted"
    _, alive = psutil.wait_procs(started, timeout=15)
    assert alive == []


def committed(out: Path) -> pa.Table | None:
    """Return the rows that are committed and not published, as a later run finds them."""
    folder = out.with_name(f".{out.name}.vidcnn") if out.suffix else out
    parts = sorted(folder.glob("part-*.parquet"))
    return pa.concat_tables(map(rows, parts)) if parts else None


def kill_after_a_commit(arguments: tuple[str | Path, ...], out: Path, num_before: int) -> list[psutil.Process]:
    """Run a command that commits after every batch, and kill it as soon as it has committed some rows, but not all.

    Returns:
        What the command had started. Nobody waits for it: Ray's agents take half a minute to notice.
    """
    eager = [sys.executable, "-m", "tests.pipelines.eager", *map(str, arguments)]
    process = subprocess.Popen(eager, env=environment(), stderr=subprocess.DEVNULL, text=True, cwd=PROJECT)
    wait_until(lambda: (found := committed(out)) is not None and found.num_rows > num_before, of=process)
    process.send_signal(signal.SIGSTOP)
    left = descendants(process)
    process.kill()
    process.wait()
    return left


@pytest.mark.parametrize("in_process", ["on", "off"])
def test_a_run_that_is_killed_between_two_commits_continues_to_the_same_rows(
    videos: Path, bundle: Path, undisturbed: pa.Table, tmp_path: Path, in_process: str
) -> None:
    out = tmp_path / "preds.parquet"
    arguments = ("infer", videos, "--out", out, "--model", bundle, "--quiet", "--json")
    kill_after_a_commit((*arguments, "--in-process", in_process), out, 0)
    found = committed(out)
    assert found is not None
    assert 0 < found.num_rows < undisturbed.num_rows
    result = vidcnn(*arguments)
    assert (result.returncode, result.stderr) == (0, "")
    assert json.loads(result.stdout)["run"]["clips_done"] == clips_of(undisturbed) - clips_of(found)
    assert pq.read_table(out).equals(undisturbed)


def clips_of(table: pa.Table) -> int:
    return table.num_rows - table["clip"].null_count


@pytest.mark.slow
def test_kills_between_commits_leave_a_folder_whole_at_each_moment_and_no_process(
    videos: Path, bundle: Path, undisturbed: pa.Table, tmp_path: Path
) -> None:
    out = tmp_path / "preds"
    arguments = ("infer", videos, "--out", out, "--model", bundle, "--quiet")
    expected = {(row["video"], row["clip"]): row for row in ordered(undisturbed).to_pylist()}
    left: list[psutil.Process] = []
    num_before = 0
    for in_process in ("off", "on", "off"):
        left += kill_after_a_commit((*arguments, "--in-process", in_process), out, num_before)
        found = rows(out).to_pylist()
        assert num_before < len(found) < len(expected), "a kill met nothing that was committed, or nothing left to do"
        assert len({(row["video"], row["clip"]) for row in found}) == len(found)
        assert all(row == expected[row["video"], row["clip"]] for row in found)
        num_before = len(found)
    result = vidcnn(*arguments)
    assert (result.returncode, result.stderr) == (0, "")
    assert rows(out).equals(ordered(undisturbed))
    _, alive = psutil.wait_procs(left, timeout=90)
    assert alive == []


def test_a_second_run_at_the_same_time_ends_with_75_and_names_the_first(
    videos: Path, bundle: Path, tmp_path: Path
) -> None:
    out = tmp_path / "preds"
    arguments = ("infer", videos, "--out", out, "--model", bundle, "--quiet")
    waiting = (*arguments, "--in-process", "off")  # is long enough
    first = subprocess.Popen(command(*waiting), env=environment(), stderr=subprocess.DEVNULL)
    try:
        lock = tmp_path / ".preds.vidcnn" / "lock"
        wait_until(lambda: lock.exists() and lock.stat().st_size, of=first)
        second = vidcnn(*arguments)
        assert first.poll() is None
        assert (second.returncode, second.stdout) == (75, "")
        assert re.fullmatch(
            rf"vidcnn: {re.escape(str(out))} is held by another run \(process {first.pid} on \S+ since [^)]*\)\n"
            r" {8}wait until it ends, or choose another --out\n",
            second.stderr,
        )
    finally:
        first.send_signal(signal.SIGINT)
        first.wait(60)
