from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzzing import damaged
from tests.limits import within
from vidcnn.video.nal import nal_picture_finder

AVCC = bytes([1, 100, 0, 13, 0xFF])  # lengths of four bytes
HVCC = bytes([1, *[0] * 20, 0xFD])  # lengths of two bytes
VVCC = bytes([0xFF])  # lengths of four bytes


def has_picture(name: str, extradata: bytes | None, data: bytes) -> bool:
    codec: Any = SimpleNamespace(name=name, extradata=extradata)
    find = nal_picture_finder(codec)
    assert find is not None
    return find(data)


def test_other_codecs_have_no_units() -> None:
    codec: Any = SimpleNamespace(name="vp9", extradata=None)
    assert nal_picture_finder(codec) is None


@pytest.mark.parametrize(
    ("name", "unit", "expected"),
    [
        ("h264", b"\x65\x88", True),  # IDR
        ("h264", b"\x01\x88", True),
        ("h264", b"\x6e\x88", True),  # a prefix: a slice follows it, perhaps inside
        ("h264", b"\x09\xf0", False),  # access unit delimiter
        ("h264", b"\x0a", False),  # end of sequence
        ("h264", b"\x06\x05\x01\x80", False),
        ("hevc", b"\x26\x01\xaf", True),  # IDR_W_RADL
        ("hevc", b"\x0c\x01\xaf", True),  # RADL_N
        ("hevc", b"\x46\x01\x50", False),
        ("hevc", b"\x48\x01", False),  # end of sequence
        ("vvc", b"\x00\x01\x88", True),
        ("vvc", b"\x00\x99", True),  # a picture's header
        ("vvc", b"\x00\xa9", False),  # end of sequence
    ],
)
def test_a_packet_has_a_picture_unless_all_its_units_are_known_to_hold_none(
    name: str, unit: bytes, expected: bool
) -> None:
    for start_code in (b"\0\0\1", b"\0\0\0\1"):
        assert has_picture(name, None, start_code + unit) is expected
        assert has_picture(name, start_code + b"\x67", start_code + unit) is expected
    extradata = {"h264": AVCC, "hevc": HVCC, "vvc": VVCC}[name]
    width = 2 if name == "hevc" else 4
    assert has_picture(name, extradata, len(unit).to_bytes(width, "big") + unit) is expected


def test_a_length_that_looks_like_a_start_code_is_a_length() -> None:
    message = b"\x06" + bytes(0x165)
    slice_unit = b"\x65\x88\x80"
    data = len(message).to_bytes(4, "big") + message + len(slice_unit).to_bytes(4, "big") + slice_unit
    assert data.startswith(b"\0\0\1")
    assert has_picture("h264", AVCC, data)
    assert not has_picture("h264", AVCC, data[: 4 + len(message)])


def test_what_does_not_add_up_is_left_to_the_decoder() -> None:
    assert has_picture("h264", AVCC, b"\0\0\0\x20\x09\xf0")
    assert has_picture("h264", None, b"\x09\xf0")
    assert has_picture("h264", AVCC, b"")


@pytest.mark.fuzz
@given(
    st.sampled_from(["h264", "hevc", "vvc"]),
    damaged(b"\1\x4d\0\x1e\xff\xe1\0\x08\x67abcdefg", b"\0\0\0\1\x67abc", bytes(22)),
    damaged(b"\0\0\0\5\x61abcd\0\0\0\2\x09\x10", b"\0\0\0\1\x09\x10\0\0\1\x65abc"),
)
def test_any_bytes_are_looked_through(codec: str, extradata: bytes, packet: bytes) -> None:
    find = nal_picture_finder(SimpleNamespace(name=codec, extradata=extradata))
    assert find is not None
    with within(20):
        assert find(packet) in (True, False)
