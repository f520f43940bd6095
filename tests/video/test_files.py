"""The bytes of videos: read whole or not at all, from disks and from object storage."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyarrow import fs

from tests.video.decoding import frame_numbers, plan
from tests.video.test_decode import X264
from tests.videos import write_video
from vidcnn.errors import StorageError, VideoError
from vidcnn.storage.retrying import RetryPolicy
from vidcnn.video import files
from vidcnn.video.decode import DecodeRequest, decode_segment
from vidcnn.video.files import ObjectStream, VideoFile, file_version, open_file, read_at

AT_ONCE = RetryPolicy(num_tries=3, first_wait_seconds=0)


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
        with pytest.raises(VideoError, match="the file does not exist") as info:
            file_version(gone)
        assert info.value.kind == "changed"


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


class Unreliable(io.BytesIO):
    """A file of storage that fails after some bytes, for some time.

    Args:
        data: What is in it.
        num_sound: Bytes that come before it fails.
        num_failures: How often it fails then.
        how: ``raise``; ``short``, to give out less than it was asked for; or ``end``, to give out nothing.
    """

    def __init__(self, data: bytes, num_sound: int, num_failures: int, how: str) -> None:
        super().__init__(data)
        self.num_sound, self.num_failures, self.how = num_sound, num_failures, how

    def read(self, size: int | None = -1) -> bytes:
        start = self.tell()
        data = super().read(size)
        if start + len(data) <= self.num_sound or not self.num_failures:
            return data
        self.num_failures -= 1
        if self.how == "raise":
            raise OSError(errno.EIO, "Input/output error")
        return b"" if self.how == "end" else data[: max(0, self.num_sound - start)]

    def close(self) -> None:
        """Stay open: every attempt reads the same stream."""


def opening(stream: io.BytesIO) -> Callable[..., VideoFile]:
    return lambda location, root=None: VideoFile(location, lambda: stream, AT_ONCE)


@pytest.mark.parametrize("how", ["raise", "short", "end"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_no_frame_is_made_up_where_the_storage_fails(
    how: str, share: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    data = write_video(tmp_path / "a.ts", 200, options=X264, size=(256, 256)).read_bytes()
    location = str(tmp_path / "a.ts")
    info, (segment,) = plan(location, max_clips=1000)
    stream = Unreliable(data, int(len(data) * share), 10**9, how)
    monkeypatch.setattr("vidcnn.video.container.open_file", opening(stream))
    monkeypatch.setattr(files, "_LOCAL_BUFFER_BYTES", 4096)
    with pytest.raises(StorageError, match="it cannot be read"):
        plan(location)
    clips = list(decode_segment(DecodeRequest(location, segment, timing=info.timing)))
    assert sorted(clip.index for clip in clips) == list(range(200))
    assert all(clip.error is None or isinstance(clip.error, StorageError) for clip in clips)
    assert any(clip.error is not None for clip in clips)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("how", ["raise", "short", "end"])
def test_what_fails_twice_is_read_the_third_time(how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write_video(tmp_path / "a.ts", 100, options=X264, size=(256, 256)).read_bytes()
    stream = Unreliable(data, len(data) // 2, 2, how)
    monkeypatch.setattr("vidcnn.video.container.open_file", opening(stream))
    assert frame_numbers(tmp_path / "a.ts") == list(range(100))
    assert stream.num_failures == 0


class Padding(io.BytesIO):
    """Object storage that answers with half of the bytes, and a client that fills up with what its memory holds."""

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        return data[: len(data) // 2] + os.urandom(len(data) - len(data) // 2)


@pytest.mark.parametrize("num_bytes", [1, 63, 64, 65, 5000])
def test_an_answer_that_was_filled_up_is_no_answer(num_bytes: int) -> None:
    content = os.urandom(10_000)
    sound = VideoFile("s3://bucket/a", lambda: io.BytesIO(content), AT_ONCE)
    assert (sound.read(num_bytes), sound.read(num_bytes)) == (content[:num_bytes], content[num_bytes : 2 * num_bytes])
    padded = VideoFile("s3://bucket/a", lambda: Padding(content), AT_ONCE)
    with pytest.raises(StorageError, match=f"does not give the {num_bytes} bytes from 0 on"):
        assert all(padded.seek(0) == 0 and padded.read(num_bytes) for _ in range(20))  # one byte may be right by chance


def test_a_file_that_shrinks_while_it_is_read_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(bytes(100))
    file = open_file(str(path))
    assert file.read(10) == bytes(10)
    os.truncate(path, 50)
    with pytest.raises(VideoError, match="became shorter") as info:
        file.read(90)
    assert info.value.kind == "changed"
    with pytest.raises(VideoError, match="became shorter"):
        file.raise_failure()
    file.close()


def test_places_that_do_not_exist_are_answered_with_a_number() -> None:
    file = VideoFile("/a", lambda: io.BytesIO(b"abc"))
    assert file.seek(2) == 2
    assert (file.tell(), file.read(10)) == (2, b"c")
    assert file.seek(-5) < 0
    assert file.seek(-1, os.SEEK_END) == 2
    assert file.seek(0, 0x10000) == 3  # libav asks for the size
    assert file.tell() == 2
    assert file.seek(100) == 100
    assert file.read(5) == b""


def test_a_failure_is_raised_once_and_then_the_file_is_over() -> None:
    file = opening(Unreliable(b"abc", 1, 10**9, "raise"))("/a")
    with pytest.raises(StorageError, match="input/output error"):
        file.read(3)
    assert file.read(3) == b""
    with pytest.raises(StorageError, match="input/output error"):
        file.raise_failure()


@pytest.mark.parametrize("name", ["plain.mp4", "img%03d.mp4", "caf\udce9.mp4"])
def test_any_name_can_be_opened(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"abc")
    file = open_file(str(tmp_path / name))
    assert (file.size_bytes, file.read(9)) == (3, b"abc")
    file.close()


def test_too_many_open_files_are_no_fault_of_a_video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Any:
        raise OSError(errno.EMFILE, "Too many open files")

    path = write_video(tmp_path / "a.mp4", 5)
    monkeypatch.setattr(files, "FileIO", refuse)
    with pytest.raises(StorageError, match="too many open files"):
        plan(path)


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


def test_bytes_that_an_object_does_not_give_are_others_each_time() -> None:
    class HalfReading(io.BytesIO):
        """Gives half of the bytes, and says that all came, as Arrow does of what object storage owes."""

        def readinto(self, buffer: Any) -> int:
            super().readinto(memoryview(buffer)[: len(buffer) // 2])
            return len(buffer)

    stream = ObjectStream(HalfReading(bytes(range(64))))
    found = []
    for _ in range(2):
        stream.seek(0)
        found.append(stream.read(64))
    assert [len(data) for data in found] == [64, 64]
    assert found[0][:32] == found[1][:32] == bytes(range(32))
    assert all(one != other for one, other in zip(found[0][32:], found[1][32:], strict=True))
