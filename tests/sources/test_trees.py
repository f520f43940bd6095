from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.s3 import Server
from vidcnn.sources.trees import join, merged, open_tree


def keep(name: str) -> bool:
    return not name.startswith(".")


def test_a_folder_is_read_one_level_deep_in_order_and_links_are_told_apart(tmp_path: Path) -> None:
    for name in ("b.mp4", "a.mp4", ".hidden", "deep/x.mp4", "also/y.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "link").symlink_to("deep")
    (tmp_path / "file.mp4").symlink_to("a.mp4")
    tree, path = open_tree(str(tmp_path))
    contents = merged(tree.read(path, keep, keep))
    assert contents.files == ["a.mp4", "b.mp4", "file.mp4"]
    assert (contents.folders, contents.links, contents.error) == (["also", "deep"], ["link"], None)
    assert tree.resolve(join(path, "link")) == str(tmp_path / "deep")
    assert tree.location(path) == str(tmp_path)


def test_a_folder_that_cannot_be_read_is_told_not_raised(tmp_path: Path) -> None:
    tree, path = open_tree(str(tmp_path / "gone"))
    assert merged(tree.read(path, keep, keep))[:4] == ([], [], [], "does not exist")


def test_only_folders_and_regular_files_are_without_error(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"12345")
    os.utime(tmp_path / "a.mp4", ns=(7, 7))
    (tmp_path / "broken").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    tree, path = open_tree(str(tmp_path))
    found = {name: tree.status(join(path, name)) for name in ("a.mp4", "broken", "pipe", "gone", "")}
    assert found["a.mp4"][:4] == (False, 5, 7, None)
    assert found["broken"].error == "is a broken symbolic link"
    assert found["pipe"].error == "is not a regular file"
    assert found["gone"].error == "does not exist"
    assert (found[""].is_folder, found[""].error) == (True, None)


def test_objects_are_read_as_files_in_folders(s3: Server) -> None:
    s3.put("v/b.mp4", "v/a.mp4", "v/deep/x.mp4", "w/y.mp4")
    tree, path = open_tree(f"s3://bkt/v{s3.query}")
    assert merged(tree.read(path, keep, keep))[:4] == (["a.mp4", "b.mp4"], ["deep"], [], None)
    status = tree.status(join(path, "a.mp4"))
    assert (status.is_folder, status.size_bytes, status.error, status.mtime_ns > 0) == (False, 10, None, True)
    assert tree.status(join(path, "deep")).is_folder
    assert tree.status(join(path, "gone")).error == "does not exist"
    assert tree.location(join(path, "a.mp4")) == f"s3://bkt/v/a.mp4{s3.query}"
    assert tree.resolve(path) == path


def test_what_marks_a_folder_is_no_video_and_keys_with_an_empty_part_are_told(s3: Server) -> None:
    s3.put("v/a.mp4", "v//lost.mp4")
    s3.put("v/deep/", "v/other_$folder$", body=b"")
    tree, path = open_tree(f"s3://bkt/v{s3.query}")
    contents = merged(tree.read(path, keep, keep))
    assert contents.files == ["a.mp4"]
    errors = [merged(tree.read(join(path, folder), keep, keep)).error for folder in contents.folders if "/" in folder]
    assert errors == ["cannot be read: these keys have an empty part"]


@pytest.mark.parametrize(
    ("folder", "name", "path"), [("a", "b", "a/b"), ("a/", "b", "a/b"), ("/", "b", "/b"), ("a", "//*", "a//*")]
)
def test_a_path_is_joined_with_one_slash(folder: str, name: str, path: str) -> None:
    assert join(folder, name) == path
