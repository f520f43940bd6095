from __future__ import annotations

import socket
import struct
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.video.test_file_client import both, bucket  # noqa: F401
from tests.video.test_grants import Video
from vidcnn.errors import StorageError
from vidcnn.video import files
from vidcnn.video.file_client import LENGTH, FileClient, RemoteStream
from vidcnn.video.file_server import FileServer
from vidcnn.video.grants import Grant


@pytest.mark.parametrize(
    "question",
    [b"", b"[", b"5", b'["open"]', b'["open", 5]', b'["x", "/a"]', b'{"a": 1}', b"[" * 5000, b'["open", "\\ud800"]'],
)
def test_questions_that_are_none_end_the_server_or_are_refused(question: bytes) -> None:
    mine, its = socket.socketpair()
    with its:
        server = FileServer(mine)
        its.settimeout(20)
        its.sendall(LENGTH.pack(len(question)) + question)
        its.shutdown(socket.SHUT_WR)
        while its.recv(1 << 16):
            pass
        server.close()


def test_a_question_that_is_too_long_is_not_waited_for() -> None:
    mine, its = socket.socketpair()
    with its:
        FileServer(mine)
        its.settimeout(20)
        its.sendall(struct.pack("<I", 2**31))
        assert its.recv(1) == b""


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
