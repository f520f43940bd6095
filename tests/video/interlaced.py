"""Writing H.264 with field pictures, which no free encoder does: every sample is stored as it is (I_PCM).

The smallest stream that the standard allows (ITU-T H.264, 7.3 and annex B), with each field a picture of its own.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from tests.videos import SIZE, numbered_frame

FIELD_TICKS = 1800  # of 90 kHz: 25 frames, 50 fields per second
_KEYFRAME_INTERVAL = 8
_DELIMITER = b"\0\0\0\1\x09\x10"


class BitWriter:
    def __init__(self) -> None:
        self._bits: list[int] = []

    def put(self, value: int, count: int) -> BitWriter:
        self._bits += [value >> shift & 1 for shift in range(count - 1, -1, -1)]
        return self

    def unsigned(self, *values: int) -> BitWriter:
        for value in values:
            length = (value + 1).bit_length()
            self.put(0, length - 1).put(value + 1, length)
        return self

    def align(self) -> BitWriter:
        return self.put(0, -len(self._bits) % 8)

    def samples(self, data: bytes) -> BitWriter:
        self._bits += np.unpackbits(np.frombuffer(data, np.uint8)).tolist()
        return self

    def unit(self, header: int) -> bytes:
        self.put(1, 1).align()
        body = bytearray()
        zeros = 0
        for byte in np.packbits(np.array(self._bits, np.uint8)).tobytes():
            if zeros >= 2 and byte <= 3:
                body.append(3)
                zeros = 0
            body.append(byte)
            zeros = zeros + 1 if byte == 0 else 0
        return b"\0\0\0\1" + bytes([header]) + bytes(body)


def sequence_parameters(*, fields: bool = True, profile: int = 77) -> bytes:
    bits = BitWriter().put(profile, 8).put(0, 8).put(30, 8).unsigned(0)
    if profile == 100:
        bits.unsigned(1, 0, 0).put(0, 1).put(1, 1).put(1, 1)  # 4:2:0, 8 bits, with a scaling matrix
        for _ in range(16):
            bits.unsigned(0)  # the first list says the same as the one before it; the others are absent
        bits.put(0, 7)
    bits.unsigned(0, 0, 4, 2).put(0, 1)
    bits.unsigned(SIZE // 16 - 1, SIZE // 32 - 1 if fields else SIZE // 16 - 1)
    bits.put(0 if fields else 1, 1)
    if fields:
        bits.put(0, 1)
    return bits.put(1, 1).put(0, 2).unit(0x67)


def picture_parameters() -> bytes:
    bits = BitWriter().unsigned(0, 0).put(0, 2).unsigned(0, 0, 0).put(0, 3).unsigned(0, 0, 0).put(0b100, 3)
    return bits.unit(0x68)


def field(
    gray: npt.NDArray[np.uint8], number: int, *, is_bottom: bool, is_idr: bool, is_reference: bool = True
) -> bytes:
    bits = BitWriter().unsigned(0, 7, 0).put(number % 16, 4).put(1, 1).put(is_bottom, 1)
    if is_idr:
        bits.unsigned(0)
    bits.put((2 * number + is_bottom) % 256, 8)
    if is_reference:
        bits.put(0, 2 if is_idr else 1)
    bits.unsigned(0, 1)
    lines = gray[is_bottom::2]
    for top in range(0, lines.shape[0], 16):
        for left in range(0, lines.shape[1], 16):
            bits.unsigned(25).align().samples(lines[top : top + 16, left : left + 16].tobytes() + b"\x80" * 128)
    kind = 5 if is_idr else 1
    return bits.unit((0x60 if is_reference else 0) | kind)


def write_fields(path: Path, num_frames: int, *, container: str, fields_apart: bool) -> Path:
    """Write a video of numbered frames, each in two fields.

    Args:
        path: Where to.
        num_frames: Frames.
        container: libav's name of the muxer; ``h264`` for the bare stream.
        fields_apart: Whether each field is in a packet of its own, with its own time.
    """
    packets = []
    for index in range(num_frames):
        number = index % _KEYFRAME_INTERVAL
        is_idr = number == 0
        fields = [
            _DELIMITER + field(numbered_frame(index), number, is_bottom=bottom, is_idr=is_idr and not bottom)
            for bottom in (False, True)
        ]
        if is_idr:
            fields[0] = _DELIMITER + sequence_parameters() + picture_parameters() + fields[0].removeprefix(_DELIMITER)
        units = fields if fields_apart else [b"".join(fields)]
        packets += [(2 * index + place, unit, is_idr and place == 0) for place, unit in enumerate(units)]
    raw = path.with_suffix(".raw")
    raw.write_bytes(b"".join(data for _, data, _ in packets))
    if container == "h264":
        return raw
    with av.open(str(raw), format="h264") as source, av.open(str(path), "w", format=container) as output:
        stream = output.add_stream_from_template(source.streams.video[0])
        for time, data, is_keyframe in packets:
            packet = av.Packet(data)
            packet.stream, packet.time_base = stream, Fraction(1, 90_000)
            packet.pts = packet.dts = time * FIELD_TICKS
            packet.is_keyframe = is_keyframe
            output.mux(packet)
    return path
