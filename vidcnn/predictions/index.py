"""Which videos some files contain, for many millions of them: some 36 bytes each, and a look-up in about a microsecond.

Videos that are whole and in one file, which is almost all, are rows of arrays, in the order of a 64-bit hash of their
names; the others are a dictionary::

    hash of name -> bucket -> size, modification time, segments, file

Names themselves stay in the files. Of two names with one hash, that of the right version is found; so one would have to
have the other's size and modification time too to be taken for it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vidcnn.predictions import ledger as ledgers
from vidcnn.predictions import section
from vidcnn.predictions.ledger import Entry, Ledger

COMPACT_VIDEOS = 128 * 1024
"""Whole videos that the dictionary contains before they are put into arrays."""
_COLUMNS = ("size_bytes", "mtime_ns", "num_segments")
_TYPES = (np.int64, np.int64, np.int32)
_MASK = 2**64 - 1
_RUN_RATIO = 4
_PIECE_BUCKETS = 2**16

Array = NDArray[Any]


@dataclass
class Held:
    """What one file contains.

    Attributes:
        file: The file.
        keys: Hashes of the names of the videos of which it contains every segment, uint64 (N,).
        columns: Their size, modification time and number of segments, each (N,).
        partial: The other videos, by name.
    """

    file: str
    keys: Array
    columns: tuple[Array, ...]
    partial: Ledger = field(default_factory=dict)

    @classmethod
    def of(cls, file: str, tables: Iterable[pa.Table], num_videos: int) -> Held:
        """Take in the ledger of a file.

        Args:
            file: Name of the file.
            tables: Its ledger, as `TableFile.ledger` yields it.
            num_videos: Entries of the ledger.
        """
        tables = iter(tables)
        first = next(tables, section.table_of([]))  # by now it is known that the ledger is as long as the file says
        keys = np.empty(num_videos, np.uint64)
        columns = tuple(np.empty(num_videos, type_) for type_ in _TYPES)
        partial: Ledger = {}
        end = 0
        for table in chain([first], tables):
            if table["segments"].null_count < table.num_rows:
                whole = table["segments"].is_null()
                for entry in section.entries_of(table.filter(table["segments"].is_valid())):
                    partial[entry[0]] = section.loaded(entry, file)
                table = table.filter(whole)
            start, end = end, end + table.num_rows
            keys[start:end] = hashes(table["video"].to_pylist())
            for column, name in zip(columns, _COLUMNS, strict=True):
                column[start:end] = table[name].to_numpy()
        return cls(file, keys[:end], tuple(column[:end] for column in columns), partial)


class Index:
    """What some files contain, by video."""

    def __init__(self) -> None:
        self._files: list[str] = []
        self._numbers: dict[str, int] = {}
        self._runs: list[_Run] = []
        self._named: Ledger = {}
        self._num_whole = 0

    @classmethod
    def of(cls, held: list[Held], names: Callable[[str, Array], Ledger]) -> tuple[Index, set[str]]:
        """Put together what several files contain.

        Args:
            held: What each contains; is used up.
            names: Reads those entries of a file again whose name has one of some hashes, which are sorted.

        Returns:
            The index; and names of which files contain different versions or plans, or the same segment. Their entries
            list the files of both.
        """
        index = cls()
        numbers = [index._number(one.file) for one in held]
        partial = [one.partial for one in held]
        num_files = len(held)
        run = _Run.of(held, numbers)
        conflicts: set[str] = set()
        doubtful = run.doubles() if num_files > 1 else np.empty(0, np.uint64)
        known = hashes([name for ledger in partial for name in ledger])
        doubtful = np.union1d(doubtful, known[run.has(known)])
        if len(doubtful):
            involved = run.files_of(doubtful)
            run = run.without(doubtful)
            for number in involved:
                conflicts |= ledgers.include(index._named, names(index._files[number], doubtful))
        for ledger in partial:
            for name, entry in ledger.items():
                before = index._named.get(name)
                if before is None or entry.files[0] not in before.files:  # or it was read with the doubtful ones
                    conflicts |= ledgers.include(index._named, {name: entry})
        if len(run.keys):
            index._runs.append(run)
        return index, conflicts

    def __len__(self) -> int:
        return len(self._named) + sum(run.num_alive for run in self._runs)

    def find(self, name: str, size_bytes: int, mtime_ns: int) -> Entry | None:
        """Return what is there of a video; its rows are not counted.

        Args:
            name: The video, as `video_text` writes it.
            size_bytes: Of the version that is looked for; another one is returned if that is not there.
            mtime_ns: As `size_bytes`.
        """
        if name in self._named:
            return self._named[name]
        key = hash(name) & _MASK
        other = None
        for run in self._runs:
            for position in run.find(key):
                entry = self._entry(run, position)
                if (entry.size_bytes, entry.mtime_ns) == (size_bytes, mtime_ns):
                    return entry
                other = entry
        return other

    def put(self, name: str, entry: Entry) -> None:
        """Add what a file contains of a video to what is there already."""
        held = self.find(name, entry.size_bytes, entry.mtime_ns)
        if held is not None:
            self.discard(name, held)
            entry = held.union(entry)
        self._named[name] = entry
        self._num_whole += entry.is_complete and len(entry.files) == 1
        if self._num_whole >= COMPACT_VIDEOS:
            self._compact()

    def discard(self, name: str, entry: Entry) -> None:
        """Forget a video, of which `find` returned the entry."""
        if name in self._named:
            held = self._named.pop(name)
            self._num_whole -= held.is_complete and len(held.files) == 1
            return
        for run in self._runs:
            for position in run.find(hash(name) & _MASK):
                if self._entry(run, position) == entry:
                    run.kill(position)
                    return

    def replace(self, name: str, entry: Entry, newer: Entry | None) -> None:
        """Put another entry in the place of the one that `find` returned; None for none."""
        self.discard(name, entry)
        if newer is not None:
            self._named[name] = newer
            self._num_whole += newer.is_complete and len(newer.files) == 1

    def covers(self, held: Held) -> bool:
        """Return whether every segment that a file contains is in this index."""
        keys = held.keys
        found = np.zeros(len(keys), bool)
        for run in self._runs:
            found |= run.matches(keys, held.columns)
        rest = dict(held.partial)
        named = {hash(name) & _MASK: entry for name, entry in self._named.items()} if not found.all() else {}
        for number in np.flatnonzero(~found):
            entry = named.get(int(keys[number]))
            version = tuple(int(column[number]) for column in held.columns)
            if entry is None or not entry.is_complete or entry[:3] != version:
                return False
        for name, part in rest.items():
            entry = self.find(name, part.size_bytes, part.mtime_ns)
            if entry is None or not entry.is_same_plan(part) or part.segments & ~entry.segments:
                return False
        return True

    def _entry(self, run: _Run, position: int) -> Entry:
        size, mtime, count = (int(column[position]) for column in run.columns)
        return Entry(size, mtime, count, (1 << count) - 1, 0, (self._files[run.where[position]],))

    def _number(self, file: str) -> int:
        if file not in self._numbers:
            self._numbers[file] = len(self._files)
            self._files.append(file)
        return self._numbers[file]

    def _compact(self) -> None:
        """Move what is whole and in one file from the dictionary into arrays."""
        whole = [name for name, entry in self._named.items() if entry.is_complete and len(entry.files) == 1]
        entries = [self._named.pop(name) for name in whole]
        self._num_whole = 0
        columns = [np.array([entry[number] for entry in entries], type_) for number, type_ in enumerate(_TYPES)]
        where = np.array([self._number(entry.files[0]) for entry in entries], np.int32)
        self._runs.append(_Run.sort([hashes(whole)], columns, [where]))
        while len(self._runs) > 1 and len(self._runs[-2].keys) < _RUN_RATIO * len(self._runs[-1].keys):
            self._runs.append(_Run.merge(self._runs.pop(), self._runs.pop()))


class _Run:
    """Arrays in the order of their keys; an entry that is dead has no segments."""

    def __init__(self, keys: Array, columns: list[Array], where: Array) -> None:
        self.keys, self.columns, self.where = keys, columns, where
        self.num_alive = len(keys)
        bits = max(1, len(keys).bit_length() - 1)  # a bucket has one to two entries
        self._shift = 64 - bits
        starts = np.empty((1 << bits) + 1, np.uint32 if len(keys) < 2**32 else np.int64)
        for first in range(0, 1 << bits, _PIECE_BUCKETS):
            buckets = np.arange(first, min(1 << bits, first + _PIECE_BUCKETS), dtype=np.uint64)
            starts[first : first + len(buckets)] = np.searchsorted(keys, buckets << np.uint64(self._shift))
        starts[-1] = len(keys)
        self._starts = starts.data
        self._keys = keys.data

    @classmethod
    def of(cls, held: list[Held], numbers: list[int]) -> _Run:
        """Put together what files contain, which is used up: no array is there in more than two copies at a time."""
        where = np.repeat(np.array(numbers, np.int32), [len(one.keys) for one in held])
        keys = _joined([one.keys for one in held], np.uint64)
        columns = [_joined([one.columns[number] for one in held], type_) for number, type_ in enumerate(_TYPES)]
        held.clear()
        return cls.sort([keys], columns, [where])

    @classmethod
    def sort(cls, keys: list[Array], columns: list[Array], where: list[Array]) -> _Run:
        """Sort arrays, each in a list, which is used up."""
        order = np.argsort(keys[0])
        for arrays in (keys, columns, where):
            for number in range(len(arrays)):
                arrays[number] = arrays[number][order]
        return cls(keys[0], columns, where[0])

    @classmethod
    def merge(cls, one: _Run, other: _Run) -> _Run:
        parts = [run._take(run.columns[2] > 0) for run in (one, other)]
        keys, where = (np.concatenate([part[number] for part in parts]) for number in (0, 2))
        columns = [np.concatenate(pair) for pair in zip(*(part[1] for part in parts), strict=True)]
        return cls.sort([keys], columns, [where])

    def find(self, key: int) -> Iterable[int]:
        """Return the positions of what lives under a key."""
        bucket = key >> self._shift
        counts = self.columns[2]
        return [
            position
            for position in range(self._starts[bucket], self._starts[bucket + 1])
            if self._keys[position] == key and counts[position]
        ]

    def kill(self, position: int) -> None:
        self.columns[2][position] = 0
        self.num_alive -= 1

    def doubles(self) -> Array:
        """Return the keys that are there more than once."""
        return np.unique(self.keys[1:][self.keys[1:] == self.keys[:-1]])

    def has(self, keys: Array) -> Array:
        """Return which keys are there, bool (N,)."""
        if not len(self.keys):
            return np.zeros(len(keys), bool)
        places = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        found: Array = self.keys[places] == keys
        return found

    def matches(self, keys: Array, columns: Collection[Array]) -> Array:
        """Return which entries are there, in the same version and plan, bool (N,)."""
        found = self.has(keys)
        if found.any():
            first = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
            for own, column in zip(self.columns, columns, strict=True):
                found &= own[first] == column
            for number in np.flatnonzero(self.has(keys) & ~found):  # the right one may be behind one of the same hash
                version = [int(column[number]) for column in columns]
                found[number] = any(
                    [int(own[position]) for own in self.columns] == version for position in self.find(int(keys[number]))
                )
        return found

    def files_of(self, keys: Array) -> list[int]:
        """Return the numbers of the files that contain some keys."""
        return sorted(set(self.where[np.isin(self.keys, keys)].tolist()))

    def without(self, keys: Array) -> _Run:
        return _Run(*self._take(~np.isin(self.keys, keys)))

    def _take(self, chosen: Array) -> tuple[Array, list[Array], Array]:
        return self.keys[chosen], [column[chosen] for column in self.columns], self.where[chosen]


def _joined(arrays: list[Array], type_: Any) -> Array:
    return arrays[0] if len(arrays) == 1 else np.concatenate([np.empty(0, type_), *arrays])


def hashes(names: Collection[str]) -> Array:
    """Return the hashes of names in this process, uint64 (N,)."""
    return np.fromiter(map(hash, names), np.int64, len(names)).view(np.uint64)
