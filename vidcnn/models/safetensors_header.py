"""The header of a safetensors file: what tensors it says it has, compared with how long it is.

The format: the header's length as a little-endian 64-bit integer, the header in JSON, and the tensors' bytes, of which
the header gives the half-open ranges.
"""

from __future__ import annotations

import json
import math
from itertools import pairwise
from typing import Any, NamedTuple

from vidcnn.bounds import MAX_HEADER_BYTES
from vidcnn.models.pickles import MalformedError

PREFIX_BYTES = 8

_ITEM_BYTES = {
    **dict.fromkeys(("F64", "I64"), 8),
    **dict.fromkeys(("F32", "I32"), 4),
    **dict.fromkeys(("F16", "BF16", "I16"), 2),
    **dict.fromkeys(("I8", "U8", "BOOL"), 1),
}


class HeaderEntry(NamedTuple):
    """What a header says of a tensor.

    Attributes:
        dtype: Such as ``F32``.
        shape: Its shape.
        start: Where in the file its bytes begin.
        end: Where they end.
    """

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


def header_length(prefix: bytes, size_bytes: int) -> int:
    """Return the length of the header in bytes.

    Args:
        prefix: The first `PREFIX_BYTES` of the file.
        size_bytes: Length of the file.

    Raises:
        MalformedError: There is no room for it, or it is larger than `MAX_HEADER_BYTES`.
    """
    length = int.from_bytes(prefix[:PREFIX_BYTES], "little")
    if len(prefix) < PREFIX_BYTES or not 2 <= length <= min(MAX_HEADER_BYTES, size_bytes - PREFIX_BYTES):
        raise MalformedError(f"a header of {length:,} bytes in a file of {size_bytes:,}")
    return length


def parse_header(header: bytes, size_bytes: int) -> dict[str, HeaderEntry]:
    """Return what a header says, if it says it of a file of this length.

    Args:
        header: The header, without the length before it.
        size_bytes: Length of the file.

    Raises:
        MalformedError: It is malformed, or the tensors do not fill the rest of the file one after another.
    """
    try:
        entries = {
            str(name): _entry(entry, PREFIX_BYTES + len(header))
            for name, entry in json.loads(header).items()
            if name != "__metadata__"
        }
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise MalformedError(f"its header is malformed: {error}") from error
    ends = [(PREFIX_BYTES + len(header), 0), *sorted((entry.end, entry.start) for entry in entries.values())]
    if any(start != before for (before, _), (_, start) in pairwise(ends)):
        raise MalformedError("its tensors do not follow each other")
    if ends[-1][0] != size_bytes:
        raise MalformedError(f"it has {size_bytes} bytes where its header declares {ends[-1][0]}")
    return entries


def _entry(entry: Any, first: int) -> HeaderEntry:
    dtype, shape, (start, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
    if any(type(value) is not int or value < 0 for value in (*shape, start, end)) or len(shape) > 16:
        raise ValueError("a tensor has a shape that cannot be")
    if dtype not in _ITEM_BYTES:
        raise ValueError(f"numbers of a kind that no network here has ({dtype!s:.20})")
    if math.prod(shape) * _ITEM_BYTES[dtype] != end - start:
        raise ValueError("a tensor's bytes are not as many as its shape needs")
    return HeaderEntry(dtype, shape, first + start, first + end)
