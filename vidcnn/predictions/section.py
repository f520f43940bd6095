"""The ledger of a file of predictions as it is stored: a small Parquet file inside of the Parquet file.

It is between the rows and the footer, where readers that do not know of it never look; the footer's metadata have
its position. So it has no limit but that of a file, is read a piece at a time, and is checked page by page::

    PAR1 | row groups | ledger: PAR1 | videos | footer | PAR1 | footer | PAR1

Files of earlier versions have the ledger as one string of the metadata (`vidcnn.predictions.ledger.decode`), which
Arrow refuses to read from some millions of videos on.

An *entry* here is a tuple: name of the video, size, modification time, segments of its plan, those that are there
(text, or None for all), rows.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import IO, Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vidcnn.predictions import ledger as ledgers
from vidcnn.predictions.ledger import Entry, intervals_of

SCHEMA = pa.schema(
    [
        pa.field("video", pa.string(), nullable=False),
        pa.field("size_bytes", pa.int64(), nullable=False),
        pa.field("mtime_ns", pa.int64(), nullable=False),
        pa.field("num_segments", pa.int64(), nullable=False),
        pa.field("segments", pa.string()),  # almost every video is complete: null means that
        pa.field("num_rows", pa.int64(), nullable=False),
    ]
)
GROUP_VIDEOS = 64 * 1024
"""Videos that are read at once."""
_WHOLE_BYTES = 2**20
_COPY_BYTES = 2**20

StoredEntry = tuple[str, int, int, int, str | None, int]


class LedgerLocation(NamedTuple):
    """Where the ledger of a file is, and what it counts.

    Attributes:
        offset, length: Its first byte in the file, and its size in bytes.
        num_videos: Entries, one for each video.
        num_rows: Rows of predictions of all entries.
    """

    offset: int
    length: int
    num_videos: int
    num_rows: int

    def encode(self) -> str:
        """Write it for the metadata of a file."""
        return json.dumps(self._asdict())

    @classmethod
    def decode(cls, text: bytes) -> LedgerLocation:
        """Read what `encode` wrote.

        Raises:
            ValueError: It is something else.
        """
        try:
            place = cls(**{name: int(value) for name, value in json.loads(text).items()})
        except (TypeError, AttributeError, ValueError, OverflowError, RecursionError) as error:
            raise ValueError(f"not the place of a ledger: {error}") from error
        if not all(0 <= number < 2**63 for number in place):
            raise ValueError(f"not the place of a ledger: {place}")
        return place


class LedgerWriter:
    """A ledger being written, into a file that has no name, until `copy_to` puts it into the file of predictions.

    How entries arrive leaves no trace in its bytes. Use it as a context manager.
    """

    def __init__(self) -> None:
        self.num_videos = 0
        self.num_rows = 0
        self._pending: list[StoredEntry] = []
        self._spool = tempfile.TemporaryFile()  # noqa: SIM115
        self._writer = pq.ParquetWriter(
            self._spool,
            SCHEMA,
            compression="zstd",
            use_dictionary=False,
            column_encoding={"video": "DELTA_BYTE_ARRAY"},  # names in order share how they begin
            write_statistics=False,
            write_page_checksum=True,
        )

    @classmethod
    def of(cls, ledger: Mapping[str, Entry]) -> LedgerWriter:
        """Write a ledger that is in memory."""
        writer = cls()
        for name in sorted(ledger):
            writer.add(stored(name, ledger[name]))
        return writer

    def add(self, entry: StoredEntry) -> None:
        """Take the next entry, by name."""
        self.num_videos += 1
        self.num_rows += entry[5]
        self._pending.append(entry)
        if len(self._pending) == GROUP_VIDEOS:
            self._flush()

    def copy_to(self, sink: IO[bytes]) -> LedgerLocation:
        """End the ledger, and put it into a file where that is now."""
        self._flush()
        self._writer.close()
        length = self._spool.tell()
        self._spool.seek(0)
        offset = sink.tell()
        while block := self._spool.read(_COPY_BYTES):
            sink.write(block)
        return LedgerLocation(offset, length, self.num_videos, self.num_rows)

    def __enter__(self) -> LedgerWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()
        self._spool.close()

    def _flush(self) -> None:
        if self._pending:
            self._writer.write_table(table_of(self._pending), row_group_size=GROUP_VIDEOS)
            self._pending = []


def stored(name: str, entry: Entry) -> StoredEntry:
    """Return the entry of a video as it is stored."""
    held = None if entry.is_complete else json.dumps(intervals_of(entry.segments))
    return name, entry.size_bytes, entry.mtime_ns, entry.num_segments, held, entry.num_rows


def loaded(entry: StoredEntry, file: str) -> Entry:
    """Return what a file contains of a video, from how it is stored there."""
    _, size, mtime, count, held, num_rows = entry
    return Entry(size, mtime, count, held_bits(count, held), num_rows, (file,))


def held_bits(num_segments: int, held: str | None) -> int:
    """Return the segments of a stored entry as bits.

    Raises:
        ValueError: They are no segments of such a plan.
    """
    try:
        return ledgers.held_bits(num_segments, None if held is None else json.loads(held))
    except (TypeError, RecursionError) as error:
        raise ValueError(f"not the segments of a plan: {error}") from error


def checked(table: pa.Table) -> pa.Table:
    """Return a piece of a ledger, whose entries `loaded` takes.

    Raises:
        ValueError: It has one that nothing can have written.
    """
    counts = pc.min_max(table["num_segments"]).as_py()
    if table.num_rows and not 0 < counts["min"] <= counts["max"] <= ledgers.MAX_SEGMENTS:
        raise ValueError(f"its ledger has plans of {counts['min']} to {counts['max']} segments")
    partial = table.filter(pc.is_valid(table["segments"]))
    for count, held in zip(partial["num_segments"].to_pylist(), partial["segments"].to_pylist(), strict=True):
        held_bits(count, held)
    return table


def table_of(entries: list[StoredEntry]) -> pa.Table:
    """Put entries into columns."""
    columns = zip(*entries, strict=True) if entries else ((),) * len(SCHEMA)
    return pa.table([pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)], SCHEMA)


def entries_of(table: pa.Table | pa.RecordBatch) -> Iterable[StoredEntry]:
    """Undo `table_of`."""
    return zip(*(table[name].to_pylist() for name in SCHEMA.names), strict=True)


def in_tables(entries: Iterable[StoredEntry]) -> Iterator[pa.Table]:
    """Put entries into columns, a bounded number at a time."""
    remaining = iter(entries)
    while piece := list(islice(remaining, GROUP_VIDEOS)):
        yield table_of(piece)


def open_ledger(source: Any, place: LedgerLocation) -> pq.ParquetFile:
    """Open the ledger inside of an open file.

    Raises:
        OSError: Not all of its bytes come.
    """
    whole = place.length <= _WHOLE_BYTES
    window = pa.BufferReader(_read(source, place.offset, place.length)) if whole else _Window(source, place)
    ledger = pq.ParquetFile(window, page_checksum_verification=True)
    if not ledger.schema_arrow.equals(SCHEMA):
        raise ValueError("its ledger has other columns")
    if ledger.metadata.num_rows != place.num_videos:
        raise ValueError(f"its ledger has {ledger.metadata.num_rows} videos and should have {place.num_videos}")
    return ledger


class _Window:
    """A part of an open file, as a file by itself."""

    def __init__(self, source: Any, place: LedgerLocation) -> None:
        self._source, self._place, self._position = source, place, 0
        self.closed = False

    def read(self, size: int = -1) -> bytes:
        left = self._place.length - self._position
        size = left if size < 0 else min(size, left)
        content = _read(self._source, self._place.offset + self._position, size)
        self._position += size
        return content

    def seek(self, offset: int, whence: int = 0) -> int:
        self._position = offset + (0, self._position, self._place.length)[whence]
        return self._position

    def tell(self) -> int:
        return self._position

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        self.closed = True


def _read(source: Any, offset: int, size: int) -> bytes:
    content: bytes = source.read_at(size, offset)
    if len(content) != size:
        raise OSError(f"{len(content)} of {size} bytes came")
    return content
