from __future__ import annotations

import os
import socket
import struct
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from tests.video.test_file_client import both, bucket  # noqa: F401
from tests.video.test_grants import Video
from vidcnn.errors import StorageError
from vidcnn.training.cache_folder import CacheFolder
from vidcnn.video import files
from vidcnn.video.file_client import LENGTH, AskedEntries, FileClient, RemoteStream
from vidcnn.video.file_server import FileServer
from vidcnn.video.grants import NOTHING, Grant


def drain(question: bytes, grant: Grant = NOTHING, after: bytes = b"") -> None:
    """Ask a server, go, and read what it answers until it ends."""
    mine, its = socket.socketpair()
    server = FileServer(mine)
    server.grant = grant
    with its:
        its.settimeout(20)
        its.sendall(LENGTH.pack(len(question)) + question + after)
        its.shutdown(socket.SHUT_WR)
        while its.recv(1 << 16):
            pass
    server.close()


@pytest.mark.parametrize(
    "question",
    [b"", b"[", b"5", b'["open"]', b'["open", 5]', b'["x", "/a"]', b'{"a": 1}', b"[" * 5000, b'["open", "\\ud800"]'],
)
def test_questions_that_are_none_end_the_server_or_are_refused(question: bytes) -> None:
    drain(question)


def test_a_question_that_is_too_long_is_not_waited_for() -> None:
    mine, its = socket.socketpair()
    with its:
        FileServer(mine)
        its.settimeout(20)
        its.sendall(struct.pack("<I", 2**31))
        assert its.recv(1) == b""


def names_of_threads() -> set[str]:
    return {thread.name for thread in threading.enumerate()}


def test_a_server_that_is_closed_has_closed_all(bucket: Path) -> None:  # noqa: F811
    (bucket / "a.bin").write_bytes(b"x")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(50):
        mine, its = socket.socketpair()
        server, client = FileServer(mine), FileClient(its)
        server.grant = Grant.of([Video("s3://bucket/a.bin")])
        streams = [client.open("s3://bucket/a.bin") for _ in range(3)]
        assert [stream.read(1) for stream in streams] == [b"x"] * 3
        server.close()
        assert names_of_threads().isdisjoint({"files", "object"})
        for stream in streams:
            stream.close()
        client.begin()
        its.close()
        assert len(os.listdir("/proc/self/fd")) == before


def test_a_server_does_not_wait_for_storage_that_gives_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    answers, asked = threading.Event(), threading.Event()

    def open_stream(location: str) -> BytesIO:
        asked.set()
        answers.wait(60)
        return BytesIO(b"x")

    monkeypatch.setattr(files, "open_stream", open_stream)
    mine, its = socket.socketpair()
    server, client = FileServer(mine), FileClient(its)
    server.grant = Grant.of([Video("s3://bucket/a.bin")])

    def open_it() -> None:
        with suppress(OSError, EOFError, StorageError):
            client.open("s3://bucket/a.bin")

    opening = threading.Thread(target=open_it)
    opening.start()
    assert asked.wait(20)
    began = time.monotonic()
    server.close()
    assert time.monotonic() - began < 10
    its.close()
    answers.set()
    opening.join(20)
    assert not opening.is_alive()


class Shelf:
    """Keeps entries in memory, up to a size."""

    def __init__(self, room: int, fails_after: int | None = None) -> None:
        self.room = room
        self.fails_after = fails_after
        self.entries: dict[str, bytes] = {}

    def open(self, name: str) -> int:
        descriptor = os.memfd_create(name)
        try:
            os.write(descriptor, self.entries[name])
        except KeyError:
            os.close(descriptor)
            raise FileNotFoundError(2, "there is none", name) from None
        os.lseek(descriptor, 0, os.SEEK_SET)
        return descriptor

    def has_room(self, num_bytes: int) -> bool:
        return num_bytes <= self.room

    def keep(self, name: str, num_bytes: int, content: Iterable[bytes | memoryview]) -> bool:
        kept = b""
        for part in content:
            kept += part
            if self.fails_after is not None and len(kept) > self.fails_after:
                return False
        assert len(kept) == num_bytes
        self.entries[name] = kept
        return True


def test_what_was_made_of_videos_is_kept_and_given_back(
    both: tuple[FileServer, FileClient],  # noqa: F811
    tmp_path: Path,
) -> None:
    server, client = both
    (tmp_path / "a").write_bytes(b"12345")
    video = str(tmp_path / "a")
    shelf = Shelf(room=10**7)
    server.grant = Grant.of([Video(video)], shelf)
    asking = AskedEntries(client)
    client.expect([video])
    large = bytes(range(256)) * 20_000
    with pytest.raises(FileNotFoundError):
        asking.open("x")
    assert asking.has_room(len(large))
    assert asking.keep("x", len(large), (large[:40], memoryview(large)[40:]))
    assert shelf.entries == {"x": large}
    with client.open(video) as stream:  # which was asked for before
        assert stream.read() == b"12345"
    with open(asking.open("x"), "rb") as file:
        assert file.read() == large
    assert not asking.has_room(10**8)
    shelf.fails_after = 100
    assert not asking.keep("y", len(large), [large])
    assert client.version(video)[0] == 5  # the answer to this, not a part of what was not kept
    assert set(shelf.entries) == {"x"}


def test_who_is_granted_no_entries_gets_none(both: tuple[FileServer, FileClient]) -> None:  # noqa: F811
    asking = AskedEntries(both[1])
    for act in (lambda: asking.open("x"), lambda: asking.has_room(5), lambda: asking.keep("x", 5, [b"12345"])):
        with pytest.raises(StorageError, match="asked for"):
            act()


def test_a_process_that_goes_while_it_gives_what_to_keep_leaves_nothing(tmp_path: Path) -> None:
    question = b'["keep", ["%s", 500]]' % (b"a" * 40)
    drain(question, Grant.of([], CacheFolder(tmp_path, 10**6, 0.0)), after=b"x" * 499)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "question", [b'["keep", ["a", -1]]', b'["keep", "a"]', b'["keep", [[], {}]]', b'["room", null]']
)
def test_what_cannot_be_kept_is_not(question: bytes, tmp_path: Path) -> None:
    drain(question, Grant.of([], CacheFolder(tmp_path, 10**6, 0.0)))
    assert list(tmp_path.iterdir()) == []


def test_objects_are_read_at_the_same_time(
    both: tuple[FileServer, FileClient],  # noqa: F811
    bucket: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server, client = both
    for name in "ab":
        (bucket / name).write_bytes(name.encode() * 9)
    server.grant = Grant.of([Video("s3://bucket/a"), Video("s3://bucket/b")])
    together = threading.Barrier(2, timeout=20)
    opened = files.open_stream

    def open_together(location: str) -> Any:
        together.wait()
        return opened(location)

    monkeypatch.setattr(files, "open_stream", open_together)
    found: dict[str, bytes] = {}

    def read(name: str) -> None:
        stream = client.open(f"s3://bucket/{name}")
        found[name] = stream.read(20)
        stream.close()

    threads = [threading.Thread(target=read, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {"a": b"a" * 9, "b": b"b" * 9}


def test_what_the_storage_raises_is_raised_there_without_its_own_class(
    both: tuple[FileServer, FileClient],  # noqa: F811
    bucket: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server, client = both
    server.grant = Grant.of([Video("s3://bucket/a")])

    class SlowDownError(OSError):
        pass

    def refuse(location: str) -> Any:
        raise SlowDownError("AWS Error SLOW_DOWN")

    monkeypatch.setattr(files, "open_stream", refuse)
    with pytest.raises(OSError, match="AWS Error SLOW_DOWN") as info:
        client.open("s3://bucket/a")
    assert type(info.value) is OSError


def test_an_error_that_is_made_of_bytes_is_told_as_well(
    both: tuple[FileServer, FileClient],  # noqa: F811
    bucket: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server, client = both
    server.grant = Grant.of([Video("s3://bucket/a")])
    monkeypatch.setattr(files, "open_stream", lambda location: b"\xff".decode())
    with pytest.raises(ValueError, match="invalid start byte"):
        client.open("s3://bucket/a")


def test_reads_are_bounded(both: tuple[FileServer, FileClient], bucket: Path) -> None:  # noqa: F811
    server, client = both
    (bucket / "a").write_bytes(b"12345")
    server.grant = Grant.of([Video("s3://bucket/a")])
    stream = client.open("s3://bucket/a")
    assert isinstance(stream, RemoteStream)
    with pytest.raises(StorageError):
        stream.read(2**40)
    stream.seek(-3)
    with pytest.raises(StorageError):
        stream.read(1)
    stream.close()
