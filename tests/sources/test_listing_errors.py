"""What cannot be listed: rows of what is wrong, and errors."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.sources.listing import make, names_of, write_list
from vidcnn.errors import SourceError
from vidcnn.sources import Listing, SourceVideo, trees
from vidcnn.storage.retrying import RetryPolicy


def test_an_entry_that_does_not_exist_is_a_row(tmp_path: Path) -> None:
    make(tmp_path, "a.mp4")
    entries = write_list(tmp_path / "list.txt", "gone.mp4", "a.mp4", "http://host/x.mp4", "s3:///nothing")
    missing, good, web, nothing = Listing([str(entries)])
    assert missing == SourceVideo("gone.mp4", str(tmp_path / "gone.mp4"), False, 0, 0, "unreadable", "does not exist")
    assert (good.name, good.error_kind, good.error) == ("a.mp4", None, None)
    assert (web.name, web.error_kind) == ("http://host/x.mp4", "unreadable")
    assert web.error == "cannot be read: http:// is not one of s3://, gs://, gcs://"
    assert (nothing.name, nothing.error) == ("s3:///nothing", "cannot be read: it names no bucket")


@pytest.mark.parametrize("name", ["train.txt", "train.csv"])
def test_a_list_with_labels_behind_its_paths_is_no_source(name: str, tmp_path: Path) -> None:
    make(tmp_path, "run/a.mp4", "b.mp4", "c.mp4 7", "c.mp4")
    entries = write_list(tmp_path / name, "c.mp4 7", "gone.mp4 1", "run/a.mp4 0", "b.mp4 1")
    listing = iter(Listing([str(entries)]))
    assert [next(listing).error for _ in range(2)] == [None, "does not exist"]
    with pytest.raises(SourceError, match=r"train\.\w+' has labels behind its paths, such as 'a\.mp4 0'") as raised:
        next(listing)
    assert "name the folder of the videos" in raised.value.hint


def test_an_entry_that_no_file_can_have_is_a_row(tmp_path: Path) -> None:
    pq.write_table(pa.table({"path": ["nul\0.mp4", "x" * 300]}), tmp_path / "l.parquet")
    first, second = Listing([str(tmp_path / "l.parquet")])
    assert (first.error_kind, first.error) == ("unreadable", "cannot be read: embedded null byte")
    assert (second.error_kind, second.error) == ("unreadable", "cannot be read: file name too long")


def test_a_source_that_is_a_broken_link_or_a_pipe_is_a_row(tmp_path: Path) -> None:
    make(tmp_path, "a.mp4")
    (tmp_path / "broken.mp4").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe.mp4")
    videos = list(Listing([str(tmp_path / name) for name in ("a.mp4", "broken.mp4", "pipe.mp4")]))
    assert [video.error_kind for video in videos] == [None, "unreadable", "unreadable"]
    assert [video.error for video in videos] == [None, "is a broken symbolic link", "is not a regular file"]


def test_an_unreadable_folder_below_a_source_is_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "a.mp4", "secret/b.mp4")
    real_scandir = os.scandir

    def scandir(path: str) -> object:
        if path == str(tmp_path / "secret"):
            raise PermissionError(13, "Permission denied")
        return real_scandir(path)

    monkeypatch.setattr(os, "scandir", scandir)
    monkeypatch.setattr(trees, "LOOK_TRIES", RetryPolicy(num_tries=2, first_wait_seconds=0))
    _, refused = Listing([str(tmp_path)])
    assert refused.error_kind is None  # its own mode lets it be read: it is the storage that does not
    (tmp_path / "secret").chmod(0)
    good, bad = Listing([str(tmp_path)])
    assert good.name == "a.mp4"
    assert bad == SourceVideo(
        "secret", str(tmp_path / "secret"), False, 0, 0, "unreadable", "cannot be read: permission denied"
    )
    with pytest.raises(SourceError, match="secret' cannot be read: permission denied"):
        Listing([str(tmp_path / "secret")])


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("gone", r"'.*/gone' does not exist"),
        ("gone.mp4", r"'.*/gone\.mp4' does not exist"),
        ("*.avi", r"nothing matches '.*/\*\.avi'"),
        ("gone/*.mp4", r"nothing matches"),
        ("a.mp4/*", r"nothing matches"),
        ("a.mp4/b.mp4", r"cannot be read: not a directory"),
    ],
)
def test_a_source_that_is_not_there_is_an_error_at_once(tmp_path: Path, source: str, message: str) -> None:
    make(tmp_path, "a.mp4")
    with pytest.raises(SourceError, match=message) as caught:
        Listing([str(tmp_path / "a.mp4"), str(tmp_path / source)])
    assert caught.value.hint


def test_no_source_and_an_empty_source_are_errors() -> None:
    with pytest.raises(ValueError, match="sources is empty"):
        Listing([])
    with pytest.raises(SourceError, match="empty string"):
        Listing([""])


def test_an_empty_list_is_an_error(tmp_path: Path) -> None:
    listing = Listing([str(write_list(tmp_path / "list.txt", "", "# nothing"))])
    with pytest.raises(SourceError, match=r"list\.txt' has no entries"):
        list(listing)


def test_a_folder_without_video_is_an_error_that_says_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "top").mkdir()
    with pytest.raises(SourceError, match=r"top' contains no video \(nor any other file\)"):
        names_of(tmp_path / "top")
    make(tmp_path, *[f"top/{name}" for name in ("a.TXT", "b.txt", "c", "d.mp3", "e.f", "g.h", "i.j", "k/l.m")])
    with pytest.raises(SourceError) as caught:
        names_of(tmp_path / "top")
    expected = "8 files that are not video by their name (2 .txt, 1 without extension, 1 .f, 1 .h, 1 .j, ...)"
    assert caught.value.message == f"'{tmp_path}/top' contains no video, only {expected}"
    assert "by a glob" in caught.value.hint


def test_columns_of_a_list_that_are_not_used_are_named(tmp_path: Path) -> None:
    make(tmp_path, "a.mp4")
    segments = tmp_path / "segments.csv"
    segments.write_text("path,start, \x1b[2J,,end\na.mp4,1,,,2\n")
    bare, plain = tmp_path / "bare.csv", tmp_path / "plain.csv"
    bare.write_text("a.mp4,1\n")
    plain.write_text("path\na.mp4\n")
    pq.write_table(pa.table({"label": ["x"], "video": ["a.mp4"]}), tmp_path / "t.parquet")
    listing = Listing(list(map(str, (segments, bare, plain, tmp_path / "t.parquet"))))
    for _ in range(2):
        assert len(list(listing)) == 1
        assert listing.unused_columns == {
            str(segments): ("start", " \\x1b[2J", "end"),
            str(tmp_path / "t.parquet"): ("label",),
        }
    segments.write_text("path\na.mp4\n")
    list(listing)
    assert str(segments) not in listing.unused_columns


def test_of_several_folders_those_without_video_are_named_and_the_others_listed(tmp_path: Path) -> None:
    make(tmp_path, "full/a.mp4", "full/sub/b.mp4", "bare/notes.txt", "full2/c.mp4")
    listing = Listing([str(tmp_path / name) for name in ("full", "bare", "full2", "full/sub")])
    assert len(list(listing)) == 3
    assert listing.empty_sources == [str(tmp_path / "bare")]
    make(tmp_path, "bare/late.mp4")
    assert len(list(listing)) == 4
    assert listing.empty_sources == []
    (tmp_path / "other").mkdir()
    (tmp_path / "none").mkdir()
    with pytest.raises(SourceError, match="the 2 sources contain no video"):
        names_of(tmp_path / "other", tmp_path / "none", f"{tmp_path}/full/..//other/")
