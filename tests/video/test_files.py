from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import pytest
from pyarrow import fs

from vidcnn.errors import VideoError
from vidcnn.video import container, files
from vidcnn.video.decode import DecodeRequest, decode_segment
from vidcnn.video.files import ReadFile, file_version, open_for_libav, read_at

from ..videos import write_video
from .decoding import frame_numbers, plan
from .test_decode import X264


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands for the object storage behind ``s3://bucket``."""
    storage = fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem())
    monkeypatch.setattr(files, "open_filesystem", lambda location: (storage, location.removeprefix("s3://bucket/")))
    return tmp_path


def test_the_version_of_a_file_is_its_size_and_time(bucket: Path) -> None:
    path = bucket / "a b.mp4"
    path.write_bytes(b"12345")
    os.utime(path, ns=(5, 1_234_567_890_123_456_789))
    expected = (5, 1_234_567_890_123_456_789)
    assert file_version(str(path)) == expected
    assert file_version(f"file://{bucket}/a%20b.mp4") == expected
    assert file_version("s3://bucket/a b.mp4") == expected
    for gone in (str(path) + ".gone", "s3://bucket/gone"):
        with pytest.raises(FileNotFoundError):
            file_version(gone)


def test_bytes_are_read_at_any_place(bucket: Path) -> None:
    (bucket / "a.bin").write_bytes(bytes(range(100)))
    for location in (str(bucket / "a.bin"), "s3://bucket/a.bin"):
        read = read_at(location)
        assert read(10, 3) == bytes([10, 11, 12])
        assert read(98, 10) == bytes([98, 99])
        assert read(200, 10) == b""


def test_videos_in_object_storage_are_read_like_local_ones(bucket: Path) -> None:
    write_video(bucket / "a.mp4", 30, options=X264)
    assert frame_numbers("s3://bucket/a.mp4") == list(range(30))
    (bucket / "empty.mp4").touch()
    with pytest.raises(VideoError, match="the file is empty"):
        plan("s3://bucket/empty.mp4")
    with pytest.raises(VideoError, match="the file does not exist"):
        plan("s3://bucket/gone.mp4")


class FailingFile(io.BytesIO):
    """A connection that breaks after some bytes."""

    left = 0

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        FailingFile.left -= len(data)
        if FailingFile.left < 0:
            raise OSError("When reading: connection reset by peer")
        return data


def test_a_connection_that_breaks_is_told_and_no_frames_are_made_up(
    bucket: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    data = write_video(bucket / "a.ts", 200, options=X264, size=(256, 256)).read_bytes()
    _, (segment,) = plan("s3://bucket/a.ts", max_clips=1000)
    monkeypatch.setattr(container, "open_for_libav", lambda _: (len(data), ReadFile(FailingFile(data))))
    monkeypatch.setattr(container, "_READ_BUFFER_BYTES", 4096)
    for share in (0.1, 0.5, 0.9):
        FailingFile.left = int(len(data) * share)
        clips = list(decode_segment(DecodeRequest("s3://bucket/a.ts", segment)))
        assert len(clips) == segment.num_clips
        errors = {(clip.error.kind, clip.error.message) for clip in clips if clip.error}
        assert len(errors) == 1
        kind, message = errors.pop()
        assert kind == "unreadable"
        assert "connection reset by peer" in message
    assert capfd.readouterr().err == ""


def test_places_that_do_not_exist_are_answered_with_a_number() -> None:
    file = ReadFile(io.BytesIO(b"abc"))
    assert file.seek(2) == 2
    assert (file.tell(), file.read(10)) == (2, b"c")
    assert file.seek(-5) < 0
    assert file.seek(-1, os.SEEK_END) == 2


def test_a_failure_is_raised_once_and_then_the_file_is_over() -> None:
    FailingFile.left = 1
    file = ReadFile(FailingFile(b"abc"))
    with pytest.raises(OSError, match="connection reset"):
        file.read(3)
    assert file.read(3) == b""


@pytest.mark.parametrize("name", ["plain.mp4", "img%03d.mp4", "caf\udce9.mp4"])
def test_names_that_libav_would_not_take_as_they_are_are_opened_for_it(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"abc")
    size, file = open_for_libav(str(tmp_path / name))
    assert size == 3
    assert (file is None) == (name == "plain.mp4")
    if file is not None:
        assert file.read(9) == b"abc"
        file.close()


def test_damaged_files_leave_no_stray_output(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data = write_video(tmp_path / "a.wmv", 20, codec="wmv2", container="asf").read_bytes()
    path: Any = tmp_path / "b%d.wmv"
    kinds = set()
    for position in range(16, 200):
        broken = bytearray(data)
        broken[position] ^= 0xFF
        path.write_bytes(broken)
        kinds.add(kind_of(path))
    assert kinds <= {None, "unreadable", "no_video"}
    assert len(kinds) > 1
    assert capfd.readouterr().err == ""


def kind_of(path: Path) -> str | None:
    try:
        plan(path)
    except VideoError as error:
        return error.kind
    return None
