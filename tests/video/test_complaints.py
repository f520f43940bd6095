"""Damage of which libav only writes a line."""

from __future__ import annotations

import random
import threading
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.logging
import numpy as np
import pytest

from tests.video.decoding import decode_clips
from tests.video.test_damaged_files import write_moving
from tests.video.test_decode import X264
from tests.videos import numbered_frame, write_video
from vidcnn.errors import VideoError
from vidcnn.video.complaints import tells_of_damage, tells_of_loss
from vidcnn.video.container import open_video
from vidcnn.video.pixels import UInt8Array

ERROR = av.logging.ERROR


def test_only_the_decoder_at_work_is_heard() -> None:
    assert tells_of_damage([(ERROR, "gif", "LZW decode failed\n")], "gif")
    assert not tells_of_damage([(ERROR, "aac", "channel element is not allocated\n")], "gif")
    assert not tells_of_damage([], "gif")


def test_what_harms_no_frame_is_no_damage() -> None:
    assert not tells_of_damage([(ERROR, "hevc", "SEI type 5 size 900 truncated at 20\n")], "hevc")
    assert not tells_of_damage([(ERROR, "h264", "mmco: unref short failure\n")], "h264")
    assert not tells_of_damage([(ERROR, "wmv2", "Error at MB: 2074\n")], "wmv2")


@pytest.mark.parametrize("notes", [b"\xff\xe0\x00\x01", b"\xff\xe1\x00\x0aExif\0\0zz", b"\xff\xe0\x00\x04\x00\x00"])
def test_pictures_of_cameras_whose_notes_cannot_be_read_are_sound(notes: bytes, tmp_path: Path) -> None:
    path = tmp_path / "camera.mkv"
    with av.open(str(path), "w") as output:
        stream: Any = output.add_stream("mjpeg", rate=10)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuvj420p"
        for index in range(12):
            frame = av.VideoFrame.from_ndarray(numbered_frame(index, (64, 96)), format="gray")
            for packet in stream.encode(frame.reformat(format="yuvj420p")):
                data = bytes(packet)  # a segment before all others whose length or content is wrong
                noted = av.Packet(data[:2] + notes + data[2:])
                noted.stream, noted.pts, noted.dts, noted.time_base = stream, index, index, Fraction(1, 10)
                noted.is_keyframe = True
                output.mux(noted)
    clips = decode_clips(path)
    assert len(clips) == 12
    assert not [clip for clip in clips if isinstance(clip, VideoError)]


def test_a_container_tells_of_checksums() -> None:
    assert tells_of_loss([(ERROR, "ogg", "CRC mismatch!\n")], "ogg")
    assert not tells_of_loss([(ERROR, "ogg", "Header packet missing\n")], "ogg")
    assert not tells_of_loss([(ERROR, "aac", "CRC mismatch!\n")], "ogg")


LOGGED: dict[str, dict[str, Any]] = {
    "a.gif": {"codec": "gif", "pixel_format": "gray"},
    "a.mkv": {"codec": "ffv1", "options": {"level": "3", "slicecrc": "1", "slices": "4"}, "keyframe_interval": 1},
    "a.mov": {"codec": "png", "pixel_format": "gray"},
    "a.apng": {"codec": "apng", "pixel_format": "gray"},
}


def noisy(path: Path) -> Path:
    """Write frames whose every byte counts."""
    arguments = LOGGED[path.name]
    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as output:
        stream: Any = output.add_stream(arguments["codec"], rate=10)
        stream.width, stream.height = 96, 64
        stream.pix_fmt = arguments.get("pixel_format", "yuv420p")
        stream.codec_context.gop_size = arguments.get("keyframe_interval", 12)
        stream.options = arguments.get("options", {})
        for index in range(12):
            board = np.kron(rng.integers(0, 255, (16, 24), np.uint8), np.ones((4, 4), np.uint8))
            frame = av.VideoFrame.from_ndarray(board, format="gray").reformat(format=stream.pix_fmt)
            frame.pts = index
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("name", LOGGED)
def test_damage_that_is_only_logged_does_not_pass_for_sound(name: str, tmp_path: Path) -> None:
    path = noisy(tmp_path / name)
    intact = decode_clips(path)
    assert len(intact) == 12
    assert not any(isinstance(clip, VideoError) for clip in intact)
    with av.open(str(path)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    data = path.read_bytes()
    rng = random.Random(0)
    num_changed = num_passed = 0
    for _ in range(10):
        broken = bytearray(data)
        position, size = rng.choice(places[1:-1])
        middle = (position or 0) + size // 2
        broken[middle : middle + 8] = bytes(byte ^ 0x55 for byte in broken[middle : middle + 8])
        path.write_bytes(broken)
        clips = decode_clips(path)
        if len(clips) != len(intact):
            continue
        for clip, expected in zip(clips, intact, strict=True):
            is_changed = isinstance(clip, VideoError) or differ(clip, expected)
            num_changed += is_changed
            num_passed += is_changed and not isinstance(clip, VideoError)
    assert num_changed > 0
    if name != "a.gif":  # these have checksums
        assert num_passed == 0
    assert num_passed <= num_changed / 3


def differ(clip: UInt8Array, expected: UInt8Array | VideoError) -> bool:
    return isinstance(expected, VideoError) or not np.array_equal(clip, expected)


def test_what_follows_a_page_that_ogg_left_out_is_not_sound(tmp_path: Path) -> None:
    path = write_moving(tmp_path / "a.ogg", "libvpx", {"deadline": "realtime", "cpu-used": "8", "b": "2000000"})
    intact = decode_clips(path)
    assert not any(isinstance(clip, VideoError) for clip in intact)
    data = path.read_bytes()
    pages = [at for at in range(len(data)) if data[at : at + 4] == b"OggS"]
    num_errors = 0
    for page in pages[3:-1]:
        middle = page + 200
        changed = bytes(byte ^ 0xFF for byte in data[middle : middle + 4])
        path.write_bytes(data[:middle] + changed + data[middle + 4 :])
        for clip in decode_clips(path):
            num_errors += isinstance(clip, VideoError)
            assert isinstance(clip, VideoError) or not all(differ(clip, other) for other in intact)
    assert num_errors > 0


def test_hevcs_own_checksums_are_heeded(tmp_path: Path) -> None:
    """libav's decoder notices hardly any damage by itself."""
    options = {"preset": "ultrafast", "x265-params": "log-level=none:pools=none:hash=1"}
    path = write_moving(tmp_path / "a.mkv", "libx265", options)
    intact = decode_clips(path)
    assert not any(isinstance(clip, VideoError) for clip in intact)
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        keyframes = [index for index, packet in enumerate(packets) if packet.is_keyframe]
        packet = packets[keyframes[1] + 5]
    data = bytearray(path.read_bytes())
    middle = (packet.pos or 0) + packet.size // 2
    data[middle : middle + 4] = bytes(byte ^ 0xFF for byte in data[middle : middle + 4])
    path.write_bytes(data)
    clips = decode_clips(path)
    assert any(isinstance(clip, VideoError) for clip in clips)
    for clip, expected in zip(clips, intact, strict=True):
        assert isinstance(clip, VideoError) or not differ(clip, expected)


def test_another_threads_errors_are_not_this_files(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.gif", 30, codec="gif", pixel_format="gray")
    stopped = threading.Event()

    def complain() -> None:
        while not stopped.is_set():
            av.logging.log(ERROR, "gif", "LZW decode failed\n")

    thread = threading.Thread(target=complain)
    thread.start()
    try:
        clips = decode_clips(path)
    finally:
        stopped.set()
        thread.join()
    assert len(clips) == 30
    assert not any(isinstance(clip, VideoError) for clip in clips)


def test_what_libav_says_reaches_no_terminal(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = write_video(tmp_path / "a.mp4", 8, options=X264)
    with open_video(str(path)):
        av.logging.log(ERROR, "h264", "error while decoding\n")
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""
