"""Symbolic links out of a source: found when it is listed, and not opened when a file became one since."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from vidcnn.errors import StorageError, VideoError
from vidcnn.sources import Listing, SourceVideo
from vidcnn.sources.fence import Fence, open_inside, status_inside


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder beside the source, with a video in it and in a folder below."""
    folder = tmp_path / "outside"
    (folder / "below").mkdir(parents=True)
    for name in ("secret.mp4", "below/deep.mp4"):
        (folder / name).write_bytes(b"secret")
    return folder


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder with a video."""
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "own.mp4").write_bytes(b"own")
    return folder


def rows(source: str | Path, *, follow_links: bool = False) -> dict[str, str | None]:
    videos = list(Listing([str(source)], follow_links=follow_links))
    assert len({video.name for video in videos}) == len(videos)
    return {video.name: video.error_kind for video in videos}


def content(video: SourceVideo) -> bytes:
    with open(open_inside(video.location, video.root), "rb") as file:
        return file.read()


LINKS: dict[str, Callable[[Path, Path], object]] = {
    "a file": lambda source, outside: (source / "x.mp4").symlink_to(outside / "secret.mp4"),
    "a relative link": lambda source, outside: (source / "x.mp4").symlink_to("../outside/secret.mp4"),
    "a folder": lambda source, outside: (source / "x.mp4").symlink_to(outside),
    "a parent": lambda source, outside: (source / "x.mp4").symlink_to(source.parent),
    "a chain": lambda source, outside: (
        (source / "x.mp4").symlink_to(outside / "next"),
        (outside / "next").symlink_to(outside / "secret.mp4"),
    ),
    "a name that begins like the source": lambda source, outside: (
        Path(f"{source}.more").mkdir(),
        Path(f"{source}.more", "v.mp4").write_bytes(b"more"),
        (source / "x.mp4").symlink_to(f"{source}.more/v.mp4"),
    ),
    "a file of another user": lambda source, outside: (
        (outside / "locked").mkdir(),
        (outside / "locked" / "v.mp4").write_bytes(b"locked"),
        (outside / "locked").chmod(0),
        (source / "x.mp4").symlink_to(outside / "locked" / "v.mp4"),
    ),
}


@pytest.mark.parametrize("kind", LINKS)
def test_a_link_out_of_the_source_is_one_unsafe_row_under_its_own_name(source: Path, outside: Path, kind: str) -> None:
    LINKS[kind](source, outside)
    assert rows(source) == {"own.mp4": None, "x.mp4": "unsafe"}
    (video,) = (video for video in Listing([str(source)]) if video.error)
    assert video.error == "is a symbolic link out of the source: --follow-links reads what it leads to"


def test_links_are_found_at_any_depth(source: Path, outside: Path) -> None:
    (source / "a" / "b").mkdir(parents=True)
    (source / "a" / "b" / "link").symlink_to(outside / "below")
    (source / "a" / "b" / "v.mp4").symlink_to(outside / "secret.mp4")
    assert rows(source) == {"own.mp4": None, "a/b/v.mp4": "unsafe", "a/b/link": "unsafe"}


def test_links_out_of_the_source_are_followed_where_the_user_says_so(source: Path, outside: Path) -> None:
    (source / "v.mp4").symlink_to(outside / "secret.mp4")
    (source / "link").symlink_to(outside / "below")
    assert rows(source, follow_links=True) == {"own.mp4": None, "v.mp4": None, "link/deep.mp4": None}
    videos = {video.name: video for video in Listing([str(source)], follow_links=True)}
    assert content(videos["link/deep.mp4"]) == b"secret"


def test_links_that_stay_in_the_source_are_followed(source: Path) -> None:
    (source / "a").mkdir()
    (source / "a" / "v.mp4").write_bytes(b"own")
    (source / "absolute.mp4").symlink_to(source / "a" / "v.mp4")
    (source / "a" / "up.mp4").symlink_to("../own.mp4")
    (source / "a" / "circle").symlink_to(source)
    assert rows(source) == {"own.mp4": None, "absolute.mp4": None, "a/v.mp4": None, "a/up.mp4": None}
    assert {content(video) for video in Listing([str(source)])} == {b"own"}


def test_links_between_sources_stay_in_what_the_user_named(source: Path, outside: Path) -> None:
    (source / "v.mp4").symlink_to(outside / "secret.mp4")
    videos = list(Listing([str(source), str(outside)]))
    assert [video.error for video in videos] == [None] * 4
    assert [content(video) for video in videos if video.name == "source/v.mp4"] == [b"secret"]


def test_a_source_that_is_a_link_itself_is_followed(tmp_path: Path, source: Path, outside: Path) -> None:
    (source / "v.mp4").symlink_to(outside / "secret.mp4")
    (tmp_path / "folder").symlink_to(source)
    (tmp_path / "file.mp4").symlink_to(outside / "secret.mp4")
    assert rows(tmp_path / "folder") == {"own.mp4": None, "v.mp4": "unsafe"}
    assert {content(video) for video in Listing([str(tmp_path / "folder")]) if not video.error} == {b"own"}
    assert rows(tmp_path / "file.mp4") == {"file.mp4": None}
    assert {content(video) for video in Listing([str(tmp_path / "file.mp4")])} == {b"secret"}


def test_a_glob_does_not_match_its_way_out(source: Path, outside: Path) -> None:
    (source / "link").symlink_to(outside)
    (source / "v.mp4").symlink_to(outside / "secret.mp4")
    assert rows(f"{source}/*.mp4") == {"own.mp4": None, "v.mp4": "unsafe"}
    assert rows(f"{source}/*/*.mp4") == {"link": "unsafe"}
    assert rows(f"{source}/l*") == {"link": "unsafe"}
    assert rows(f"{source}/*/*.mp4", follow_links=True) == {"link/secret.mp4": None}


def test_what_a_list_names_is_read(tmp_path: Path, source: Path, outside: Path) -> None:
    (source / "v.mp4").symlink_to(outside / "secret.mp4")
    (tmp_path / "list.txt").write_text(f"source/v.mp4\n../{tmp_path.name}/outside/below\n")
    assert rows(tmp_path / "list.txt") == {"source/v.mp4": None, "outside/below/deep.mp4": None}
    (tmp_path / "list.txt").write_text("source\n")
    assert rows(tmp_path / "list.txt") == {"source/own.mp4": None, "source/v.mp4": "unsafe"}


def test_a_folder_of_frames_with_one_from_outside_is_unsafe(source: Path, outside: Path) -> None:
    (source / "frames").mkdir()
    for number in range(3):
        (source / "frames" / f"{number}.png").write_bytes(b"png")
    assert rows(source / "frames") == {"frames": None}
    (source / "frames" / "3.png").symlink_to(outside / "secret.mp4")
    (video,) = Listing([str(source / "frames")])
    assert (video.error_kind, str(video.error)[:24]) == ("unsafe", "has a frame, 3.png, that")


@pytest.mark.parametrize("swapped", ["file", "folder"])
def test_a_file_that_became_a_link_after_it_was_listed_is_not_opened(source: Path, outside: Path, swapped: str) -> None:
    (source / "below").mkdir()
    (source / "below" / "deep.mp4").write_bytes(b"own")
    (video,) = (video for video in Listing([str(source)]) if video.name == "below/deep.mp4")
    assert content(video) == b"own"
    if swapped == "file":
        (source / "below" / "deep.mp4").unlink()
        (source / "below" / "deep.mp4").symlink_to(outside / "below" / "deep.mp4")
    else:
        (source / "below").rename(source / "before")
        (source / "below").symlink_to(outside / "below")
    for read in (open_inside, status_inside):
        with pytest.raises(VideoError, match=r"leads out of the source: --follow-links") as caught:
            read(video.location, video.root)
        assert caught.value.kind == "unsafe"


def test_a_root_is_found_anew_on_each_machine(tmp_path: Path, source: Path) -> None:
    (tmp_path / "link").symlink_to(source)
    (video,) = Listing([str(tmp_path / "link")])
    source.rename(tmp_path / "elsewhere")
    (tmp_path / "link").unlink()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    assert content(video) == b"own"


def test_pipes_sockets_and_devices_are_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.mp4")
    with closing(socket.socket(socket.AF_UNIX)) as bound:
        bound.bind(str(tmp_path / "socket.mp4"))
    (tmp_path / "null.mp4").symlink_to("/dev/null")
    (tmp_path / "tty.mp4").symlink_to("/dev/tty")
    for name in ("fifo.mp4", "socket.mp4", "null.mp4", "tty.mp4"):
        with pytest.raises(VideoError, match="not a regular file") as caught:
            open_inside(str(tmp_path / name))  # a pipe would wait for a writer here
        assert caught.value.kind == "unreadable"
    with pytest.raises(VideoError, match="it is a folder"):
        open_inside(str(tmp_path))
    assert rows(tmp_path) == {
        "fifo.mp4": "unreadable", "socket.mp4": "unreadable", "null.mp4": "unsafe", "tty.mp4": "unsafe"
    }  # fmt: skip


def test_a_file_is_read_without_waiting_and_no_descriptor_stays_open(source: Path, outside: Path) -> None:
    (source / "v.mp4").symlink_to(outside / "secret.mp4")
    before = os.listdir("/proc/self/fd")
    os.close(open_inside(str(source / "own.mp4"), str(source)))
    with pytest.raises(VideoError):
        open_inside(str(source / "v.mp4"), str(source))
    with pytest.raises(FileNotFoundError):
        open_inside(str(source / "gone.mp4"), str(source))
    assert os.listdir("/proc/self/fd") == before


def test_where_it_cannot_be_told_where_links_lead_nothing_is_read(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vidcnn.sources.fence._own_link", lambda descriptor: "/nowhere")
    with pytest.raises(StorageError, match="mount /proc"):
        open_inside(str(source / "own.mp4"), str(source))


def test_the_nearest_root_is_the_one(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    fence = Fence([str(tmp_path / "a"), str(tmp_path / "a" / "b")])
    assert fence.root_of(str(tmp_path / "a" / "b" / "v")) == str(tmp_path / "a" / "b")
    assert fence.root_of(str(tmp_path / "a" / "bc")) == str(tmp_path / "a")
    assert fence.root_of(str(tmp_path / "ab")) is None
    assert Fence(["/"]).root_of("/etc/passwd") == "/"
