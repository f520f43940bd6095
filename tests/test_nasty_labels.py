"""Names that something could take for more than names: of labelled videos, of their classes, and of run directories."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.commands import vidcnn
from tests.nasty_names import check, is_harmless, nasty_names, put_file, raw
from tests.videos import write_video
from vidcnn.annotations import read_annotations
from vidcnn.models.bundle import CARD_FILE, Bundle
from vidcnn.models.checkpoints import read_labels
from vidcnn.safe_text import is_utf8
from vidcnn.sources.names import utf8_name
from vidcnn.training.journal import Journal, read_journal

NAMES = nasty_names()
VISIBLE = [name for name in NAMES if not name.startswith(b".")]
BLANKS = b" \t\r\n"
"""Cells of a table are read without these at their ends."""

Write = Callable[[Path, list[tuple[str, str]]], Path]


def written(name: bytes) -> str:
    return utf8_name(os.fsdecode(name))


def put(root: Path) -> dict[bytes, bool]:
    """Link videos under all visible names into class folders of other such names.

    Returns:
        The paths of the videos in the data, and whether each is one.
    """
    good = write_video(root / "good.mp4", 8)
    made = {}
    for number, name in enumerate(VISIBLE):
        folder = os.path.join(os.fsencode(root), b"labelled", VISIBLE[number - 1])
        os.makedirs(folder)
        path = os.path.join(folder, name + b".mp4")
        made[VISIBLE[number - 1] + b"/" + name + b".mp4"] = put_file(path, good, number)
    return made


def write_csv(folder: Path, rows: list[tuple[str, str]], delimiter: str = ",") -> Path:
    path = folder / ("data.csv" if delimiter == "," else "data.tsv")
    with path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        csv.writer(file, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows([("path", "label"), *rows])
    return path


def write_tsv(folder: Path, rows: list[tuple[str, str]]) -> Path:
    return write_csv(folder, rows, "\t")


def write_parquet(folder: Path, rows: list[tuple[str, str]]) -> Path:
    paths, labels = zip(*rows, strict=True)
    pq.write_table(pa.table({"path": paths, "label": labels}), folder / "data.parquet")
    return folder / "data.parquet"


@pytest.mark.parametrize("write", [write_csv, write_tsv, write_parquet])
def test_a_table_names_each_video_and_each_class(write: Write, tmp_path: Path) -> None:
    good = write_video(tmp_path / "good.mp4", 8)
    rows, expected = [], {}
    for number, name in enumerate(NAMES):
        label = NAMES[number - 1].strip(BLANKS)
        labels = {part.strip(BLANKS) for part in label.split(b"|")} - {b""}
        if not labels or (write is write_parquet and not all(map(is_utf8, map(os.fsdecode, (name, label))))):
            continue
        os.link(good, os.path.join(os.fsencode(tmp_path), name + b".mp4"))
        inner = "./" if name[:1] in BLANKS else ""
        rows.append((f"{inner}{os.fsdecode(name)}.mp4", os.fsdecode(label)))
        expected[name + b".mp4"] = set(map(written, labels))
    assert len(rows) > 200
    data = write(tmp_path, rows)
    found = read_annotations(str(data), for_training=False)
    assert len(found.splits["train"]) + len(found.splits["val"]) == len(rows)
    for sample in (*found.splits["train"], *found.splits["val"]):
        name = os.path.basename(os.fsencode(sample.video.location))
        assert sample.video.error is None
        assert raw(sample.video.name) == name
        assert {found.labels[index] for index in sample.labels} == expected[name]


def test_a_class_folder_has_one_name_whatever_the_videos_in_it_are_called(tmp_path: Path) -> None:
    good = write_video(tmp_path / "good.mp4", 8)
    folders = VISIBLE[::3]
    for name in folders:
        folder = os.path.join(os.fsencode(tmp_path), b"labelled", name)
        os.makedirs(folder)
        for video in (b"a.mp4", b"caf\xe9.mp4", b"\\xe9.mp4", b"\\.mp4"):
            os.link(good, os.path.join(folder, video))
    found = read_annotations(str(tmp_path / "labelled"))
    assert set(found.labels) == set(map(written, folders))
    for sample in (*found.splits["train"], *found.splits["val"]):
        assert sample.labels == (found.labels.index(written(raw(sample.video.name).split(b"/")[0])),)


def test_an_index_list_names_each_video(tmp_path: Path) -> None:
    good = write_video(tmp_path / "good.mp4", 8)
    lines = []
    names = [name for name in NAMES if b"\n" not in name]
    for number, name in enumerate(names):
        os.link(good, os.path.join(os.fsencode(tmp_path), name + b".mp4"))
        path = (b"./" if name[:1] in BLANKS + b"#" else b"") + name + b".mp4"
        lines.append(path + b"\t%d" % (number % 7))
    (tmp_path / "data.txt").write_bytes(b"\n".join(lines) + b"\n")
    found = read_annotations(str(tmp_path / "data.txt"), for_training=False)
    samples = [*found.splits["train"], *found.splits["val"]]
    assert {raw(sample.video.name): found.labels[sample.labels[0]] for sample in samples} == {
        name + b".mp4": str(number % 7) for number, name in enumerate(names)
    }


def test_a_file_of_labels_names_each_class(tmp_path: Path) -> None:
    names = {os.fsdecode(name.strip(BLANKS)) for name in NAMES if b"\n" not in name.strip(BLANKS)}
    labels = sorted(name for name in names if name and is_utf8(name) and name[0] not in "[{")
    (tmp_path / "labels.txt").write_text("\n".join(labels) + "\n", encoding="utf-8")
    unquoted = [name for name in labels if '"' not in (name[0], name[-1])]  # files of Kinetics have names in quotes
    (tmp_path / "labels.json").write_text(json.dumps(unquoted), encoding="utf-8")
    assert list(read_labels(tmp_path / "labels.txt")) == labels
    assert list(read_labels(tmp_path / "labels.json")) == unquoted


@pytest.mark.slow
def test_a_run_directory_of_any_name_takes_notes(tmp_path: Path) -> None:
    names = [name for name in NAMES if is_utf8(os.fsdecode(name))]
    for name in names:
        folder = Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), name)))
        folder.mkdir()
        with Journal(folder, 0) as journal:
            journal.note("train", 1, loss=1.0, video=written(name))
        assert sorted(os.listdir(folder)) == ["metrics.jsonl", "tensorboard"]
        assert len(os.listdir(folder / "tensorboard")) == 1
        assert read_journal(folder) == [{"kind": "train", "step": 1, "loss": 1.0, "video": written(name)}]
        assert is_harmless((folder / "metrics.jsonl").read_text())
    assert len(os.listdir(tmp_path)) == len(names) >= 200


@pytest.mark.slow
def test_a_network_is_trained_measured_and_quantized_on_them(tmp_path: Path) -> None:
    files = put(tmp_path)
    classes = {written(name) for name in VISIBLE}
    run = tmp_path / "run ?#%s[red]\x9b31m\u202e\n"
    bundle = run / "bundle"
    settings = ["--model=simple3d", "--width=0.1", "--epochs=1", "--batch-size=60", "--val-fraction=0", "--cache-gb=0"]
    settings += ["--num-frames=2", "--stride=1", "--resize=40", "--crop=32", "--workers=1"]

    done = vidcnn("train", "--data=labelled", f"--out={run}", *settings, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    check(done.stdout + done.stderr, tmp_path)
    card = (bundle / CARD_FILE).read_text()
    check(card, tmp_path)
    assert set(json.loads(card)["labels"]) == set(Bundle.load(bundle).labels) == classes
    notes = (run / "metrics.jsonl").read_text()
    check(notes, tmp_path)
    bad = {raw(one["video"]) for line in notes.splitlines() for one in json.loads(line).get("bad_samples", ())}
    assert bad
    assert bad <= {name for name, is_good in files.items() if not is_good}

    measured = ["--clips=1", "--crops=1", "--precision=fp32"]
    done = vidcnn("evaluate", "labelled", f"--model={bundle}", *measured, "--out=figures.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    check(done.stdout + done.stderr, tmp_path)
    text = (tmp_path / "figures.json").read_text()
    check(text, tmp_path)
    figures = json.loads(text)
    assert {raw(one["video"]) for one in figures["bad_videos"]} == {n for n, is_good in files.items() if not is_good}
    assert {one["label"] for one in figures["videos"]["classes"]} == classes

    done = vidcnn("quantize", bundle, "--data=labelled", "--out=?int8.csv", "--clips=20", cwd=tmp_path)
    check(done.stdout + done.stderr, tmp_path)
    if done.returncode:  # a machine without int8, or scores that change: it is said in so many words
        assert done.returncode == 1
        assert "\nvidcnn: " in done.stderr
        assert "unexpected" not in done.stderr
    else:
        assert set(Bundle.load(tmp_path / "?int8.csv").labels) == classes
