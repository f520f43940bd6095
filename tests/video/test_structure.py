from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzzing import damaged
from tests.limits import within
from vidcnn.video.structure import ReadAt, declared_size, explain_cut, find_playlist, is_animated_webp


def reader(data: bytes) -> ReadAt:
    return lambda offset, length: data[offset : offset + length]


def box(kind: bytes, body: bytes = b"", *, size: int | None = None) -> bytes:
    return struct.pack(">I4s", len(body) + 8 if size is None else size, kind) + body


FTYP = box(b"ftyp", b"isom")


def cut(data: bytes) -> str | None:
    return explain_cut(reader(data), len(data))


def test_a_whole_mp4_is_not_cut() -> None:
    assert cut(FTYP + box(b"moov", b"x" * 50) + box(b"mdat", b"y" * 100)) is None
    assert cut(FTYP + box(b"mdat", b"y" * 100) + box(b"moov", b"x" * 50)) is None
    assert cut(FTYP + box(b"moov") + box(b"mdat", b"y" * 100, size=0)) is None  # up to the end of the file
    assert cut(FTYP + box(b"moov") + struct.pack(">I4sQ", 1, b"mdat", 116) + b"y" * 100) is None  # 64-bit size


def test_a_box_that_ends_past_the_file_shows_the_cut() -> None:
    assert cut(FTYP + box(b"moov") + box(b"mdat", b"y" * 100)[:50]) == (
        "the file was cut off: its 'mdat' box ends at byte 128 of 70"
    )
    assert cut(FTYP + struct.pack(">I4sQ", 1, b"mdat", 2**40) + b"y") == (
        f"the file was cut off: its 'mdat' box ends at byte {2**40 + 12} of 29"
    )


def test_an_mp4_without_an_index_was_cut_or_not_finished() -> None:
    reason = "the file has no index ('moov' box): it was cut off, or its recording was not finished"
    assert cut(FTYP + box(b"mdat", b"y" * 100, size=0)) == reason
    assert cut(FTYP + box(b"free")) == reason


def test_other_files_are_not_taken_for_mp4() -> None:
    assert cut(b"") is None
    assert cut(b"RIFF" + bytes(100)) is None
    assert cut(b"\0\0\0\x08mdaX" * 3) is None


def test_an_avi_declares_its_size() -> None:
    assert declared_size(reader(b"RIFF" + struct.pack("<I", 1000) + b"AVI LIST"), 500) == 1008
    assert declared_size(reader(b"RIFF" + struct.pack("<I", 0) + b"AVI LIST"), 500) is None  # still being written
    assert declared_size(reader(b"RIFF" + struct.pack("<I", 1000) + b"WAVEfmt "), 500) is None
    assert cut(b"RIFF" + struct.pack("<I", 1000) + b"AVI LIST") == "the file was cut off: it has 16 of 1008 bytes"


def ebml(segment: bytes) -> bytes:
    return b"\x1a\x45\xdf\xa3\x84\x42\x86\x81\x01" + segment


@pytest.mark.parametrize(
    ("segment", "size"),
    [
        (b"\x18\x53\x80\x67\x01\x00\x00\x00\x00\x00\x03\xe8", 21 + 1000),
        (b"\x18\x53\x80\x67\x43\xe8", 15 + 1000),
        (b"\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff", None),  # unknown: a live recording
        (b"\x18\x53\x80\x67\xff", None),
        (b"\x11\x4d\x9b\x74\x81", None),  # not a segment
        (b"\x18\x53\x80\x67", None),
        (b"\x18\x53\x80\x67\x00", None),
    ],
)
def test_matroska_declares_its_size(segment: bytes, size: int | None) -> None:
    assert declared_size(reader(ebml(segment)), 100) == size


def test_flash_video_may_declare_its_size() -> None:
    entry = b"\x00\x08filesize\x00"
    assert declared_size(reader(b"FLV\x01\x05" + bytes(20) + entry + struct.pack(">d", 6036.0)), 100) == 6036
    assert declared_size(reader(b"FLV\x01\x05" + bytes(20) + entry + struct.pack(">d", float("nan"))), 100) is None
    assert declared_size(reader(b"FLV\x01\x05" + bytes(20) + entry + b"\x40"), 100) is None
    assert declared_size(reader(b"FLV\x01\x05" + bytes(20)), 100) is None


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"ffconcat version 1.0\n", "an ffconcat script"),
        (b"\xef\xbb\xbf\r\n #EXTM3U\n", "an HLS playlist"),
        (b"<MPD>", "a DASH manifest"),
        (b"<?xml version='1.0'?>\n<!-- x --><MPD>", "a DASH manifest"),
        (b"<?xml version='1.0'?><svg>", None),
        (b"v=0\no=-", "a session description (SDP)"),
        (b"[Reference]\nRef1=http://", "a reference file"),
        (FTYP, None),
        (b"", None),
    ],
)
def test_playlists_are_known_by_how_they_begin(head: bytes, kind: str | None) -> None:
    assert find_playlist(reader(head)) == kind


@given(
    st.binary(max_size=200),
    st.sampled_from([b"", FTYP, b"RIFF", b"FLV", ebml(b"\x18\x53\x80\x67"), FTYP + b"\0\0\0\1mdat"]),
)
def test_any_bytes_are_looked_through_without_failing(data: bytes, head: bytes) -> None:
    cut(head + data)
    find_playlist(reader(head + data))


@pytest.mark.fuzz
@given(
    damaged(
        b"\0\0\0\x10ftypisom\0\0\0\0\0\0\0\1mdat\0\0\0\0\0\0\0\x10\0\0\0\x08moov",
        b"\x1a\x45\xdf\xa3\x84abcd\x18\x53\x80\x67\x01\0\0\0\0\0\0\x10abcd",
        b"RIFF\x10\0\0\0AVI LIST\4\0\0\0movi",
        b"RIFF\x10\0\0\0WEBPVP8X\x0a\0\0\0\2\0\0",
        b"FLV\1\1\0\0\0\x09" + b"\0\x08filesize\0" + struct.pack(">d", 1e18),
    ),
    st.integers(0, 2**63 - 1),
)
def test_any_bytes_have_a_structure_or_none(data: bytes, size_bytes: int) -> None:
    def read(offset: int, length: int) -> bytes:
        assert 0 <= offset < 2**63
        assert length >= 0
        return data[offset : offset + length]

    with within(20):
        explain_cut(read, size_bytes)
        declared = declared_size(read, size_bytes)
        assert declared is None or declared >= 0
        find_playlist(read)
        is_animated_webp(read)
