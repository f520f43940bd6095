"""Many files of predictions as one table: what it contains by name, and its rows, in bounded memory.

The ledgers of the parts are sorted outside of memory, and merged with that of the single file, an entry at a time. The
rows follow in ranges of names.
"""

from __future__ import annotations

import heapq
import tempfile
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vidcnn.errors import OutputError
from vidcnn.predictions import ledger as ledgers
from vidcnn.predictions import section
from vidcnn.predictions.files import read_videos, sort_rows
from vidcnn.predictions.ledger import Entry
from vidcnn.predictions.reading import HINT_ASIDE, Opener, TableFile
from vidcnn.predictions.section import LedgerWriter, StoredEntry

RANGE_BYTES = 128 * 2**20
"""How much of a table is in memory at once while files are merged, by a rough estimate of a row's size."""
RUN_VIDEOS = 1_000_000
"""Entries of parts that are sorted in memory."""
_READ_VIDEOS = 8 * 1024
_MAX_OPEN = 32


class Source(NamedTuple):
    """A file to be merged.

    Attributes:
        path: The file.
        rank: Where two files contradict each other, the one of the higher rank counts.
    """

    path: str
    rank: int


class Merged(NamedTuple):
    """What the table contains of a video.

    Attributes:
        video: Its name.
        entry: The segments, with the files that they are read from.
    """

    video: str
    entry: Entry


_Ranked = tuple[str, int, int, StoredEntry]  # name, rank, number of the file, entry


def merged_entries(open_file: Opener, sources: list[Source]) -> Iterator[Merged]:
    """Yield what several files contain together, by name.

    Args:
        open_file: Opens files.
        sources: The files; those of one rank do not contradict each other.

    Raises:
        OutputError: A file is damaged.
    """
    with ExitStack() as stack:
        runs: list[Iterator[_Ranked]] = []
        pending: list[pa.Table] = []
        num_pending = 0

        def sort_pending(*, last: bool) -> None:
            nonlocal pending, num_pending
            if not pending:
                return
            table = pa.concat_tables(pending)
            order = sort_order(table)
            pending, num_pending = [], 0
            if last:
                runs.append(_entries(_slices(table.take(order))))
                return
            spool = stack.enter_context(tempfile.TemporaryFile())
            pq.write_table(table.take(order), spool, compression="zstd", use_dictionary=False)
            runs.append(_entries(_tables(spool)))

        for number, (path, rank) in enumerate(sources):
            file = stack.enter_context(TableFile(open_file, path))
            if file.footer().num_videos >= RUN_VIDEOS:
                runs.append(_entries(_numbered(file, rank, number)))
                continue
            for table in _numbered(file, rank, number):
                pending.append(table)
                num_pending += table.num_rows
                if num_pending >= RUN_VIDEOS:
                    sort_pending(last=False)
            file.close()
        sort_pending(last=True)
        paths = [source.path for source in sources]
        merged = runs[0] if len(runs) == 1 else heapq.merge(*runs)
        for name, group in groupby(merged, key=itemgetter(0)):
            entry: Entry | None = None
            lower: Entry | None = None
            before = None
            for _, rank, number, stored in group:
                if before is not None and rank != before:
                    lower, entry = ledgers.overlay(lower, entry), None
                before = rank
                own = section.loaded(stored, paths[number])
                entry = own if entry is None else entry.union(own)
            whole = ledgers.overlay(lower, entry)
            assert whole is not None
            yield Merged(name, whole)


def merged_rows(
    open_file: Opener,
    entries: Iterable[Merged],
    schema: pa.Schema,
    ledger: LedgerWriter | None = None,
    *,
    columns: list[str] | None = None,
    range_bytes: int | None = None,
) -> Iterator[pa.Table]:
    """Merge files: yield the rows of a table in order, a bounded number at a time.

    Args:
        open_file: Opens the files that the entries name. They are sorted, each in itself.
        entries: What the result is to contain, by name; a video is read from the files its entry names, and no others.
        schema: The columns.
        ledger: Takes what was read.
        columns: Which of them are read, those that sort the rows among them; None for all.
        range_bytes: About how many bytes to keep in memory at once; at least one video.

    Raises:
        OutputError: A file is damaged, or has other rows than its ledger lists.
    """
    range_rows = max(1, (range_bytes or RANGE_BYTES) // _row_bytes(schema))
    with _OpenFiles(open_file) as files:
        for videos in _ranges(entries, range_rows):
            wanted: dict[str, list[str]] = {}
            num_rows = 0
            for name, entry in videos:
                num_rows += entry.num_rows
                for path in entry.files:
                    wanted.setdefault(path, []).append(name)
                if ledger is not None:
                    ledger.add(section.stored(name, entry))
            rows = pa.concat_tables([read_videos(files.get(path), names, columns) for path, names in wanted.items()])
            if rows.num_rows != num_rows:
                raise OutputError(
                    f"{', '.join(sorted(wanted)[:3])} should contain {num_rows} rows from {videos[0].video} to "
                    f"{videos[-1].video}, but {rows.num_rows} are there",
                    HINT_ASIDE,
                )
            yield rows if len(wanted) == 1 else sort_rows(rows)


def sort_order(table: pa.Table) -> pa.Array:
    """Return the order of entries by name and file."""
    return pc.sort_indices(table, sort_keys=[("video", "ascending"), ("rank", "ascending"), ("number", "ascending")])


def _ranges(entries: Iterable[Merged], range_rows: int) -> Iterator[list[Merged]]:
    """Cut entries into ranges of at most so many rows, or of one video."""
    pending: list[Merged] = []
    num_rows = 0
    for merged in entries:
        if pending and num_rows + merged.entry.num_rows > range_rows:
            yield pending
            pending, num_rows = [], 0
        pending.append(merged)
        num_rows += merged.entry.num_rows
    if pending:
        yield pending


class _OpenFiles:
    """Files that stay open, but for those that were not used lately."""

    def __init__(self, open_file: Opener) -> None:
        self._open_file = open_file
        self._files: OrderedDict[str, TableFile] = OrderedDict()

    def get(self, path: str) -> TableFile:
        if path not in self._files:
            if len(self._files) == _MAX_OPEN:
                self._files.popitem(last=False)[1].close()
            self._files[path] = TableFile(self._open_file, path)
        self._files.move_to_end(path)
        return self._files[path]

    def __enter__(self) -> _OpenFiles:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files.values():
            file.close()


def _numbered(file: TableFile, rank: int, number: int) -> Iterator[pa.Table]:
    for table in file.ledger():
        for name, value in (("rank", rank), ("number", number)):
            table = table.append_column(name, pa.repeat(pa.scalar(value, pa.int32()), table.num_rows))
        yield table


def _entries(tables: Iterable[pa.Table]) -> Iterator[_Ranked]:
    for table in tables:
        ranks, numbers = table["rank"].to_pylist(), table["number"].to_pylist()
        for rank, number, entry in zip(ranks, numbers, section.entries_of(table), strict=True):
            yield entry[0], rank, number, entry


def _slices(table: pa.Table) -> Iterator[pa.Table]:
    for start in range(0, table.num_rows, _READ_VIDEOS):
        yield table.slice(start, _READ_VIDEOS)


def _tables(spool: object) -> Iterator[pa.Table]:
    with pq.ParquetFile(spool) as file:
        for batch in file.iter_batches(_READ_VIDEOS):
            yield pa.Table.from_batches([batch])


def _row_bytes(schema: pa.Schema) -> int:
    """Estimate a row's size in memory: what is wide, and some text."""
    wide = sum(field.type.list_size * 2 for field in schema if pa.types.is_fixed_size_list(field.type))
    return int(wide) + 400
