"""Which videos are the same, or nearly.

Takes the rows of a scan in the order of their names, twice; returns for each video that repeats another the first one
that it repeats. What is kept of each row is of a fixed size, some 100 bytes; names are kept of those alone that repeat
or are repeated.

*The same* are videos with one content hash. Of these only the first takes part in what follows.

*Nearly the same* are videos of about one length whose prints differ in at most `MOST_BITS` of 512 bits. To compare each
with each would take too long, so those are compared that agree in all bits of a group of 24, for one of 24 such groups
that are drawn once (P. Indyk and R. Motwani, Approximate Nearest Neighbors, 1998: bit sampling). Of pairs that differ
in a share p of all bits, 1 - (1 - (1 - p)^24)^24 are compared: 99.97 % at p = 0.05, 88 % at 0.1. Videos that are linked
by pairs are one cluster, and repeat its first::

    a --- b --- c        b and c repeat a, also where a and c differ more
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vidcnn.video.likeness import PRINT_BYTES

COLUMNS = ["video", "content_hash", "perceptual_hash", "duration_seconds"]
"""What is read of each row."""

MOST_BITS = 51
"""Of 512: a tenth."""

_NUM_GROUPS = 24
_GROUP_BITS = 24
_SEED = 0
_LENGTH_SHARE = 0.02
_LENGTH_SECONDS = 0.5
"""Lengths are about the same where they differ by no more than this share of the longer, or by this."""
_MOST_COMPARED = 64
"""Of the videos that agree in a group of bits, each is compared with so many before it."""
_BLOCK_PAIRS = 1 << 18
_BIT_COUNTS = np.array([value.bit_count() for value in range(256)], np.uint8)

_Bytes = npt.NDArray[np.uint8]
_Ints = npt.NDArray[np.int64]

Tables = Callable[[], Iterable[pa.Table]]


class Repeated(NamedTuple):
    """What a video repeats.

    Attributes:
        same: The first video with the same content; None where this one is it.
        near: The first video that is nearly the same; None where this one is it.
    """

    same: str | None
    near: str | None


def find_repeated(tables: Tables) -> dict[str, Repeated]:
    """Return what each video repeats, by name, for those that repeat any.

    Args:
        tables: Gives the rows in the order of their names, with `COLUMNS`; is called twice.
    """
    hashes, prints, lengths = _gather(tables())
    same = first_of_same(hashes)
    alone = np.flatnonzero((same == np.arange(len(same))) & (lengths >= 0))
    near = np.arange(len(same))
    near[alone] = alone[first_of_near(prints[alone], lengths[alone])]
    own = np.arange(len(same))
    wanted = np.flatnonzero((same != own) | (near != own))
    leaders = np.union1d(same[wanted], near[wanted])
    names = _names(tables(), np.union1d(wanted, leaders))
    return {
        names[index]: Repeated(
            names[same[index]] if same[index] != index else None,
            names[near[index]] if near[index] != index else None,
        )
        for index in wanted.tolist()
    }


def first_of_same(hashes: _Bytes) -> _Ints:
    """Return for each of some hashes the index of the first one that is equal.

    Args:
        hashes: uint8 (N, 16); all zeros are no hash, and equal to none.
    """
    own = np.arange(len(hashes))
    _, first, group = np.unique(hashes, axis=0, return_index=True, return_inverse=True)
    return np.where(hashes.any(axis=1), first[group.reshape(-1)], own)


def first_of_near(prints: _Bytes, lengths: npt.NDArray[np.float64]) -> _Ints:
    """Return for each of some prints the index of the first one of its cluster.

    Args:
        prints: uint8 (N, 64).
        lengths: Of the videos, float64 (N,), in seconds.
    """
    above = np.arange(len(prints))  # of each print another one of its cluster that comes before; itself for the first
    bits = np.random.default_rng(_SEED)
    for _ in range(_NUM_GROUPS):
        chosen = bits.choice(8 * PRINT_BYTES, _GROUP_BITS, replace=False)
        key = np.zeros(len(prints), np.int64)
        for bit in chosen.tolist():
            key = key << 1 | (prints[:, bit // 8] >> (7 - bit % 8) & 1)
        order = np.argsort(key, kind="stable")
        for distance in range(1, min(_MOST_COMPARED, len(prints) - 1) + 1):
            agrees = key[order[distance:]] == key[order[:-distance]]
            if not agrees.any():
                break
            _join(above, prints, lengths, order[:-distance][agrees], order[distance:][agrees])
    for index in range(len(above)):  # those before it lead to the first already
        above[index] = above[above[index]]
    return above


def num_differing_bits(ones: _Bytes, others: _Bytes) -> _Ints:
    """Return how many bits differ in each pair of prints, uint8 (N, 64)."""
    differing: _Ints = _BIT_COUNTS[ones ^ others].sum(axis=1, dtype=np.int64)
    return differing


def _join(above: _Ints, prints: _Bytes, lengths: npt.NDArray[np.float64], ones: _Ints, others: _Ints) -> None:
    """Join the clusters of pairs that are nearly the same."""
    for start in range(0, len(ones), _BLOCK_PAIRS):
        one, other = ones[start : start + _BLOCK_PAIRS], others[start : start + _BLOCK_PAIRS]
        longer = np.maximum(lengths[one], lengths[other])
        is_long = np.abs(lengths[one] - lengths[other]) <= np.maximum(_LENGTH_SHARE * longer, _LENGTH_SECONDS)
        is_alike = num_differing_bits(prints[one], prints[other]) <= MOST_BITS
        for index in np.flatnonzero(is_long & is_alike).tolist():
            a, b = _first(above, int(one[index])), _first(above, int(other[index]))
            above[max(a, b)] = min(a, b)


def _first(above: _Ints, index: int) -> int:
    while above[index] != index:
        above[index] = above[above[index]]
        index = int(above[index])
    return index


def _gather(tables: Iterable[pa.Table]) -> tuple[_Bytes, _Bytes, npt.NDArray[np.float64]]:
    """Return the content hashes (N, 16), the prints (N, 64), and the lengths, negative where there is no print."""
    hashes: list[bytes] = []
    prints: list[bytes] = []
    lengths = [np.zeros(0)]
    for table in tables:
        texts = table["content_hash"].to_pylist()
        found = table["perceptual_hash"].to_pylist()
        hashes.append(b"".join(bytes.fromhex(text)[:16] if text else bytes(16) for text in texts))
        prints.append(b"".join(one or bytes(PRINT_BYTES) for one in found))
        seconds = table["duration_seconds"].fill_null(-1.0).to_numpy()
        lengths.append(np.where(table["perceptual_hash"].is_valid().to_numpy(), seconds, -1.0))
    return (
        np.frombuffer(b"".join(hashes), np.uint8).reshape(-1, 16),
        np.frombuffer(b"".join(prints), np.uint8).reshape(-1, PRINT_BYTES),
        np.concatenate(lengths),
    )


def _names(tables: Iterable[pa.Table], wanted: _Ints) -> dict[int, str]:
    """Return the names of some rows by their number."""
    found: dict[int, str] = {}
    begin = 0
    for table in tables:
        inside = wanted[(wanted >= begin) & (wanted < begin + table.num_rows)]
        names = table["video"].take(pa.array(inside - begin)).to_pylist()
        found |= dict(zip(inside.tolist(), names, strict=True))
        begin += table.num_rows
    return found


def with_repeated(rows: pa.Table, repeated: dict[str, Repeated]) -> pa.Table:
    """Return rows of a scan with what they repeat in their columns."""
    for column, place in (("duplicate_of", 0), ("near_duplicate_of", 1)):
        values = [repeated[name][place] if name in repeated else None for name in rows["video"].to_pylist()]
        rows = rows.set_column(rows.schema.get_field_index(column), column, pa.array(values, pa.string()))
    return rows
