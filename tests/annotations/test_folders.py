from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pytest

from tests.annotations.data import NO_VAL, each, make, problems_of, written
from tests.sources.listing import write_scan
from vidcnn.annotations import SplitSettings, read_annotations
from vidcnn.errors import DataError, SourceError, UsageError
from vidcnn.sources.names import HIDDEN_FOLDERS


def test_a_folder_is_the_class_of_what_is_below_it(tmp_path: Path) -> None:
    make(tmp_path, "run/b.mp4", "run/day/cam/a.mp4", "fall/c.avi", "fall/notes.txt", ".cache/x/y.mp4")
    found = read_annotations(str(tmp_path), splits=NO_VAL)
    assert found.labels == ("fall", "run")
    assert written(found) == {
        "train": [*each(["fall/c.avi"], "fall"), *each(["run/b.mp4", "run/day/cam/a.mp4"], "run")]
    }
    assert found.splits["train"][0].video.location == str(tmp_path / "fall/c.avi")
    assert (found.multi_label, found.ignored, found.counts("train"), found.counts("val")) == (
        False,
        {"txt": 1, HIDDEN_FOLDERS: 1},
        (1, 2),
        (0, 0),
    )


def test_a_folder_of_numbered_images_is_one_video(tmp_path: Path) -> None:
    make(tmp_path, *(f"{clip}/img_{number}.jpg" for clip in ("run/1", "fall/x/2") for number in (9, 10)))
    found = read_annotations(str(tmp_path), splits=NO_VAL)
    assert written(found) == {"train": [("fall/x/2", ("fall",)), ("run/1", ("run",))]}
    assert all(sample.video.is_frame_folder for sample in found.splits["train"])


@pytest.mark.parametrize("val", ["val", "valid", "Validation"])
def test_top_folders_called_like_splits_are_the_splits(tmp_path: Path, val: str) -> None:
    make(tmp_path, "train/a/1.mp4", "train/b/2.mp4", f"{val}/a/3.mp4", "test/b/4.mp4")
    (tmp_path / "docs").mkdir()
    assert written(read_annotations(str(tmp_path))) == {
        "train": [("train/a/1.mp4", ("a",)), ("train/b/2.mp4", ("b",))],
        "val": [(f"{val}/a/3.mp4", ("a",))],
        "test": [("test/b/4.mp4", ("b",))],
    }


def test_validation_comes_out_of_the_folder_of_training_where_there_is_none(tmp_path: Path) -> None:
    make(tmp_path, *(f"train/{label}/{number}.mp4" for label in "ab" for number in range(10)), "test/a/t.mp4")
    found = read_annotations(str(tmp_path))
    assert [found.counts(split) for split in ("train", "val", "test")] == [(8, 8), (2, 2), (1, 0)]


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    make(tmp_path, "train/a/1.mp4", "bus/2.mp4", "car/3.mp4")
    assert read_annotations(str(tmp_path), splits=NO_VAL).labels == ("bus", "car", "train")


def test_classes_beside_splits_are_an_error(tmp_path: Path) -> None:
    make(tmp_path, "train/a/1.mp4", "val/a/2.mp4", "more/3.mp4")
    with pytest.raises(DataError, match=r"has the folders of splits \(train, val\) and others beside them \('more'\)"):
        read_annotations(str(tmp_path))


def test_images_beside_videos_are_ignored_and_counted(tmp_path: Path) -> None:
    make(tmp_path, "a/1.mp4", "a/1.jpg", "a/2.jpg", "b/2.mp4")
    found = read_annotations(str(tmp_path), splits=NO_VAL)
    assert found.ignored == {"jpg": 2}
    assert found.notices == (f"files in '{tmp_path}' that are not used: 2 .jpg",)
    assert found.counts("train") == (1, 1)


def test_all_that_is_wrong_with_folders_is_told_at_once(tmp_path: Path) -> None:
    make(tmp_path, "loose.mp4", "a/1.mp4", "b/2.mp4", "c/x.jpg", "c/y.jpg")
    (tmp_path / "empty").mkdir()
    (tmp_path / "b/gone.mp4").symlink_to("nowhere")
    assert problems_of(tmp_path) == [
        f"4 problems in '{tmp_path}'",
        "1 folder has images that are not one numbered sequence",
        "c",
        "1 video is not in a class folder",
        "loose.mp4",
        "1 class folder contains no video",
        "empty",
        "1 file cannot be read",
        "b/gone.mp4 is a broken symbolic link",
    ]


def test_an_empty_class_counts_only_in_training(tmp_path: Path) -> None:
    make(tmp_path, "train/a/1.mp4", "train/b/2.mp4", "val/a/3.mp4")
    (tmp_path / "val/b").mkdir()
    assert read_annotations(str(tmp_path)).counts("val") == (1, 0)
    (tmp_path / "train/c").mkdir()
    assert problems_of(tmp_path)[1:] == ["1 class folder contains no video", "train/c"]


def test_one_file_linked_into_two_splits_is_a_leak(tmp_path: Path) -> None:
    make(tmp_path, "train/a/1.mp4", "train/b/2.mp4", "val/b/3.mp4")
    (tmp_path / "val/a").mkdir()
    (tmp_path / "val/a/x.mp4").symlink_to("../../train/a/1.mp4")
    assert problems_of(tmp_path)[1:] == [
        "1 sample is in two splits",
        "train/a/1.mp4 (train, train/a/1.mp4) and val/a/x.mp4 (val, val/a/x.mp4)",
    ]


def test_a_labels_file_gives_the_order_and_every_name_needs_samples(tmp_path: Path) -> None:
    make(tmp_path / "d", "a/1.mp4", "b/2.mp4")
    labels = tmp_path / "labels.txt"
    labels.write_text("b\na\n")
    found = read_annotations(str(tmp_path / "d"), labels=str(labels), splits=NO_VAL)
    assert (found.labels, [sample.labels for sample in found.splits["train"]]) == (("b", "a"), [(1,), (0,)])
    labels.write_text("b\nc\n")
    assert problems_of(tmp_path / "d", labels=str(labels))[1:] == [
        "1 row has a label that is not in the labels file",
        "a/1.mp4 (a)",
        "1 class of the labels file without a training sample",
        "c",
    ]
    labels.write_text("b\na\nb\n")
    with pytest.raises(DataError, match="have 'b' twice"):
        read_annotations(str(tmp_path / "d"), labels=str(labels))


def test_one_class_is_not_enough(tmp_path: Path) -> None:
    make(tmp_path, "a/1.mp4", "a/2.mp4")
    assert problems_of(tmp_path)[1:] == ["1 class is not enough", "a"]


def test_options_that_folders_cannot_have_are_errors(tmp_path: Path) -> None:
    make(tmp_path, "a/1.mp4", "b/2.mp4")
    with pytest.raises(UsageError, match="no other root"):
        read_annotations(str(tmp_path), root=str(tmp_path))
    with pytest.raises(DataError, match="has no column 'scene' to divide it by"):
        read_annotations(str(tmp_path), splits=SplitSettings(split_by="scene"))
    with pytest.raises(UsageError, match="is not annotations"):
        read_annotations(str(tmp_path / "a/1.mp4"))
    with pytest.raises(SourceError, match="does not exist"):
        read_annotations(str(tmp_path / "gone"))


def test_links_out_of_the_data_are_problems_unless_they_are_wanted(tmp_path: Path) -> None:
    make(tmp_path, "data/run/a.mp4", "data/fall/b.mp4", "other/c.mp4", "more/d.mp4")
    (tmp_path / "data" / "run" / "c.mp4").symlink_to(tmp_path / "other" / "c.mp4")
    (tmp_path / "data" / "walk").symlink_to(tmp_path / "more")
    with pytest.raises(DataError, match=r"2 symbolic links lead out of the data\n    run/c.mp4\n    walk: ") as caught:
        read_annotations(str(tmp_path / "data"), splits=NO_VAL)
    assert caught.value.hint == "--follow-links reads what such links lead to"
    found = read_annotations(str(tmp_path / "data"), splits=NO_VAL, follow_links=True)
    assert [name for name, _ in written(found)["train"]] == ["fall/b.mp4", "run/a.mp4", "run/c.mp4", "walk/d.mp4"]


def test_a_scan_of_class_folders_has_the_samples_of_the_folders_that_are_meant(tmp_path: Path) -> None:
    names = ["fall/c.avi", "fall/d.avi", "run/b.mp4", "run/day/a.mp4"]
    make(tmp_path / "videos", *names, "empty/notes.txt")
    scan = write_scan(tmp_path / "scan.parquet", tmp_path / "videos", names)
    whole = read_annotations(str(scan), splits=NO_VAL)
    assert written(whole) == {"train": [*each(names[:2], "fall"), *each(names[2:], "run")]}
    assert whole.splits["train"][0].video.location == str(tmp_path / "videos/fall/c.avi")
    part = read_annotations(str(scan), splits=NO_VAL, where="seconds >= 1 and seconds < 3")
    assert written(part) == {"train": [*each(names[1:2], "fall"), *each(names[2:3], "run")]}
    for data in (tmp_path / "videos", _table(tmp_path / "videos/t.csv", "path,label\nrun/b.mp4,run\n")):
        with pytest.raises(UsageError, match="--where is for"):
            read_annotations(str(data), where="seconds >= 1")
    with pytest.raises(UsageError, match="no other root"):
        read_annotations(str(scan), root=str(tmp_path))


def test_it_is_noted_where_a_condition_goes_by_what_has_changed_since_the_scan(tmp_path: Path) -> None:
    make(tmp_path, "videos/run/a.mp4", "videos/walk/b.mp4")
    names = ["run/a.mp4", "walk/b.mp4"]
    for name in names:
        os.utime(tmp_path / "videos" / name, (0, 0))
    size = (tmp_path / "videos/run/a.mp4").stat().st_size
    sizes, times = pa.array([size, size + 1], pa.int64()), pa.array([0, 0], pa.timestamp("us", tz="UTC"))
    scan = write_scan(tmp_path / "scan.parquet", tmp_path / "videos", names, size_bytes=sizes, modified=times)
    (notice,) = read_annotations(str(scan), splits=NO_VAL, where="seconds >= 0").notices
    assert notice.startswith(f"1 video has changed since '{scan}' was written, such as walk/b.mp4: --where goes by")
    assert read_annotations(str(scan), splits=NO_VAL).notices == ()


def _table(path: Path, text: str) -> Path:
    path.write_text(text)
    return path
