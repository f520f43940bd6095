"""Finding videos in folders: order, links, what cannot be read, frame folders."""

from __future__ import annotations

import os
import random
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vidcnn.errors import VideoError
from vidcnn.sources.names import HIDDEN_FILES, HIDDEN_FOLDERS, KNOWN_FOLDERS
from vidcnn.sources.patterns import Pattern
from vidcnn.sources.trees import LocalTree
from vidcnn.sources.walk import Found, expand, list_frames, walk


def make(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x" * 10)


def found_in(*tops: Path) -> list[Found]:
    return list(walk(LocalTree(), [str(top) for top in tops], Counter()))


def names_in(*tops: Path) -> list[str]:
    return [os.path.relpath(found.path, tops[0]) for found in found_in(*tops)]


def errors_in(top: Path) -> dict[str, str]:
    found = walk(LocalTree(), [str(top)], Counter())
    return {os.path.relpath(one.path, top): one.status.error for one in found if one.status.error}


def matches(root: Path, glob: str) -> list[str]:
    found = expand(LocalTree(), str(root), Pattern(glob.split("/")))
    return [os.path.relpath(one.path, root) for one in found]


@pytest.fixture
def unreadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that may not be listed, even by root, whom permissions do not stop."""
    folder = tmp_path / "top" / "secret"
    make(folder, "lost.mp4")
    folder.chmod(0)
    real_scandir = os.scandir

    def scandir(path: str) -> object:
        if path == str(folder):
            raise PermissionError(13, "Permission denied", path)
        return real_scandir(path)

    monkeypatch.setattr(os, "scandir", scandir)
    yield folder
    folder.chmod(0o700)


def test_files_come_by_name_and_before_those_of_sub_folders(tmp_path: Path) -> None:
    make(tmp_path, "b.mp4", "a/z.mp4", "a.mp4", "B.mp4", "a/b/c.mp4", "ä.mp4", "c.d/e.mp4")
    assert names_in(tmp_path) == ["B.mp4", "a.mp4", "b.mp4", "ä.mp4", "a/z.mp4", "a/b/c.mp4", "c.d/e.mp4"]


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers())
def test_the_order_does_not_depend_on_the_order_of_the_file_system(tmp_path: Path, seed: int) -> None:
    make(tmp_path, *[f"{folder}/{name}.mp4" for folder in "abc" for name in "xyz"])
    real_scandir = os.scandir

    class Shuffled:
        def __init__(self, path: str) -> None:
            with real_scandir(path) as entries:
                self._entries = list(entries)
            random.Random(seed).shuffle(self._entries)

        def __enter__(self) -> list[os.DirEntry[str]]:
            return self._entries

        def __exit__(self, *_: object) -> None:
            pass

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "scandir", Shuffled)
        names = names_in(tmp_path)
    assert names == [f"{folder}/{name}.mp4" for folder in "abc" for name in "xyz"]


def test_what_is_hidden_is_skipped_and_what_is_no_video_is_counted(tmp_path: Path) -> None:
    make(tmp_path, "a.mp4", ".b.mp4", ".c/d.mp4", "e.TXT", "f.txt", "g", "h/i.mp3", ".j.txt")
    ignored: Counter[str] = Counter()
    assert [found.path for found in walk(LocalTree(), [str(tmp_path)], ignored)] == [str(tmp_path / "a.mp4")]
    assert ignored == {"txt": 2, "": 1, "mp3": 1, HIDDEN_FILES: 2, HIDDEN_FOLDERS: 1}


def test_the_hidden_folders_of_running_jobs_are_no_loss_to_be_told(tmp_path: Path) -> None:
    make(tmp_path, "a.mp4", ".preds.parquet.vidcnn/part-0.parquet")
    ignored: Counter[str] = Counter()
    assert len(list(walk(LocalTree(), [str(tmp_path)], ignored))) == 1
    assert not ignored


def test_a_folder_that_is_called_like_a_video_is_a_folder(tmp_path: Path) -> None:
    make(tmp_path, "x.mp4/y.mp4")
    (tmp_path / "empty.mp4").mkdir()
    assert names_in(tmp_path) == ["x.mp4/y.mp4"]


def test_links_to_files_and_folders_are_followed(tmp_path: Path) -> None:
    make(tmp_path, "top/a.mp4", "elsewhere/b.mp4", "elsewhere/c/d.mp4")
    (tmp_path / "top/link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "top/file.mp4").symlink_to(tmp_path / "elsewhere/b.mp4")
    found = found_in(tmp_path / "top")
    assert names_in(tmp_path / "top") == ["a.mp4", "file.mp4", "link/b.mp4", "link/c/d.mp4"]
    assert [one.status.size_bytes for one in found] == [10] * 4


def test_circles_of_links_list_each_file_once(tmp_path: Path) -> None:
    make(tmp_path, "top/a/f.mp4", "top/b/g.mp4", "beside.mp4")
    for link, target in {"top/self": ".", "top/a/up": "..", "top/a/to_b": "../b", "top/b/to_a": "../a"}.items():
        (tmp_path / link).symlink_to(target)
    (tmp_path / "top/b/above").symlink_to("../..")
    assert names_in(tmp_path / "top") == ["a/f.mp4", "b/g.mp4", "b/above/beside.mp4"]
    ignored: Counter[str] = Counter()
    list(walk(LocalTree(), [str(tmp_path / "top")], ignored))
    assert ignored == {KNOWN_FOLDERS: 4}


def test_a_link_to_itself_is_no_folder(tmp_path: Path) -> None:
    make(tmp_path, "a.mp4")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "loop.mp4").symlink_to("loop.mp4")
    assert names_in(tmp_path) == ["a.mp4", "loop.mp4"]
    assert errors_in(tmp_path) == {"loop.mp4": "cannot be read: its symbolic links lead in a circle"}


def test_a_folder_goes_by_its_own_path_rather_than_by_a_link(tmp_path: Path) -> None:
    make(tmp_path, "z/a.mp4", "z/.store/b.mp4")
    (tmp_path / "latest").symlink_to("z")
    (tmp_path / "hidden").symlink_to("z/.store")
    assert names_in(tmp_path) == ["z/a.mp4", "hidden/b.mp4"]


def test_folders_inside_each_other_are_walked_once(tmp_path: Path) -> None:
    make(tmp_path, "a.mp4", "sub/b.mp4", ".hidden/c.mp4")
    assert names_in(tmp_path, tmp_path / "sub", tmp_path / ".hidden") == ["a.mp4", "sub/b.mp4", ".hidden/c.mp4"]


def test_a_folder_that_cannot_be_read_is_found_with_an_error(tmp_path: Path, unreadable: Path) -> None:
    make(tmp_path, "top/a.mp4", "top/z/b.mp4")
    assert names_in(tmp_path / "top") == ["a.mp4", "secret", "z/b.mp4"]
    assert errors_in(tmp_path / "top") == {"secret": "cannot be read: permission denied"}


def test_files_read_before_a_folder_fails_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "a.mp4")

    class Failing:
        def __init__(self, path: str) -> None:
            self._entries = iter(list(real_scandir(path)))

        def __enter__(self) -> Failing:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def __iter__(self) -> Iterator[os.DirEntry[str]]:
            yield from self._entries
            raise OSError(5, "Input/output error")

    real_scandir = os.scandir
    monkeypatch.setattr(os, "scandir", Failing)
    assert names_in(tmp_path) == ["a.mp4", "."]
    assert errors_in(tmp_path) == {".": "cannot be read: input/output error"}


def test_what_is_no_regular_file_is_found_with_an_error(tmp_path: Path) -> None:
    make(tmp_path, "good.mp4")
    (tmp_path / "broken.mp4").symlink_to("nowhere.mp4")
    (tmp_path / "device.mp4").symlink_to("/dev/null")
    os.mkfifo(tmp_path / "pipe.mp4")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "broken.txt").symlink_to("nowhere")
    with closing(socket.socket(socket.AF_UNIX)) as server:
        folder = os.open(tmp_path, os.O_RDONLY)  # the path of a socket has to be short
        server.bind(f"/proc/self/fd/{folder}/socket.mp4")
        os.close(folder)
        assert errors_in(tmp_path) == {
            "broken.mp4": "is a broken symbolic link",
            "device.mp4": "is not a regular file",
            "pipe.mp4": "is not a regular file",
            "socket.mp4": "is not a regular file",
        }
    assert "good.mp4" in names_in(tmp_path)


def test_a_file_that_vanishes_while_it_is_listed_is_found_with_an_error(tmp_path: Path) -> None:
    make(tmp_path, "a.mp4", "b.mp4", "c.mp4")
    found = walk(LocalTree(), [str(tmp_path)], Counter())
    next(found)
    (tmp_path / "b.mp4").unlink()
    (tmp_path / "c.mp4").unlink()
    (tmp_path / "c.mp4").mkdir()
    assert [one.status.error for one in found] == ["does not exist", "became a folder"]


def test_a_folder_of_numbered_images_is_one_video(tmp_path: Path) -> None:
    make(tmp_path, "clip/f_10.jpg", "clip/f_9.jpg", "clip/notes.txt", "clip/.thumb.png", "clip/sub/a.mp4")
    os.utime(tmp_path / "clip/f_9.jpg", ns=(0, 5_000_000_001))
    os.utime(tmp_path / "clip/f_10.jpg", ns=(0, 5_000_000_000))
    clip, video = found_in(tmp_path)
    assert (clip.path, clip.is_frame_folder) == (str(tmp_path / "clip"), True)
    assert (clip.status.size_bytes, clip.status.mtime_ns) == (20, 5_000_000_001)
    assert (video.path, video.is_frame_folder) == (str(tmp_path / "clip/sub/a.mp4"), False)


@pytest.mark.parametrize(
    "names",
    [
        ["1.jpg", "2.jpg", "video.mp4"],
        ["1.jpg", "2.jpg", "cover.jpg"],
        ["1.jpg", "2.png"],
        ["1.jpg"],
        ["a1.jpg", "b2.jpg"],
        ["1.mp4", "2.mp4"],
    ],
)
def test_images_that_are_not_one_sequence_are_videos_of_their_own(tmp_path: Path, names: list[str]) -> None:
    make(tmp_path, *names)
    assert names_in(tmp_path) == names
    assert not any(found.is_frame_folder for found in found_in(tmp_path))


def test_a_frame_that_cannot_be_read_is_told_of_its_folder(tmp_path: Path) -> None:
    make(tmp_path, "1.jpg", "2.jpg")
    (tmp_path / "3.jpg").symlink_to("nowhere")
    assert errors_in(tmp_path) == {".": "its frame 3.jpg is a broken symbolic link"}


def test_the_frames_of_a_folder_are_listed_in_order(tmp_path: Path) -> None:
    make(tmp_path, "10.jpg", "9.jpg", "notes.txt", ".0.jpg", "sub/1.jpg")
    assert list_frames(str(tmp_path)) == [str(tmp_path / "9.jpg"), str(tmp_path / "10.jpg")]


def test_listing_frames_of_what_is_no_frame_folder_is_a_video_error(tmp_path: Path) -> None:
    make(tmp_path, "1.jpg", "2.jpg", "late.mp4")
    with pytest.raises(VideoError, match="no longer") as caught:
        list_frames(str(tmp_path))
    assert caught.value.kind == "changed"
    for location in (str(tmp_path / "gone"), "http://host/folder"):
        with pytest.raises(VideoError, match=r"does not exist|is not one of") as caught:
            list_frames(location)
        assert caught.value.kind == "unreadable"


def test_a_pattern_finds_files_of_any_kind_and_folders_once(tmp_path: Path) -> None:
    make(tmp_path, "a/x.dat", "a/b/x.dat", "a/b/c/x.dat", "a/y.mp4", "x.dat", ".h/x.dat", "a/.x.dat")
    assert matches(tmp_path, "**/x.dat") == ["x.dat", "a/x.dat", "a/b/x.dat", "a/b/c/x.dat"]
    assert matches(tmp_path, "**/b/**/x.dat") == ["a/b/x.dat", "a/b/c/x.dat"]
    assert matches(tmp_path, "*/x.dat") == ["a/x.dat"]
    assert matches(tmp_path, "*") == ["x.dat", "a"]
    assert matches(tmp_path, "a/**") == ["a"]
    assert matches(tmp_path, ".*/*") == [".h/x.dat"]
    assert matches(tmp_path, "nothing*") == []


def test_a_pattern_with_two_stars_ends_in_circles_of_links(tmp_path: Path) -> None:
    make(tmp_path, "a/x.mp4")
    (tmp_path / "a/loop").symlink_to("..")
    assert matches(tmp_path, "**/x.mp4") == ["a/x.mp4"]
    assert matches(tmp_path, "a/*/a/x.mp4") == ["a/loop/a/x.mp4"]


def test_a_pattern_that_leads_into_an_unreadable_folder_finds_its_error(tmp_path: Path, unreadable: Path) -> None:
    make(tmp_path, "top/a/x.mp4")
    found = list(expand(LocalTree(), str(tmp_path / "top"), Pattern(["*", "*.mp4"])))
    assert [one.status.error for one in found] == [None, "cannot be read: permission denied"]
    assert matches(tmp_path / "top", "a/*.mp4") == ["a/x.mp4"]
