"""What holds for all formats: made splits, object storage, real data, large lists."""

from __future__ import annotations

import os
import pickle
import random
import resource
from pathlib import Path

import pytest

from tests.annotations.data import NO_VAL, make, write, written
from tests.s3 import Server
from vidcnn.annotations import Annotations, SplitSettings, read_annotations
from vidcnn.annotations.videos import check_storage
from vidcnn.errors import DataError, StorageError
from vidcnn.sources import SourceVideo
from vidcnn.storage import patience
from vidcnn.storage.retrying import RetryPolicy


def split_of(found: Annotations) -> dict[str, str]:
    return {sample.video.name: split for split, samples in found.splits.items() for sample in samples}


def test_made_splits_do_not_depend_on_the_order_of_rows_or_on_where_the_data_lies(tmp_path: Path) -> None:
    names = [f"{number}.mp4" for number in range(40)]
    rows = [f"{name},{'xy'[number % 2]}" for number, name in enumerate(names)]
    expected = None
    for folder in ("here", "there/below"):
        make(tmp_path / folder, *names)
        random.Random(folder).shuffle(rows)
        found = read_annotations(write(tmp_path / folder / "t.csv", "path,label", *rows))
        expected = expected or written(found)
        assert written(found) == expected
        assert (found.counts("train"), found.counts("val")) == ((16, 16), (4, 4))


def test_made_splits_keep_groups_and_the_parts_of_a_file_together(tmp_path: Path) -> None:
    make(tmp_path, *(f"{number}.mp4" for number in range(20)))
    (tmp_path / "alias.mp4").symlink_to("0.mp4")
    rows = [f"{number}.mp4,{'xy'[part]},{part},{part + 1},cam{number % 5}" for number in range(20) for part in (0, 1)]
    rows.append("alias.mp4,x,7,8,cam0")
    data = write(tmp_path / "t.csv", "path,label,start_seconds,end_seconds,camera", *rows)
    for seed in range(5):
        by_file = read_annotations(data, splits=SplitSettings(seed=seed))
        sides = {split: {s.video.name for s in samples} for split, samples in by_file.splits.items()}
        assert not sides["train"] & sides["val"]
        assert any({"0.mp4", "alias.mp4"} <= side for side in sides.values())
        by_camera = read_annotations(data, splits=SplitSettings(seed=seed, split_by="Camera"))
        cameras = {split: {s.group for s in samples} for split, samples in by_camera.splits.items()}
        assert not cameras["train"] & cameras["val"]
        assert (len(cameras["train"]), len(cameras["val"])) == (4, 1)


def test_annotations_survive_the_way_between_processes(tmp_path: Path) -> None:
    make(tmp_path, "a/1.mp4", "b/2.mp4", "b/3.mp4")
    found = read_annotations(str(tmp_path))
    assert pickle.loads(pickle.dumps(found)) == found


def test_a_relative_root_starts_from_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "v/a.mp4", "v/b.mp4")
    write(tmp_path / "l/t.txt", "a.mp4 0", "b.mp4 1")
    monkeypatch.chdir(tmp_path)
    assert read_annotations("l/t.txt", root="v").counts("train") == (1, 1)


def test_names_that_are_not_utf8_are_found_and_written_as_utf8(tmp_path: Path) -> None:
    for name in (b"caf\xe9.mp4", b"b.mp4"):
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).touch()
    (tmp_path / "t.csv").write_bytes(b"path,label\ncaf\xe9.mp4,\xe9\nb.mp4,x\n")
    found = read_annotations(str(tmp_path / "t.csv"))
    assert found.labels == (r"\xe9", "x")
    assert [sample.video.name for sample in found.splits["train"]] == ["b.mp4", r"caf\xe9.mp4"]


def test_class_folders_tables_and_lists_may_be_in_object_storage(s3: Server) -> None:
    s3.put("d/train/a/1.mp4", "d/train/b/2.mp4", "d/val/a/f/1.jpg", "d/val/a/f/2.jpg")
    base = "s3://bkt/d"
    found = read_annotations(f"{base}{s3.query}")
    assert written(found) == {
        "train": [(f"{base}/train/a/1.mp4", ("a",)), (f"{base}/train/b/2.mp4", ("b",))],
        "val": [(f"{base}/val/a/f", ("a",))],
    }
    assert found.splits["val"][0].video.location == f"{base}/val/a/f{s3.query}"
    rows = ["path,label,split", "train/a/1.mp4,a,train", f"{base}/train/b/2.mp4{s3.query},b,train", "val/a/f,a,val"]
    s3.put("d/t.csv", body="\n".join(rows).encode())
    assert read_annotations(f"{base}/t.csv{s3.query}") == found
    s3.put("l/train.txt", body=b"# PySlowFast\ntrain/a/1.mp4 0\ntrain/b/2.mp4 1\n")
    s3.put("l/val.csv", body=b"val/a/f 2 0\nval/gone.mp4 1\n")
    with pytest.raises(DataError, match=r"1 file does not exist\n    val\.csv, line 2: val/gone\.mp4:") as caught:
        read_annotations(f"s3://bkt/l{s3.query}", root=f"{base}{s3.query}")
    assert s3.host not in str(caught.value)


def test_made_splits_are_the_same_in_object_storage(s3: Server, tmp_path: Path) -> None:
    names = [f"{label}/{number}.mp4" for label in "ab" for number in range(20)]
    make(tmp_path, *names)
    s3.put(*(f"d/{name}" for name in names))
    expected = split_of(read_annotations(str(tmp_path)))
    assert expected == {
        name.removeprefix("s3://bkt/d/"): split
        for name, split in split_of(read_annotations(f"s3://bkt/d{s3.query}")).items()
    }
    rows = ["path,label", *(f"{name},{name[0]}" for name in names)]
    s3.put("d/t.csv", body="\n".join(rows).encode())
    found = read_annotations(f"s3://bkt/d/t.csv{s3.query}")
    assert expected == {name.removeprefix("s3://bkt/d/"): split for name, split in split_of(found).items()}


@pytest.mark.real
def test_the_folds_of_real_data_are_disjoint_in_their_scenes(real_data: Path) -> None:
    data = str(real_data / "surv_fight" / "clips.csv")
    validated: list[str] = []
    for fold in range(4):
        settings = SplitSettings(val_where=(f"fold={fold}",), split_by="scene_group")
        found = read_annotations(data, splits=settings)
        assert found.labels == ("fight", "noFight")
        assert sum(map(sum, map(found.counts, found.splits))) == 240
        validated += [sample.video.name for sample in found.splits["val"]]
    assert len(validated) == len(set(validated)) == 240


@pytest.mark.real
def test_real_data_is_split_by_scene_near_the_fraction(real_data: Path) -> None:
    settings = SplitSettings(split_by="scene_group")
    found = read_annotations(str(real_data / "surv_fight" / "clips.csv"), splits=settings)
    train, val = found.counts("train"), found.counts("val")
    for of_train, of_val in zip(train, val, strict=True):
        assert 0.15 <= of_val / (of_train + of_val) <= 0.25
    assert not {s.group for s in found.splits["train"]} & {s.group for s in found.splits["val"]}


def test_a_machine_that_can_open_no_more_files_says_nothing_of_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, "a.mp4", "b.mp4")
    data = write(tmp_path / "t.csv", "path,label", "a.mp4,x", "b.mp4,y")
    monkeypatch.setattr(patience, "USUAL", RetryPolicy(num_tries=2, first_wait_seconds=0.01))
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.open(data, os.O_RDONLY)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, before[1]))
    try:
        with pytest.raises(StorageError, match=r"t\.csv' cannot be read: too many open files: this is no fault"):
            read_annotations(data)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert read_annotations(data, splits=NO_VAL).counts("train") == (1, 1)


def test_videos_that_only_the_storage_keeps_from_being_read_are_not_said_to_be_missing() -> None:
    sound = SourceVideo("a.mp4", "/a.mp4", False, 1, 1, None, None)
    missing = SourceVideo("b.mp4", "/b.mp4", False, 0, 0, "unreadable", "does not exist")
    check_storage([sound, missing])
    failed = SourceVideo("c.mp4", "/c.mp4", False, 0, 0, None, "cannot be read: stale file handle")
    with pytest.raises(
        StorageError, match=r"'c\.mp4' cannot be read: stale file handle, and so for 1 more: .* try again"
    ):
        check_storage([sound, missing, failed, failed])
