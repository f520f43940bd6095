from __future__ import annotations

from pathlib import Path

from tests.annotations.data import make
from tests.s3 import Server
from vidcnn.annotations.rows import Row
from vidcnn.annotations.videos import RealFiles, find_videos, name_prefix


def test_videos_are_looked_up_and_those_that_are_not_there_have_an_error(tmp_path: Path) -> None:
    make(tmp_path, "a.mp4", "frames/img_1.jpg", "frames/img_2.jpg", "folder/x.txt")
    rows = [Row("", path, ("x",)) for path in ("a.mp4", "frames", "folder", "gone.mp4", "a.mp4")]
    found = [entry.video for entry in find_videos(rows, str(tmp_path))]
    assert [(video.name, video.is_frame_folder, video.error) for video in found] == [
        ("a.mp4", False, None),
        ("frames", True, None),
        ("folder", False, "is a folder, but not of one sequence of numbered images"),
        ("gone.mp4", False, "does not exist"),
        ("a.mp4", False, None),
    ]
    assert found[0] is found[4]
    assert found[0].size_bytes == 1


def test_a_stem_of_kinetics_means_the_file_in_the_folder_of_its_label(tmp_path: Path) -> None:
    make(tmp_path, "aa/clip_1.mp4", "riding_a_bike/clip_1.mp4", "clip_2.webm")
    rows = [Row("", stem, ("riding a bike",), is_stem=True) for stem in ("clip_1", "clip_2", "clip_3")]
    found = [entry.video for entry in find_videos(rows, str(tmp_path))]
    assert [(video.name, video.error) for video in found] == [
        ("riding_a_bike/clip_1.mp4", None),
        ("clip_2.webm", None),
        ("clip_3", "does not exist"),
    ]


def test_objects_are_looked_up_too_and_named_without_options(s3: Server) -> None:
    s3.put("data/a.mp4")
    base = f"s3://bkt/data{s3.query}"
    assert name_prefix(base) == "s3://bkt/data/"
    found = [entry.video for entry in find_videos([Row("", path, ("x",)) for path in ("a.mp4", "b.mp4")], base)]
    assert [(video.name, video.error) for video in found] == [
        ("s3://bkt/data/a.mp4", None),
        ("s3://bkt/data/b.mp4", "does not exist"),
    ]


def test_a_file_of_several_names_is_told_to_be_one(tmp_path: Path) -> None:
    make(tmp_path, "real/a.mp4", "b.mp4")
    (tmp_path / "link.mp4").symlink_to(tmp_path / "real" / "a.mp4")
    (tmp_path / "folder").symlink_to(tmp_path / "real")
    real = RealFiles()
    names = ("real/a.mp4", "link.mp4", "folder/a.mp4")
    assert len({real.of(str(tmp_path / name)) for name in names}) == 1
    assert real.of(str(tmp_path / "b.mp4")) != real.of(str(tmp_path / "real/a.mp4"))
    assert real.of("s3://b/a.mp4?region=x") == real.of("s3://b/a.mp4")
