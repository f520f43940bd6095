"""Whether a file is encrypted, so that nothing but its key could show what is in it.

To libav an encrypted frame is a damaged one. Takes what containers declare about packets and streams, and the first
bytes of a file; returns the reason in plain words.
"""

from __future__ import annotations

import re
from typing import Any

from vidcnn.video.structure import ReadAt

_HEAD_BYTES = 1 << 18
_MAX_INDEX_BYTES = 1 << 22

_SIGNATURES = (  # what begins a file, what in its head shows that it is encrypted, and how
    (b"\x30\x26\xb2\x75", bytes.fromhex("fbb3112223bdd211b4b700a0c955fc6e"), "Windows Media DRM"),
    (b"\x30\x26\xb2\x75", bytes.fromhex("14e68a292226174cb935dae07ee9289c"), "Windows Media DRM"),
    (b"\x30\x26\xb2\x75", bytes.fromhex("338505436981e6499b74ad12cb86d58c"), "PlayReady"),
    (b"\x06\x0e\x2b\x34", bytes.fromhex("060e2b340204010107 0d010301027e0100"), "SMPTE ST 429-6"),
)
_MATROSKA = b"\x1a\x45\xdf\xa3"
# ContentEncodings > ContentEncoding > ContentEncryption (RFC 9559, 5.1.4.1.31), with a few small elements between.
_MATROSKA_ENCRYPTION = re.compile(rb"\x6d\x80.{1,8}\x62\x40.{1,64}?\x50\x35", re.DOTALL)
_MP4_ENTRIES = (
    (b"encv", "Common Encryption"),  # ISO/IEC 14496-12, 8.12
    (b"drmi", "FairPlay"),
)
_TS_SYNC = 0x47
_PS_VIDEO = re.compile(rb"\x00\x00\x01[\xe0-\xef]..(.)", re.DOTALL)


_REASON = "it is encrypted ("


def reason_of(scheme: str) -> str:
    """Return the error of an encrypted file, in words for people."""
    return f"{_REASON}{scheme}): decrypt it first"


def is_reason(message: str) -> bool:
    """Return whether an error is that of an encrypted file, as `reason_of` returns it."""
    return message.startswith(_REASON)


def packet_encryption(packet: Any, stream: Any) -> str | None:
    """Return how a packet is encrypted, or None where its container does not declare it.

    Args:
        packet: PyAV's packet, of an MP4 or of Matroska.
        stream: PyAV's stream that it is from.
    """
    # To ask for one kind takes longer than to see that there is none.
    if any(True for _ in packet.iter_sidedata()) and packet.has_sidedata("encryption_info"):
        return "Common Encryption"
    return "Matroska encryption" if "enc_key_id" in stream.metadata else None


def find_encryption(read: ReadAt, size_bytes: int) -> str | None:
    """Return how a file is encrypted by its first bytes, or None.

    Known for MP4 and QuickTime, Matroska, ASF, MXF, and streams of MPEG-2 (TS and PS).
    """
    head = read(0, _HEAD_BYTES)
    for start, signature, scheme in _SIGNATURES:
        if head.startswith(start) and signature in head:
            return scheme
    if head.startswith(_MATROSKA):
        return "Matroska encryption" if _MATROSKA_ENCRYPTION.search(head) else None
    if head[4:8] in (b"ftyp", b"moov", b"styp"):
        return _find_in_index(read, size_bytes)
    if head.startswith(b"\x00\x00\x01\xba"):
        flags = [match[1][0] for match in _PS_VIDEO.finditer(head)]  # ITU-T H.222.0, 2.4.3.6
        scrambled = sum(flag & 0xC0 == 0x80 and flag & 0x30 != 0 for flag in flags)
        return "scrambled packets" if 2 * scrambled > len(flags) else None
    return _find_in_transport_stream(head)


def _find_in_index(read: ReadAt, size_bytes: int) -> str | None:
    """Look for encrypted sample entries in an MP4's 'moov' box, wherever it is."""
    offset = 0
    for _ in range(1000):
        header = read(offset, 16)
        if len(header) < 8:
            break
        size, kind = int.from_bytes(header[:4], "big"), header[4:8]
        if size == 1:
            size = int.from_bytes(header[8:16], "big")
        if kind == b"moov":
            index = read(offset, min(size or size_bytes, _MAX_INDEX_BYTES))
            return next((scheme for entry, scheme in _MP4_ENTRIES if _has_entry(index, entry)), None)
        if size < 8 or offset + size >= size_bytes:
            break
        offset += size
    return None


def _has_entry(index: bytes, entry: bytes) -> bool:
    """Return whether a 'stsd' box lists a sample entry."""
    position = index.find(b"stsd")
    while position >= 0:
        end = max(position - 4 + int.from_bytes(index[position - 4 : position], "big"), position + 4)
        if index.find(entry, position, end) >= 0:
            return True
        position = index.find(b"stsd", end)  # no byte is searched twice, however many boxes claim it
    return False


def _find_in_transport_stream(head: bytes) -> str | None:
    """Count packets with transport_scrambling_control (ITU-T H.222.0, 2.4.3.2) among those with any content."""
    for length, offset in ((188, 0), (192, 4), (204, 0)):
        packets = [head[at : at + 4] for at in range(offset, len(head) - 4, length)]
        if len(packets) < 3 or sum(packet[0] == _TS_SYNC for packet in packets) < 0.9 * len(packets):
            continue
        content = [packet for packet in packets if packet[3] & 0x10 and packet[1] & 0x1F | packet[2]]
        scrambled = sum(packet[3] & 0xC0 != 0 for packet in content)
        return "scrambled packets" if 2 * scrambled > len(content) else None
    return None
