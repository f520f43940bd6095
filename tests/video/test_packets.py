from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzzing import damaged
from tests.limits import within
from tests.video.interlaced import sequence_parameters, write_fields
from tests.video.test_decode import OPEN, X265
from tests.videos import write_video
from vidcnn.video.packets import can_skip_frames, frame_counter, picture_finder


def codec(name: str, extradata: bytes | None = None) -> Any:
    return SimpleNamespace(name=name, extradata=extradata)


def counted(path: Path) -> tuple[int, int, int]:
    """Return how many packets a file has, with how many a frame appears, and how many frames the decoder gives."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        packets = [packet for packet in container.demux(stream) if packet.size]
        appears = frame_counter(stream.codec_context)
        num_counted = sum(appears(packet) for packet in packets)
    with av.open(str(path)) as container:
        return len(packets), num_counted, len(list(container.decode(video=0)))


def test_vp8s_hidden_frames_are_told_by_one_bit() -> None:
    appears = frame_counter(codec("vp8"))
    assert appears(bytes([0b0001_0000, 0, 0]))
    assert not appears(bytes([0b1110_1111, 0, 0]))


@pytest.mark.parametrize(
    ("data", "is_shown"),
    [
        (bytes([0b10000110, 0]), True),  # profile 0, shown
        (bytes([0b10000100, 0]), False),  # hidden
        (bytes([0b10001000, 0]), True),  # an existing frame
        (bytes([0b10110010, 0]), False),  # profile 3 has one more bit before: hidden
        (bytes([0b10110011, 0]), True),
        (bytes([0b10000100, 0b11000000]), True),  # a superframe: several, of which the last is shown
        (bytes([0b00000000]), True),  # not VP9
        (bytes([0b10000110]), True),
    ],
)
def test_vp9s_hidden_frames_are_told_by_their_first_bits(data: bytes, is_shown: bool) -> None:
    assert frame_counter(codec("vp9"))(data) is is_shown


def test_two_fields_are_counted_once(tmp_path: Path) -> None:
    assert counted(write_fields(tmp_path / "a.ts", 20, container="mpegts", fields_apart=True)) == (40, 20, 20)


def test_other_packets_are_counted_each(tmp_path: Path) -> None:
    assert counted(write_video(tmp_path / "a.ts", 20, options=OPEN)) == (20, 20, 20)
    assert frame_counter(codec("mpeg4"))(b"anything")


def test_frames_are_skipped_only_where_that_is_exact(tmp_path: Path) -> None:
    assert can_skip_frames(codec("mpeg2video"))
    assert can_skip_frames(codec("h264", sequence_parameters(fields=False)))
    assert not can_skip_frames(codec("h264", sequence_parameters(fields=True)))
    assert not can_skip_frames(codec("libdav1d"))
    path = write_video(tmp_path / "a.mp4", 4, codec="libx265", options=X265)
    with av.open(str(path)) as container:
        one_layer = container.streams.video[0].codec_context.extradata
    assert one_layer is not None
    assert can_skip_frames(codec("hevc", one_layer))
    two_layers = one_layer[:21] + bytes([one_layer[21] & 0b11000111 | 2 << 3]) + one_layer[22:]
    assert not can_skip_frames(codec("hevc", two_layers))
    assert not can_skip_frames(codec("hevc", b"\0\0\0\1\x40\1"))  # how many there are is not told
    assert not can_skip_frames(codec("hevc", None))


class Data(bytes):
    """A packet with nothing but its bytes."""

    @property
    def size(self) -> int:
        return len(self)


DIRAC = b"BBCD"


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("gif", b",\0\0\0\0\x01\0\x01\0\0", True),
        ("gif", b"!\xf9\x04\0\x0a\0\0\0,\0\0\0\0\x01\0\x01\0\0", True),  # an image with its delay
        ("gif", b"!\xf9\x04\0\x0a\0\0\0", False),
        ("gif", b"!\xfe\x05hello\0!\xfe\x02ab\0;", False),
        ("gif", b"GIF89a", True),  # no block: for the decoder to say what it is
        ("dirac", DIRAC + b"\x10" + bytes(8), False),  # the end of a sequence
        ("dirac", DIRAC + b"\x00" + (20).to_bytes(4, "big") + bytes(11) + DIRAC + b"\xe8" + bytes(20), True),
        ("dirac", DIRAC + b"\x00" + (20).to_bytes(4, "big") + bytes(11), False),
        ("dirac", b"noise", True),
        ("mpeg2video", b"\0\0\1\xb3" + bytes(8), False),
        ("mpeg2video", b"\0\0\1\xb3" + bytes(8) + b"\0\0\1\0\0", True),
        ("h264", b"\0\0\1\x09\xf0", False),
        ("h264", b"\0\0\1\x65\x88", True),
        ("vp8", b"\x10", True),
    ],
)
def test_a_packet_may_hold_no_picture(name: str, data: bytes, expected: bool) -> None:
    assert picture_finder(codec(name))(Data(data)) is expected


def test_large_packets_are_not_looked_through() -> None:
    assert picture_finder(codec("gif"))(Data(b"!\xfe" + (b"\x04abcd" * 400) + b"\0"))


@pytest.mark.fuzz
@given(
    st.sampled_from(["vp8", "vp9", "h264", "hevc", "vvc", "dirac", "gif", "mpeg2video", "av1"]),
    damaged(b"", sequence_parameters()),
    damaged(b"\x82\x49\x83\x42", b"BBCD\x10\0\0\0\x0d\0\0\0\0BBCD\x08", b"!\xf9\x04\x04\x0a\0\0\0,;").filter(len),
)
def test_any_packet_is_looked_through(codec: str, extradata: bytes, packet: bytes) -> None:
    context: Any = SimpleNamespace(name=codec, extradata=extradata)
    data: Any = av.Packet(packet)
    with within(20):
        assert frame_counter(context)(data) in (True, False)
        assert picture_finder(context)(data) in (True, False)
        assert can_skip_frames(context) in (True, False)
