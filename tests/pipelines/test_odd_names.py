"""Names of any bytes, from files to tables and back."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.commands import vidcnn
from tests.videos import write_video
from vidcnn.sources import Listing
from vidcnn.sources.names import file_name

TIMEOUT = 900
NAMES = (
    b"caf\xe9.mp4", rb"caf\xe9.mp4", "café.mp4".encode(), "cafe\u0301.mp4".encode(), b"back\\slash.mp4",
    b"new\nline.mp4", b"tab\t,quote\".mp4", b"\x1b[31mred.mp4", b"fold\xff\xfe/in\xe9.mp4", b"a%20b#?.mp4",
)  # fmt: skip
BAD = b"bad\xe9\n.mp4"


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sound videos, one that is none, and what is left out."""
    folder = tmp_path_factory.mktemp("source")
    content = write_video(folder / "video.mp4", 20).read_bytes()
    (folder / "video.mp4").unlink()
    for name in NAMES:
        put(folder, name, content)
    put(folder, BAD, b"no video")
    for name in (b".hidden.mp4", b".hidden/a.mp4", b"note\xe9.t\xe9xt", b"README"):
        put(folder, name, b"x")
    (folder / "again").symlink_to(".")
    return folder


def put(folder: Path, name: bytes, content: bytes) -> None:
    path = Path(os.fsdecode(os.path.join(os.fsencode(folder), name)))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def raw_names(written: Any) -> list[bytes]:
    return sorted(os.fsencode(file_name(name)) for name in set(written))


@pytest.mark.ray
@pytest.mark.slow
def test_names_in_the_table_lead_back_to_the_files_and_a_second_run_knows_them(
    videos: Path, bundle: Path, tmp_path: Path
) -> None:
    out = tmp_path / "preds.parquet"
    arguments: list[str | Path] = ["infer", videos, "--model", bundle, "--out", out]
    done = vidcnn(*arguments, "--json", "--quiet", timeout=TIMEOUT)
    assert (done.returncode, done.stderr) == (0, "")
    table = pq.read_table(out).to_pylist()
    assert raw_names(row["video"] for row in table) == sorted([*NAMES, BAD])
    assert raw_names(row["video"] for row in table if row["error"]) == [BAD]
    for row in table:
        assert os.path.isfile(videos / file_name(row["video"]))
    summary = json.loads(done.stdout)
    assert raw_names(bad["video"] for bad in summary["first_bad_videos"]) == [BAD]
    left_out = {
        "": 1,
        r"t\xe9xt": 1,
        "hidden files": 1,
        "hidden folders": 1,
        "links to folders that are listed anyway": 1,
    }
    assert summary["run"]["ignored_files"] == left_out

    again = vidcnn(*arguments, timeout=TIMEOUT)
    assert "nothing to do, all of 11 videos done" in again.stdout
    assert r"  bad\xe9\x0a.mp4: " in again.stdout
    assert "2 files that are not video by their name" in again.stdout
    assert "1 hidden file, 1 hidden folder, 1 link to a folder that is listed anyway" in again.stdout


def test_lists_and_globs_name_the_same_files(videos: Path, tmp_path: Path) -> None:
    on_a_line = sorted(name for name in NAMES if b"\n" not in name)
    entries = [os.path.join(os.fsencode(videos), name) for name in on_a_line]
    (tmp_path / "list.txt").write_bytes(b"\n".join(entries))
    listed = list(Listing([str(tmp_path / "list.txt")]))
    assert sorted(os.fsencode(video.location) for video in listed) == entries
    assert raw_names(video.name for video in listed) == entries
    matched = list(Listing([f"{videos}/caf*.mp4"]))
    assert raw_names(video.name for video in matched) == [name for name in on_a_line if name.startswith(b"caf")]


@pytest.mark.ray
@pytest.mark.slow
def test_training_and_evaluating_take_such_names(videos: Path, bundle: Path, tmp_path: Path) -> None:
    good = [name for name in NAMES if b"\n" not in name and b'"' not in name]
    rows = [b"%s/%s,%s" % (os.fsencode(videos), name, (b"run", b"jump")[index % 2]) for index, name in enumerate(good)]
    (tmp_path / "list.csv").write_bytes(b"path,label\n" + b"\n".join(rows) + b"\n")
    options = ["--model=simple3d", "--crop=32", "--width=0.25", "--workers=1", "--precision=fp32", "--batch-size=2"]
    options += ["--epochs=1", "--flip=off", "--cache-gb=1", f"--cache-dir={tmp_path / 'cache'}", "--num-frames=4"]
    run = tmp_path / "run"
    trained = vidcnn("train", "--data", tmp_path / "list.csv", "--out", run, *options, timeout=TIMEOUT)
    assert trained.returncode == 0, trained.stderr
    assert "could not be decoded" not in trained.stdout

    (tmp_path / "list.csv").write_bytes(
        b"path,label\n" + b"\n".join([*rows, b'"%s/%s",run' % (os.fsencode(videos), BAD)]) + b"\n"
    )
    arguments: list[str | Path] = [
        "evaluate",
        tmp_path / "list.csv",
        "--model",
        run / "bundle",
        "--clips=2",
        "--split=all",
    ]
    figures = tmp_path / "figures.json"
    evaluated = vidcnn(*arguments, "--out", figures, timeout=TIMEOUT)
    assert evaluated.returncode == 0, evaluated.stderr
    reached = json.loads(figures.read_text())
    assert reached["videos"]["num_samples"] == len(good)
    assert [os.path.basename(name) for name in raw_names(bad["video"] for bad in reached["bad_videos"])] == [BAD]
    assert r"bad\xe9\x0a.mp4: " in evaluated.stdout
