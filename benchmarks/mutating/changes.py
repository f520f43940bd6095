"""What is done to a file: each change is a pure function of its bytes and of a random number generator."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Sequence

from mutating.parts import Part, parts_of

MAX_BYTES = 3_000_000
_HEAD = 4096
_NUMBERS = (0, 1, 2, 255, 0x7FFF, 0x8000, 0xFFFF, 10**6, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)

Change = Callable[[bytes, Sequence[bytes], random.Random], bytes]


def mutate(data: bytes, others: Sequence[bytes], rng: random.Random) -> tuple[str, bytes]:
    """Change a file.

    Args:
        data: The file.
        others: Files that parts may come from.
        rng: Draws all that is drawn.

    Returns:
        The names of what was done, and the file after it.
    """
    names = []
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        change = rng.choice(CHANGES)
        names.append(change.__name__.strip("_"))
        data = change(data, others, rng)[:MAX_BYTES] or b"\0"
    return "+".join(names), data


def _place(size: int, rng: random.Random) -> int:
    """Draw a place: headers and indexes, at the beginning and at the end, more often than what is between them."""
    chance = rng.random()
    if chance < 0.35:
        return rng.randrange(min(size, _HEAD))
    return size - 1 - rng.randrange(min(size, _HEAD)) if chance < 0.5 else rng.randrange(size)


def _range(size: int, rng: random.Random) -> tuple[int, int]:
    start = _place(size, rng)
    return start, min(size, start + rng.choice((1, 4, 16, 60, 188, 1000, 5000, size // 4 + 1)))


def flip_bits(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5, 30, 200))):
        changed[_place(len(data), rng)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def overwrite(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    start, end = _range(len(data), rng)
    what = rng.choice((bytes(end - start), b"\xff" * (end - start), rng.randbytes(end - start)))
    return data[:start] + what + data[end:]


def cut_end(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    return data[: _place(len(data), rng)]


def cut_beginning(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    return data[_place(len(data), rng) :]


def cut_middle(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    start, end = _range(len(data), rng)
    return data[:start] + data[end:]


def insert(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    at = _place(len(data), rng)
    other = rng.choice(others)
    start, end = _range(len(other), rng)
    return data[:at] + other[start:end] + data[at:]


def repeat_range(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    start, end = _range(len(data), rng)
    times = min(rng.choice((2, 10, 1000)), MAX_BYTES // (end - start))
    return data[:start] + data[start:end] * times + data[end:]


def concatenate(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    return data + rng.choice((data, rng.choice(others)))


def foreign_head(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    length = rng.choice((4, 12, 32, 188, 512, 4096))
    return rng.choice(others)[:length] + data[rng.choice((0, length)) :]


def swap_parts(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    first, second = _two_parts(data, rng)
    return b"".join(
        (
            data[: first.start],
            data[second.start : second.end],
            data[first.end : second.start],
            data[first.start : first.end],
            data[second.end :],
        )
    )


def shuffle_parts(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    parts = _parts(data)
    parent = rng.choice(parts).parent
    siblings = [part for part in parts if part.parent == parent]
    middle = [data[part.start : part.end] for part in siblings]
    rng.shuffle(middle)
    return data[: siblings[0].start] + b"".join(middle) + data[siblings[-1].end :]


def drop_part(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    part = rng.choice(_parts(data))
    return data[: part.start] + data[part.end :]


def repeat_part(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    part = rng.choice(_parts(data))
    times = min(rng.choice((2, 3, 300)), max(2, MAX_BYTES // (part.end - part.start + 1)))
    return data[: part.start] + data[part.start : part.end] * times + data[part.end :]


def nest_part(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    """Put copies of a part into itself, as deep as libav will go."""
    part = rng.choice(_parts(data))
    head, inner = data[part.start : part.body], data[part.body : part.end]
    return data[: part.start] + head * rng.choice((2, 20, 2000)) + inner + data[part.end :]


def foreign_part(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    other = rng.choice(others)
    part, theirs = rng.choice(_parts(data)), rng.choice(_parts(other))
    return data[: part.start] + other[theirs.start : theirs.end] + data[part.end :]


def forge_length(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    part = rng.choice(_parts(data))
    return _forged(data, part.start + rng.choice((0, 0, 1, 4)), rng)


def forge_numbers(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    """Change sizes, durations, counts, dimensions, time scales: the numbers that the small parts of a header are."""
    small = [part for part in _parts(data) if 0 < part.end - part.body <= 400]
    for _ in range(rng.choice((1, 2, 6))):
        if small:
            part = rng.choice(small)
            at = part.body + rng.randrange(0, part.end - part.body, 4 if part.end - part.body >= 8 else 1)
        else:
            at = _place(len(data), rng)
        data = _forged(data, at, rng)
    return data


CHANGES: tuple[Change, ...] = (
    flip_bits,
    overwrite,
    cut_end,
    cut_beginning,
    cut_middle,
    insert,
    repeat_range,
    concatenate,
    foreign_head,
    swap_parts,
    shuffle_parts,
    drop_part,
    repeat_part,
    nest_part,
    foreign_part,
    forge_length,
    forge_numbers,
    forge_numbers,
    forge_numbers,
)


def _parts(data: bytes) -> list[Part]:
    """Return the parts of a file; pieces of equal length where it has none that are known."""
    found = parts_of(data)
    if len(found) >= 2:
        return found
    step = max(1, len(data) // 50)
    return [
        Part(at, min(len(data), at + step), min(len(data), at + step, at + 4), -1) for at in range(0, len(data), step)
    ]


def _two_parts(data: bytes, rng: random.Random) -> tuple[Part, Part]:
    """Draw two parts, of which none contains the other."""
    parts = _parts(data)
    for _ in range(20):
        first, second = sorted((rng.choice(parts), rng.choice(parts)))
        if first.end <= second.start:
            return first, second
    return parts[0], Part(len(data), len(data), len(data), -1)


def _forged(data: bytes, at: int, rng: random.Random) -> bytes:
    code, most = rng.choice(((">I", 2**32), ("<I", 2**32), (">H", 2**16), (">Q", 2**64), ("B", 256)))
    value = (rng.choice((*_NUMBERS, rng.randrange(most), 2**63, 2**64 - 1))) % most
    forged = struct.pack(code, value)
    return data[:at] + forged + data[at + len(forged) :]
