"""Encrypted files are told from damaged ones."""

from __future__ import annotations

import random
import re
import struct
from pathlib import Path

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzzing import damaged
from tests.limits import within
from tests.video.decoding import frame_numbers
from tests.video.test_decode import X264
from tests.videos import write_video
from vidcnn.errors import VideoError
from vidcnn.video import reader
from vidcnn.video.encryption import find_encryption, packet_encryption
from vidcnn.video.files import read_at
from vidcnn.video.probe import probe_video

KEY = {
    "encryption_scheme": "cenc-aes-ctr",
    "encryption_key": "76a6c65c5ea762046bd749a2e632ccbb",
    "encryption_kid": "a7e61c373e219033c21091fa607bf3b8",
}


def reason(path: Path) -> tuple[str, str]:
    with pytest.raises(VideoError) as info:
        probe_video(str(path))
    return info.value.kind, info.value.message


def encrypted(scheme: str) -> tuple[str, str]:
    return "unreadable", f"it is encrypted ({scheme}): decrypt it first"


@pytest.mark.parametrize("movflags", ["", "faststart", "frag_keyframe+empty_moov"])
def test_an_mp4_with_common_encryption_says_so(movflags: str, tmp_path: Path) -> None:
    options = KEY | ({"movflags": movflags} if movflags else {})
    path = write_video(tmp_path / "a.mp4", 30, options=X264, container_options=options)
    assert b"encv" in path.read_bytes()
    assert reason(path) == encrypted("Common Encryption")


def test_a_beginning_in_the_clear_is_decoded_and_the_rest_says_why_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_video(tmp_path / "a.mp4", 36, options=X264 | {"x264-params": "scenecut=0"}, keyframe_interval=12)
    calls = []

    def is_encrypted_later(packet: object, stream: object) -> str | None:
        calls.append(packet_encryption(packet, stream))
        return "Common Encryption" if packet.pts >= 24 * packet.duration else None  # type: ignore[attr-defined]

    monkeypatch.setattr(reader, "packet_encryption", is_encrypted_later)
    assert frame_numbers(path) == [*range(24), *["unreadable"] * 12]
    assert calls
    assert set(calls) == {None}


def test_a_transport_stream_with_scrambled_packets_says_so(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.ts", 60, options=X264)
    assert find_encryption(read_at(str(path)), path.stat().st_size) is None
    data, rng = bytearray(path.read_bytes()), random.Random(0)
    for at in range(0, len(data), 188):
        pid = (data[at + 1] & 31) << 8 | data[at + 2]
        if pid == 256 and data[at + 3] & 0x10:
            data[at + 3] |= 0x80
            start = at + 4 + (1 + data[at + 4] if data[at + 3] & 0x20 else 0)
            data[start : at + 188] = rng.randbytes(at + 188 - start)
    path.write_bytes(data)
    assert reason(path) == encrypted("scrambled packets")


def test_a_program_stream_with_scrambled_packets_says_so(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.vob", 60, codec="mpeg2video", rate=25, container="vob", options={"b": "2000000"})
    assert find_encryption(read_at(str(path)), path.stat().st_size) is None
    data, rng = bytearray(path.read_bytes()), random.Random(0)
    for match in re.finditer(rb"\x00\x00\x01\xe0", bytes(data)):
        start = match.start()
        data[start + 6] |= 0x10
        end = start + 6 + int.from_bytes(data[start + 4 : start + 6], "big")
        body = start + 9 + data[start + 8]
        data[body:end] = rng.randbytes(max(0, end - body))
    path.write_bytes(data)
    assert reason(path) == encrypted("scrambled packets")


def test_windows_media_with_rights_management_says_so(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.wmv", 30, codec="wmv2", container="asf", options={"b": "2000000"})
    data = path.read_bytes()
    (size, count) = struct.unpack_from("<QI", data, 16)
    body = b"".join(struct.pack("<I", len(text)) + text for text in (b"secret", b"DRM\0", b"key\0", b"url\0"))
    encryption = bytes.fromhex("fbb3112223bdd211b4b700a0c955fc6e") + struct.pack("<Q", 24 + len(body)) + body
    header = data[:16] + struct.pack("<QI", size + len(encryption), count + 1) + data[28:size] + encryption
    noise = random.Random(0).randbytes(len(data) - size)
    path.write_bytes(header + data[size : size + 66] + noise[66:])
    assert reason(path)[1] == encrypted("Windows Media DRM")[1]


def test_matroska_with_encrypted_content_says_so(tmp_path: Path) -> None:
    """ContentEncodings is put into the track's entry."""
    path = write_video(tmp_path / "a.mkv", 12, options=X264)
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    for packet in packets:
        position = packet.pos or 0
        data[position : position + packet.size] = random.Random(position).randbytes(packet.size)
    key = bytes.fromhex("47e284") + b"\1\2\3\4"  # ContentEncKeyID
    encryption = bytes.fromhex("503580")[:2] + bytes([0x80 | (len(key) + 4)]) + bytes.fromhex("47e18105") + key
    encoding = bytes.fromhex("6240") + bytes([0x80 | (len(encryption) + 4)]) + bytes.fromhex("50338101") + encryption
    encodings = bytes.fromhex("6d80") + bytes([0x80 | len(encoding)]) + encoding
    entry = data.find(b"\xd7\x81\x01") - 9  # TrackNumber, the first in TrackEntry, whose size has eight bytes
    assert data[entry] == 0xAE
    assert find_encryption(read_at(str(path)), len(data)) is None
    head = bytes(data[: entry + 9]) + encodings
    assert find_encryption(lambda offset, length: head[offset : offset + length], len(head)) == "Matroska encryption"


def test_other_files_are_not_taken_for_encrypted(tmp_path: Path) -> None:
    for name, arguments in {
        "a.mp4": {"options": X264},
        "a.mkv": {"options": X264},
        "a.ts": {"options": X264},
        "a.avi": {"codec": "mpeg4"},
        "a.wmv": {"codec": "wmv2", "container": "asf"},
    }.items():
        path = write_video(tmp_path / name, 20, **arguments)  # type: ignore[arg-type]
        assert find_encryption(read_at(str(path)), path.stat().st_size) is None
    assert find_encryption(lambda offset, length: b"G" * 8, 8) is None


def test_an_animated_webp_is_not_called_damaged(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.webp", 5, codec="libwebp_anim", pixel_format="yuv420p")
    kind, message = reason(path)
    assert (kind, message) == ("unreadable", "it is an animated WebP, which libav cannot decode: convert it")


def test_boxes_that_all_claim_the_whole_index_are_searched_once() -> None:
    index = b"stsd" * 900_000
    moov = (8 + len(index)).to_bytes(4, "big") + b"moov" + index
    data = b"\0\0\0\x10ftypisom\0\0\0\0" + moov
    with within(60):
        assert find_encryption(lambda offset, length: data[offset : offset + length], len(data)) is None
    data += b"encv"
    entry = data.replace(moov[:4], (12 + len(index)).to_bytes(4, "big"), 1)
    assert find_encryption(lambda offset, length: entry[offset : offset + length], len(entry)) == "Common Encryption"


@pytest.mark.fuzz
@given(
    damaged(
        b"\0\0\0\x10ftypisom\0\0\0\0\0\0\0\x40moov\0\0\0\x18stsd\0\0\0\0\0\0\0\1\0\0\0\x10encv" + bytes(30),
        b"\x1a\x45\xdf\xa3" + b"\x6d\x80abc\x62\x40abcd\x50\x35",
        b"\x47\x41\0\x90" + bytes(184) + b"\x47\x41\0\x90" + bytes(184) + b"\x47\x41\0\x90" + bytes(184),
        b"\0\0\1\xba" + b"\0\0\1\xe0\0\x10\xb0abc",
    ),
    st.integers(0, 2**63 - 1),
)
def test_any_bytes_are_encrypted_or_not(data: bytes, size_bytes: int) -> None:
    def read(offset: int, length: int) -> bytes:
        assert 0 <= offset < 2**63
        return data[offset : offset + length]

    with within(20):
        assert isinstance(find_encryption(read, size_bytes), str | None)
