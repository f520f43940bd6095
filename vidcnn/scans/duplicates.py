"""Which videos are the same, or nearly.

Takes the rows of a scan in the order of their names, twice; puts into rows of each video that repeats another the first
one that it repeats. What is kept of each row is of a fixed size, some 130 bytes while they are compared; names are kept
of those alone that repeat or are repeated.

*The same* are videos with one content hash. Of these only the first takes part in what follows.

*Nearly the same* are videos of about one length whose prints differ in at most `MOST_BITS` of 512 bits. To compare each
with each would take too long, so those are compared that agree in all bits of a group of 24, for one of 24 such groups
that are drawn once (P. Indyk and R. Motwani, Approximate Nearest Neighbors, 1998: bit sampling). Of pairs that differ
in a share p of all bits, 1 - (1 - (1 - p)^24)^24 are compared: 99.97 % at p = 0.05, 88 % at 0.1. Where many agree in a
group, each is compared with the next ones in length. Videos that are linked by pairs are one cluster, and repeat its
first::

    a --- b --- c        b and c repeat a, also where a and c differ more

Clusters are a forest: each video leads to one before it, or to itself where it is the first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vidcnn.predictions.index import hashes
from vidcnn.video.likeness import PRINT_BYTES

MOST_BITS = 51
"""Of 512: a tenth."""

_COLUMNS = ["video", "content_hash", "perceptual_hash", "duration_seconds"]
_HASH_BYTES = 16
_NUM_GROUPS = 24
_GROUP_BITS = 24
_SEED = 0
_LENGTH_SHARE = 0.02
_LENGTH_SECONDS = 0.5
"""Lengths are about the same where they differ by no more than this share of the longer, or by this."""
_MOST_COMPARED = 64
"""Of the videos that agree in a group of bits, each is compared with so many after it."""
_BLOCK_VIDEOS = 1 << 16

_Bytes = npt.NDArray[np.uint8]
_Ints = npt.NDArray[np.int64]
_Floats = npt.NDArray[np.float64]
_Words = npt.NDArray[np.uint64]

Tables = Callable[[list[str]], Iterable[pa.Table]]


class Repeats:
    """Puts into rows what they repeat; all videos are compared when that is first asked for.

    Args:
        tables: Gives some columns of the rows, in the order of their names; is called twice.
    """

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def __call__(self, rows: pa.Table) -> pa.Table:
        """Return rows of the scan with what they repeat in their columns."""
        places = self._found.places(rows["video"])
        for column, firsts in (("duplicate_of", self._found.same), ("near_duplicate_of", self._found.near)):
            own = np.append(firsts, -1)[places]  # -1 is the last one
            values = self._found.names.take(pa.array(own, mask=own < 0))
            rows = rows.set_column(rows.schema.get_field_index(column), column, values.cast(pa.string()))
        return rows

    @property
    def num_same(self) -> int:
        """Videos with the content of one before them."""
        return int((self._found.same >= 0).sum())

    @property
    def num_near(self) -> int:
        """Videos that look like one before them."""
        return int((self._found.near >= 0).sum())

    @cached_property
    def _found(self) -> _Found:
        return _find(self._tables)


class _Found:
    """The videos that repeat others or are repeated, in the order of their names.

    Attributes:
        names: Their names, large_string (N,).
        same: Which of them has the same content and is the first with it, (N,); -1 where a video is that itself.
        near: Which of them is nearly the same, as `same`.
    """

    def __init__(self, names: pa.Array, same: _Ints, near: _Ints) -> None:
        self.names, self.same, self.near = names, same, near
        keys = np.concatenate([np.empty(0, np.uint64), *(hashes(part.to_pylist()) for part in _parts(names))])
        self._order = np.argsort(keys)
        self._keys = keys[self._order]

    def places(self, names: pa.ChunkedArray) -> _Ints:
        """Return the place of each of some names among those of the videos; -1 where it is not there."""
        if not len(self.names):
            return np.full(len(names), -1)
        keys = hashes(names.to_pylist())
        places = self._order[np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)]
        found: _Ints = np.where(pc.equal(self.names.take(pa.array(places)), names).to_numpy(), places, -1)
        return found


def _find(tables: Tables) -> _Found:
    content, prints, lengths = _gather(tables(_COLUMNS))
    same = first_of_same(content)
    del content
    own = np.arange(len(same))
    lengths[same != own] = -1.0
    near = first_of_near(prints, lengths)
    del prints, lengths
    repeats = np.flatnonzero((same != own) | (near != own))
    is_wanted = np.zeros(len(same), bool)
    for firsts in (own, same, near):
        is_wanted[firsts[repeats]] = True
    wanted = np.flatnonzero(is_wanted)
    firsts_of = [
        np.where(firsts[wanted] != wanted, np.searchsorted(wanted, firsts[wanted]), -1) for firsts in (same, near)
    ]
    del own, same, near, repeats
    return _Found(_names(tables(["video"]), is_wanted), *firsts_of)


def first_of_same(content: _Bytes) -> _Ints:
    """Return for each of some hashes the index of the first one that is equal.

    Args:
        content: uint8 (N, 16); all zeros are no hash, and equal to none.
    """
    words = np.ascontiguousarray(content).view(np.uint64)  # (N, 2)
    order = np.lexsort((words[:, 1], words[:, 0]))  # equal ones stay in their order
    begins = np.ones(len(words), bool)
    begins[1:] = (words[order[1:]] != words[order[:-1]]).any(axis=1)
    first = np.empty(len(words), np.int64)
    first[order] = order[np.maximum.accumulate(np.where(begins, np.arange(len(words)), 0))]
    return np.where(words.any(axis=1), first, np.arange(len(words)))


def first_of_near(prints: _Bytes, lengths: _Floats) -> _Ints:
    """Return for each of some prints the index of the first one of its cluster.

    Args:
        prints: uint8 (N, 64).
        lengths: Of the videos, float64 (N,), in seconds; those of a negative length are left alone.
    """
    above = np.arange(len(prints))
    by_length = np.argsort(lengths, kind="stable")
    by_length = by_length[np.searchsorted(lengths[by_length], 0.0) :]
    bits = np.random.default_rng(_SEED)
    for _ in range(_NUM_GROUPS):
        chosen = bits.choice(8 * PRINT_BYTES, _GROUP_BITS, replace=False)
        keys = _keys(prints, chosen)
        order = by_length[np.argsort(keys[by_length], kind="stable")]
        for start in range(0, len(order), _BLOCK_VIDEOS):
            some = order[start : start + _BLOCK_VIDEOS + _MOST_COMPARED]
            _link(above, some, prints[some], keys[some], lengths[some], min(_BLOCK_VIDEOS, len(some)))
    return _first(above, np.arange(len(above)))


def num_differing_bits(ones: _Bytes, others: _Bytes) -> _Ints:
    """Return how many bits differ in each pair of prints, uint8 (N, 64)."""
    words = np.ascontiguousarray(ones ^ others).view(np.uint64)  # (N, 8)
    halves, quarters, eighths = (np.uint64(value * (2**64 // 255)) for value in (0x55, 0x33, 0x0F))
    words -= words >> np.uint64(1) & halves
    words = (words & quarters) + (words >> np.uint64(2) & quarters)
    words = (words + (words >> np.uint64(4))) & eighths
    words = words.sum(axis=1, dtype=np.uint64)  # (N,), of which each byte counts at most 64 bits
    small = np.uint64(0x00FF00FF00FF00FF)
    words = (words & small) + (words >> np.uint64(8) & small)
    counts: _Ints = (words * np.uint64(0x0001000100010001) >> np.uint64(48)).astype(np.int64)
    return counts


def _keys(prints: _Bytes, chosen: npt.NDArray[Any]) -> npt.NDArray[np.uint32]:
    """Return some bits of each print, as a number."""
    keys = np.empty(len(prints), np.uint32)
    for start in range(0, len(prints), _BLOCK_VIDEOS):
        bits = prints[start : start + _BLOCK_VIDEOS, chosen // 8] >> (7 - chosen % 8).astype(np.uint8) & 1
        packed = np.packbits(bits, axis=1).astype(np.uint32)  # (N, 3)
        keys[start : start + _BLOCK_VIDEOS] = packed[:, 0] << 16 | packed[:, 1] << 8 | packed[:, 2]
    return keys


def _link(
    above: _Ints, videos: _Ints, prints: _Bytes, keys: npt.NDArray[np.uint32], lengths: _Floats, num: int
) -> None:
    """Compare some videos with those after them, and join the clusters of those that are nearly the same.

    Args:
        above: Of each video of all another one of its cluster that comes before; itself for the first. It is changed.
        videos: Videos by key, and of one key by length.
        prints: Theirs, as `keys` and `lengths`.
        keys: Only those of one key are compared.
        lengths: In seconds.
        num: How many, from the first, are compared with those after them.
    """
    clusters = _first(above, videos)
    is_close = np.ones(num, bool)
    for distance in range(1, min(_MOST_COMPARED, len(videos) - 1) + 1):
        is_close = is_close[: len(videos) - distance]
        others = slice(distance, distance + len(is_close))
        longer = lengths[others]
        # What is too far from a video in key or length is followed by what is so, too.
        is_close &= keys[: len(is_close)] == keys[others]
        is_close &= longer - lengths[: len(is_close)] <= np.maximum(_LENGTH_SHARE * longer, _LENGTH_SECONDS)
        if not is_close.any():
            return
        one = np.flatnonzero(is_close & (clusters[: len(is_close)] != clusters[others]))
        alike = one[num_differing_bits(prints[one], prints[one + distance]) <= MOST_BITS]
        if len(alike):
            _join(above, videos[alike], videos[alike + distance])
            clusters = _first(above, videos)


def _join(above: _Ints, ones: _Ints, others: _Ints) -> None:
    """Join the clusters of pairs."""
    while len(ones):
        firsts = _first(above, ones), _first(above, others)
        low, high = np.minimum(*firsts), np.maximum(*firsts)
        above[high] = low  # of several that a first is joined to, one is taken now
        _first(above, high)
        differs = low != high
        ones, others = ones[differs], others[differs]


def _first(above: _Ints, videos: _Ints) -> _Ints:
    """Return the first of the cluster of each video, and let them lead there directly.

    What a chain of many leads to is found in few steps where all of the chain is among them.
    """
    first = above[videos]
    while not np.array_equal(first, further := above[first]):
        above[videos] = further
        first = above[videos]
    return first


def _gather(tables: Iterable[pa.Table]) -> tuple[_Bytes, _Bytes, _Floats]:
    """Return the content hashes (N, 16), the prints (N, 64), and the lengths, negative where there is no print."""
    content, prints, lengths = bytearray(), bytearray(), bytearray()
    for table in tables:
        texts = pc.fill_null(pc.utf8_slice_codeunits(table["content_hash"], 0, 2 * _HASH_BYTES), "00" * _HASH_BYTES)
        content += bytes.fromhex("".join(texts.to_pylist()))
        found = table["perceptual_hash"]
        for chunk in pc.fill_null(found, pa.scalar(bytes(PRINT_BYTES), found.type)).chunks:
            prints += memoryview(chunk.buffers()[1])[chunk.offset * PRINT_BYTES :][: len(chunk) * PRINT_BYTES]
        seconds = pc.if_else(found.is_valid(), table["duration_seconds"].fill_null(-1.0), -1.0)
        lengths += seconds.to_numpy().tobytes()
    return (
        np.frombuffer(content, np.uint8).reshape(-1, _HASH_BYTES),
        np.frombuffer(prints, np.uint8).reshape(-1, PRINT_BYTES),
        np.frombuffer(lengths, np.float64),
    )


def _names(tables: Iterable[pa.Table], is_wanted: npt.NDArray[np.bool_]) -> pa.Array:
    """Return the names of some rows."""
    found, begin = [pa.array([], pa.large_string())], 0
    for table in tables:
        inside = pa.array(is_wanted[begin : begin + table.num_rows])
        found += table["video"].filter(inside).cast(pa.large_string()).chunks
        begin += table.num_rows
    return pa.concat_arrays(found)


def _parts(names: pa.Array) -> Iterator[pa.Array]:
    return (names.slice(start, _BLOCK_VIDEOS) for start in range(0, len(names), _BLOCK_VIDEOS))
