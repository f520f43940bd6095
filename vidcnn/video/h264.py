"""What H.264's own headers show about fields (ITU-T H.264, 7.3).

Interlaced pictures may be coded as two fields, each in a packet of its own: then two packets make one frame. Takes the
stream's parameter sets and the first bytes of packets, returns which packets start a frame. Streams without field
pictures, which nearly all are, are recognised by one flag.
"""

from __future__ import annotations

from typing import Any, NamedTuple

_SLICE, _IDR_SLICE, _PARAMETERS = 1, 5, 7  # nal_unit_type, table 7-1
_HIGH_PROFILES = (44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244)
_MAX_FRAME_NUMBER_BITS = 16  # log2_max_frame_num_minus4 is at most 12, 7.4.2.1.1
_HEAD_BYTES = 4096
"""Of a packet, what is looked through for its first slice."""


class Field(NamedTuple):
    """A field picture: half of a frame.

    Attributes:
        frame_number: frame_num, the same in both fields of a frame.
        is_bottom: Whether it has the odd lines (counted from 0).
        is_idr: Whether decoding can start at it; only a first field can be that.
    """

    frame_number: int
    is_bottom: bool
    is_idr: bool


class FieldPairs:
    """Distinguishes the packets that start a frame from those with a frame's second field.

    Args:
        extradata: The stream's parameter sets as its container has them.
    """

    def __init__(self, extradata: bytes | None) -> None:
        self._parameters = _sequence_parameters(extradata or b"")
        self._has_lengths = (extradata or b"")[:1] == b"\1"  # avcC: units follow their lengths
        self._first: Field | None = None

    @property
    def are_possible(self) -> bool:
        """Whether the stream can contain field pictures."""
        return self._parameters is not None

    def starts_frame(self, packet: Any) -> bool:
        """Return whether a packet contains a whole frame or a frame's first field.

        Args:
            packet: The next of the stream's packets, in decoding order.
        """
        if self._parameters is None:
            return True
        first, field = self._first, self._field_of(bytes(memoryview(packet)[:_HEAD_BYTES]))
        completes = (
            first is not None
            and field is not None
            and not field.is_idr
            and field.frame_number == first.frame_number
            and field.is_bottom != first.is_bottom
        )
        self._first = None if completes else field
        return not completes

    def _field_of(self, head: bytes) -> Field | None:
        assert self._parameters is not None
        return _field(_units_by_length(head) if self._has_lengths else _units(head), self._parameters)


class _Parameters(NamedTuple):
    frame_number_bits: int
    has_colour_planes: bool


class _Bits:
    """Reads bits, most significant first; zeros past the end."""

    def __init__(self, data: bytes) -> None:
        self._data = data.replace(b"\0\0\3", b"\0\0")  # emulation prevention, 7.4.1
        self._position = 0

    def read(self, count: int) -> int:
        value = 0
        for _ in range(count):
            byte, bit = divmod(self._position, 8)
            value = value << 1 | (self._data[byte] >> (7 - bit) & 1 if byte < len(self._data) else 0)
            self._position += 1
        return value

    def read_unsigned(self) -> int:
        """ue(v), 9.1."""
        zeros = 0
        while not self.read(1):
            zeros += 1
            if zeros > 32:
                return 0
        return (1 << zeros) - 1 + self.read(zeros)

    def read_signed(self) -> int:
        """se(v), 9.1.1."""
        value = self.read_unsigned()
        return (value + 1) // 2 if value % 2 else -(value // 2)


def _sequence_parameters(extradata: bytes) -> _Parameters | None:
    """Return what slice headers depend on, or None where every picture is a whole frame."""
    for kind, body in _units(extradata):
        if kind == _PARAMETERS:
            return _parse_parameters(_Bits(body))
    return None


def _parse_parameters(bits: _Bits) -> _Parameters | None:
    """Read seq_parameter_set_data up to frame_mbs_only_flag (7.3.2.1.1)."""
    profile = bits.read(8)
    bits.read(16)
    bits.read_unsigned()
    has_colour_planes = False
    if profile in _HIGH_PROFILES:
        chroma = bits.read_unsigned()
        has_colour_planes = chroma == 3 and bool(bits.read(1))
        bits.read_unsigned()
        bits.read_unsigned()
        bits.read(1)
        if bits.read(1):
            _skip_scaling_lists(bits, 8 if chroma != 3 else 12)
    frame_number_bits = min(bits.read_unsigned(), _MAX_FRAME_NUMBER_BITS - 4) + 4
    order_type = bits.read_unsigned()
    if order_type == 0:
        bits.read_unsigned()
    elif order_type == 1:
        bits.read(1)
        bits.read_signed()
        bits.read_signed()
        for _ in range(min(255, bits.read_unsigned())):
            bits.read_signed()
    bits.read_unsigned()
    bits.read(1)
    bits.read_unsigned()
    bits.read_unsigned()
    whole_frames_only = bool(bits.read(1))
    return None if whole_frames_only else _Parameters(frame_number_bits, has_colour_planes)


def _skip_scaling_lists(bits: _Bits, count: int) -> None:
    for index in range(count):
        if not bits.read(1):
            continue
        last = scale = 8
        for _ in range(16 if index < 6 else 64):
            if scale:
                scale = (last + bits.read_signed()) % 256
            last = scale or last


def _field(units: list[tuple[int, bytes]], parameters: _Parameters) -> Field | None:
    """Return the field that a packet begins with, or None where it is a frame (slice_header, 7.3.3)."""
    for kind, body in units:
        if kind in (_SLICE, _IDR_SLICE):
            bits = _Bits(body[:32])
            for _ in range(3):
                bits.read_unsigned()
            bits.read(2 if parameters.has_colour_planes else 0)
            frame_number = bits.read(parameters.frame_number_bits)
            is_field = bits.read(1)
            return Field(frame_number, bool(bits.read(1)), kind == _IDR_SLICE) if is_field else None
    return None


def _units(data: bytes) -> list[tuple[int, bytes]]:
    """Return type and body of the NAL units in a packet or in parameter sets, the last perhaps cut short."""
    if data[:1] == b"\1":  # avcC (ISO/IEC 14496-15, 5.3.3.1): its first parameter set has a length of two bytes
        length = int.from_bytes(data[6:8], "big")
        return [(data[8] & 31, data[9 : 8 + length])] if len(data) > 8 else []
    if data.startswith((b"\0\0\1", b"\0\0\0\1")):  # Annex B: start codes
        return [(unit[0] & 31, unit[1:]) for unit in data.split(b"\0\0\1")[1:] if unit]
    return _units_by_length(data)


def _units_by_length(data: bytes) -> list[tuple[int, bytes]]:
    """Return type and body of the units in a packet where each has a length of four bytes before it."""
    units = []
    position = 0
    while position + 4 < len(data):
        end = position + 4 + int.from_bytes(data[position : position + 4], "big")
        units.append((data[position + 4] & 31, data[position + 5 : end]))
        position = end
    return units
