"""Opening untrusted files: whatever lies there, the answer is a video or a reason in plain words."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tests.video.decoding import frame_numbers
from tests.videos import write_video
from vidcnn.errors import StorageError, VideoError
from vidcnn.video import container, files
from vidcnn.video.container import open_video, plain_errors
from vidcnn.video.probe import probe_video


def kind_and_reason(path: Path | str) -> tuple[str, str]:
    with pytest.raises(VideoError) as info:
        probe_video(str(path))
    return info.value.kind, info.value.message


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("container") / "a.mp4", 8)


def test_files_that_are_no_videos_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "folder.mp4").mkdir()
    os.mkfifo(tmp_path / "pipe.mp4")
    assert kind_and_reason(tmp_path / "absent.mp4") == ("changed", "the file does not exist")
    assert kind_and_reason(write(tmp_path / "empty.mp4", b"")) == ("unreadable", "the file is empty")
    assert kind_and_reason(tmp_path / "folder.mp4") == ("unreadable", "it is a folder, and not one of numbered frames")
    assert kind_and_reason(tmp_path / "pipe.mp4") == ("unreadable", "it is not a regular file")
    kind, reason = kind_and_reason(write(tmp_path / "text.mp4", b"not a video at all\n" * 100))
    assert kind == "unreadable"
    assert "libav" in reason
    assert str(tmp_path) not in reason


def test_a_link_in_a_circle_is_unreadable(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").symlink_to(tmp_path / "a.mp4")
    assert kind_and_reason(tmp_path / "a.mp4")[0] == "unreadable"


def test_a_file_that_its_owner_locked_is_unreadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Any:
        raise PermissionError(13, "Permission denied")

    path = write(tmp_path / "a.mp4", b"locked")
    path.chmod(0)
    monkeypatch.setattr(files, "FileIO", refuse)  # root may read all files
    assert kind_and_reason(path) == ("unreadable", "permission denied")


PLAYLISTS = {
    "an ffconcat script": "ffconcat version 1.0\nfile '{}'\n",
    "an HLS playlist": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{}\n#EXT-X-ENDLIST\n",
    "a DASH manifest": (
        "<?xml version='1.0'?><MPD xmlns='urn:mpeg:dash:schema:mpd:2011' type='static'><Period><AdaptationSet>"
        "<Representation id='0' bandwidth='1'><BaseURL>{}</BaseURL></Representation></AdaptationSet></Period></MPD>"
    ),
    "a session description (SDP)": "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
}


@pytest.mark.parametrize("kind", PLAYLISTS)
@pytest.mark.parametrize("name", ["a.mp4", "a%03d.mp4"])
def test_playlists_are_unsafe_and_what_they_name_is_not_read(kind: str, name: str, tmp_path: Path, video: Path) -> None:
    target = write(tmp_path / "target.mp4", video.read_bytes())
    os.utime(target, ns=(0, 0))
    path = write(tmp_path / name, PLAYLISTS[kind].format(target).encode())
    assert kind_and_reason(path) == ("unsafe", f"it is {kind}, which would read other files")
    assert target.stat().st_atime_ns == 0


def test_the_list_of_formats_keeps_out_what_is_not_in_it(
    tmp_path: Path, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_video(tmp_path / "a.mkv", 4)
    assert probe_video(str(path)).times.num_frames == 4
    monkeypatch.setattr(container, "_FORMATS", container._FORMATS.replace("matroska,webm,", ""))
    assert kind_and_reason(path)[0] == "unreadable"
    assert probe_video(str(video)).times.num_frames == 8


def test_only_files_are_read(tmp_path: Path) -> None:
    assert kind_and_reason("http://127.0.0.1:9/a.mp4")[0] == "unreadable"
    path = write(tmp_path / "a.mp4", b"#EXTM3U\n#EXTINF:10,\nhttp://127.0.0.1:9/a.ts\n")
    assert kind_and_reason(path)[0] == "unsafe"


def write_streams(path: Path, *streams: str, cover: bool = False) -> Path:
    """Write a file with a second of sound, subtitles or video, and perhaps a cover picture."""
    with av.open(str(path), "w") as output:
        muxed = []
        for kind in streams:
            stream: Any = output.add_stream({"sound": "aac", "subtitles": "mov_text", "video": "libx264"}[kind])
            if kind == "sound":
                stream.sample_rate, stream.layout = 16000, "mono"
            elif kind == "video":
                stream.width = stream.height = 64
            muxed.append((kind, stream))
        if cover:
            picture: Any = output.add_stream("png", rate=1)
            picture.width, picture.height, picture.pix_fmt = 32, 32, "rgb24"
            picture.disposition = av.stream.Disposition.attached_pic
            muxed.append(("cover", picture))
        for kind, stream in muxed:
            if kind == "sound":
                frame: Any = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
                frame.sample_rate = 16000
            else:
                frame = av.VideoFrame(stream.width, stream.height, stream.pix_fmt)
            frame.pts = 0
            output.mux(stream.encode(frame))
        for _, stream in muxed:
            output.mux(stream.encode(None))
    return path


def test_sound_is_no_video(tmp_path: Path) -> None:
    assert kind_and_reason(write_streams(tmp_path / "a.mp4", "sound")) == (
        "no_video", "it has no video stream (only audio)",
    )  # fmt: skip


def test_cover_art_is_no_video(tmp_path: Path) -> None:
    path = write_streams(tmp_path / "a.mp4", "sound", cover=True)
    assert kind_and_reason(path) == ("no_video", "it has no video stream (only audio and cover art)")


def test_cover_art_beside_a_video_is_passed_over(tmp_path: Path) -> None:
    path = write_streams(tmp_path / "a.mp4", "video", cover=True)
    info = probe_video(str(path))
    assert (info.codec, info.width, info.times.num_frames) == ("h264", 64, 1)


def test_subtitles_are_no_video(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mkv", subtitles_in_matroska())
    assert kind_and_reason(path) == ("no_video", "it has no video stream (only subtitle)")


def subtitles_in_matroska() -> bytes:
    def element(name: str, *content: bytes) -> bytes:
        body = b"".join(content)
        return bytes.fromhex(name) + struct.pack(">BI", 0x08, len(body)) + body

    header = element("1a45dfa3", element("4282", b"matroska"))
    track = element(
        "ae", element("d7", b"\1"), element("73c5", b"\1"), element("83", b"\x11"), element("86", b"S_TEXT/UTF8")
    )
    block = element("a0", element("a1", b"\x81\0\0\0hello"), element("9b", b"\x64"))
    return header + element("18538067", element("1654ae6b", track), element("1f43b675", element("e7", b"\0"), block))


def test_metadata_that_is_not_utf8_does_no_harm(tmp_path: Path, video: Path) -> None:
    source = write_video(tmp_path / "a.mkv", 4)
    with av.open(str(source)) as original, av.open(str(tmp_path / "b.mkv"), "w") as output:
        output.metadata["title"] = "TITLETITLE"
        stream = output.add_stream_from_template(original.streams.video[0])
        for packet in original.demux(video=0):
            if packet.size:
                packet.stream = stream
                output.mux(packet)
    path = write(
        tmp_path / "c.mkv", (tmp_path / "b.mkv").read_bytes().replace(b"TITLETITLE", b"TITLE\xff\xfe\xe9\x80E")
    )
    with pytest.raises(UnicodeDecodeError):
        av.open(str(path))
    assert probe_video(str(path)).times.num_frames == 4


def test_a_picture_is_a_video_of_one_frame_whatever_its_extension(tmp_path: Path) -> None:
    data = png(30, 20)
    for name in ("a.png", "a.jpg", "a.mp4"):
        assert probe_video(str(write(tmp_path / name, data))).times.num_frames == 1


def png(width: int, height: int, *, lines: int | None = None) -> bytes:
    """Return a black PNG, perhaps with the first of its lines only."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    data = zlib.compress(bytes((width + 1) * (height if lines is None else lines)))
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def test_a_decompression_bomb_is_too_large(tmp_path: Path) -> None:
    assert kind_and_reason(write(tmp_path / "a.png", png(9_000, 9_000, lines=3))) == (
        "too_large", "libav refuses its frames (Picture size 9000x9000 exceeds specified max pixel count 67108864)",
    )  # fmt: skip
    assert kind_and_reason(write(tmp_path / "a.png", png(2_000_000, 2_000_000, lines=0)))[0] == "too_large"


def test_a_video_whose_frames_are_above_the_limit_is_not_decoded(video: Path) -> None:
    with pytest.raises(VideoError, match="frames are 64x64, above the limit of 4095 pixels") as info:
        probe_video(str(video), max_pixels=64 * 64 - 1)
    assert info.value.kind == "too_large"
    assert probe_video(str(video), max_pixels=64 * 64).width == 64


def test_frames_that_grow_beyond_the_limit_in_the_stream_are_not_decoded(tmp_path: Path) -> None:
    halves = [
        write_video(tmp_path / f"{side}.h264", 5, container="h264", size=(side, side)).read_bytes()
        for side in (64, 256)
    ]
    path = write(tmp_path / "a.h264", b"".join(halves))
    numbers = frame_numbers(path, request={"max_pixels": 128 * 128})
    assert numbers == [0, 1, 2] + ["too_large"] * 7  # 3 and 4 were still in the decoder


@pytest.mark.parametrize(
    ("raised", "kind", "message"),
    [
        (MemoryError(), "too_large", "more memory than there is"),
        (av.error.InvalidDataError(1, "Invalid data", "x"), "unreadable", "Invalid data"),
        (av.error.PermissionError(1, "Operation not permitted", "x"), "unreadable", "Operation not permitted"),
        (IndexError("tuple index out of range"), "unreadable", "tuple index"),
        (ZeroDivisionError("division by zero"), "unreadable", "division by zero"),
        (VideoError("timeout", "too slow"), "timeout", "too slow"),
    ],
)
def test_what_a_file_leads_to_becomes_a_reason(raised: Exception, kind: str, message: str) -> None:
    with pytest.raises(VideoError, match=message) as info, plain_errors():
        raise raised
    assert info.value.kind == kind


def test_what_pyav_does_not_expect_is_the_files_fault(video: Path) -> None:
    with pytest.raises(VideoError) as info, open_video(str(video)) as opened:
        opened.container.seek("a word")  # raises a TypeError inside PyAV
    assert info.value.kind == "unreadable"


@pytest.mark.parametrize("raised", [TypeError("an integer is required"), AssertionError(), StorageError("gone")])
def test_faults_of_the_program_and_of_the_storage_are_no_faults_of_a_file(raised: Exception) -> None:
    with pytest.raises(type(raised)), plain_errors():
        raise raised


def test_keyboard_interrupts_pass() -> None:
    with pytest.raises(KeyboardInterrupt), plain_errors():
        raise KeyboardInterrupt
