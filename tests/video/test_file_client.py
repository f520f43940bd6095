"""Files that another process asks for: what opens them is in this process, too, behind a socket."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from pyarrow import fs

from tests.video.test_grants import Video
from vidcnn.errors import StorageError, VideoError
from vidcnn.video import file_client, files, frame_folders
from vidcnn.video.file_client import NUM_AHEAD, FileClient
from vidcnn.video.file_server import FileServer
from vidcnn.video.files import file_version, open_file
from vidcnn.video.grants import Grant


@pytest.fixture
def both(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[FileServer, FileClient]]:
    mine, its = socket.socketpair()
    server, client = FileServer(mine), FileClient(its)
    yield server, client
    client.begin()
    its.close()
    server.close()


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    storage = fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem())
    for module in (files, frame_folders):
        monkeypatch.setattr(
            module, "open_filesystem", lambda location: (storage, location.removeprefix("s3://bucket/"))
        )
    return tmp_path


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def write_files(folder: Path, number: int) -> list[str]:
    for index in range(number):
        (folder / f"{index}.bin").write_bytes(bytes([index]) * 5)
    return [str(folder / f"{index}.bin") for index in range(number)]


def test_files_are_handed_over_in_any_order_whether_expected_or_not(
    both: tuple[FileServer, FileClient], tmp_path: Path
) -> None:
    server, client = both
    paths = write_files(tmp_path, 9)
    server.grant = Grant.of(map(Video, paths))
    client.expect(paths[2:6])
    for index in (0, 2, 3, 3, 5, 8, 4):
        with client.open(paths[index]) as stream:
            assert stream.read() == bytes([index]) * 5
            with pytest.raises(OSError, match=r"not open for writing|Bad file descriptor"):
                stream.write(b"x")


def test_no_more_are_open_ahead_than_are_allowed_and_none_is_left(
    both: tuple[FileServer, FileClient], tmp_path: Path
) -> None:
    server, client = both
    paths = write_files(tmp_path, 3 * NUM_AHEAD)
    server.grant = Grant.of(map(Video, paths))
    before = open_descriptors()
    for number, path in enumerate(paths):
        client.expect(paths[number:])
        client.open(path).close()
        assert open_descriptors() <= before + 2 * NUM_AHEAD + 3
    client.expect(paths)
    client.begin()
    client.open(paths[-1]).close()  # by then, all that was asked for before has come
    client.begin()
    deadline = time.monotonic() + 10
    while open_descriptors() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert open_descriptors() == before


def test_why_a_file_cannot_be_opened_is_told_as_it_is_found(
    both: tuple[FileServer, FileClient], tmp_path: Path
) -> None:
    server, client = both
    (tmp_path / "a.bin").write_bytes(b"12345")
    os.mkfifo(tmp_path / "pipe")
    paths = [str(tmp_path / name) for name in ("gone", "pipe", "a.bin", "a.bin/b")]
    server.grant = Grant.of(map(Video, paths))
    client.expect(paths)
    for path, kind in zip(paths, ("changed", "unreadable", None, "unreadable"), strict=True):
        if kind is None:
            client.open(path).close()
            continue
        with pytest.raises(VideoError) as info:
            client.open(path)
        assert info.value.kind == kind
    with pytest.raises(StorageError, match="is not one of its videos"):
        client.open(str(tmp_path / "other"))
    assert client.version(paths[2])[0] == 5
    with pytest.raises(VideoError, match="does not exist"):
        client.version(paths[0])


def test_a_process_that_opens_nothing_itself_reads_as_any_other(
    both: tuple[FileServer, FileClient], bucket: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, client = both
    (bucket / "frames").mkdir()
    (bucket / "frames" / "1.png").write_bytes(b"x")
    (bucket / "a.bin").write_bytes(bytes(range(100)))
    places = [str(bucket / "a.bin"), "s3://bucket/a.bin"]
    folders = [str(bucket / "frames"), "s3://bucket/frames"]
    server.grant = Grant.of([*map(Video, places), *(Video(folder, True) for folder in folders)])
    assert [client.version(place) for place in places] == [file_version(place) for place in places]
    assert [client.list_folder(folder) for folder in folders] == [["1.png"]] * 2
    monkeypatch.setattr(file_client, "_client", client)
    for place in places:
        file = open_file(place)
        file.seek(10)
        assert (file.size_bytes, file.read(3), file.read(200)) == (100, bytes([10, 11, 12]), bytes(range(13, 100)))
        file.close()
    for folder in folders:
        image = open_file(f"{folder}/1.png")
        assert image.read(5) == b"x"
        image.close()
    for gone in ("/gone", "s3://bucket/gone", "s3://bucket/frames/2.png"):
        with pytest.raises((StorageError, VideoError), match=r"not one of its videos|does not exist"):
            open_file(gone)


@pytest.mark.parametrize("name", ["why?", "\udcff\n", "%2e#", "a?b=c&d", "\U0001f469\u202e"])
def test_a_folder_of_frames_may_have_any_name(
    name: str, both: tuple[FileServer, FileClient], bucket: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, client = both
    monkeypatch.setattr(file_client, "_client", client)
    (tmp := bucket / name).mkdir()
    frames = [f"{name}{number}.png" for number in (9, 10)]
    for frame in reversed(frames):
        (tmp / frame).write_bytes(os.fsencode(frame))
    places = [str(tmp)] if "\udcff" in name else [str(tmp), f"s3://bucket/{name}"]  # keys of objects are UTF-8
    for place in places:
        server.grant = Grant.of([Video(place, is_frame_folder=True)])
        found = frame_folders.folder_frames(place)
        assert found == [f"{place}/{frame}" for frame in frames]
        client.expect(found)
        for location, frame in zip(found, frames, strict=True):
            with closing(open_file(location)) as opened:
                assert opened.read(999) == os.fsencode(frame)


def test_when_the_parent_has_gone_that_is_said(tmp_path: Path) -> None:
    mine, its = socket.socketpair()
    client = FileClient(its)
    mine.close()
    with pytest.raises((OSError, StorageError)):
        client.open(str(tmp_path / "a"))
    its.close()
