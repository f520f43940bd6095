"""Reading one file of predictions, and distinguishing a storage that fails from a file that is damaged.

What cannot be read is read again before it is judged: once more as plain bytes, which shows whether all of them come.
Where they do not, the storage is at fault, and the file is as sound as it was. Pages are checked by their checksums.
"""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from vidcnn.errors import OutputError, first_line
from vidcnn.predictions import section
from vidcnn.predictions.ledger import Ledger, decode
from vidcnn.storage.uris import failure_text

WAIT_SECONDS: tuple[float, ...] = (0.5, 2.0, 5.0)
"""How long to wait for a storage that fails, each time, before it is given up."""

Opener = Callable[[str], Any]
"""Opens a file, given its path, for random access."""

HINT_ASIDE = (
    "vidcnn leaves it as it is; move it to another folder, and the same command does again what it contained, "
    "or choose another --out"
)
"""What to do about a file that is damaged; nobody is advised to delete one."""

_Result = TypeVar("_Result")

_FAILURES = (pa.ArrowException, OSError, ValueError, KeyError, OverflowError, RecursionError, MemoryError)
_MAX_FOOTER_STRING = 2**31 - 1
"""Arrow's own limit keeps tables of some millions of videos, as earlier versions wrote them, from being opened."""
_NUM_FAILURES = 2
"""How often a file may fail of which all bytes come, before it is damaged."""
_BLOCK_BYTES = 8 * 2**20
_CHECKED_BYTES = 2**30
_LEDGER = b"vidcnn.ledger"  # of earlier versions
_PLACE = b"vidcnn.ledger_place"
_MAGIC = b"PAR1"


@dataclass(frozen=True)
class Footer:
    """What a file of predictions records about itself.

    Attributes:
        schema: The columns.
        settings: What its rows depend on.
        run_id: The run that wrote it.
        generation: How often the single file had been published when it was, or when this part was begun, plus one; 0
            in files of earlier versions.
        num_rows: Rows of predictions in the file.
        num_videos: Entries of its ledger.
    """

    schema: pa.Schema
    settings: dict[str, Any]
    run_id: str
    generation: int
    num_rows: int
    num_videos: int


class TableFile:
    """A file of predictions, open to be read. Use it as a context manager.

    Args:
        open_file: Opens files.
        path: Its path, as `open_file` takes it.
    """

    def __init__(self, open_file: Opener, path: str) -> None:
        self.path = path
        self._open_file = open_file
        self._source: Any = None
        self._file: pq.ParquetFile | None = None
        self._footer: Footer | None = None
        self._old_ledger: Ledger | None = None
        self._checksum: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close it; reading opens it again."""
        for opened in (self._file, self._source):
            with suppress(*_FAILURES):
                if opened is not None:
                    opened.close()
        self._file = self._source = None

    def attempt(self, read: Callable[[pq.ParquetFile], _Result]) -> _Result:
        """Read something; what fails is read again.

        Args:
            read: Is called with the file, more than once where that fails.

        Raises:
            OutputError: It cannot be read now, or is damaged.
        """
        waits = iter(WAIT_SECONDS)
        num_sound = 0
        while True:
            try:
                return read(self._opened())
            except _FAILURES as error:
                failure = error
                self.close()
            fault = self._fault()
            if fault is None:
                num_sound += 1
                if num_sound == _NUM_FAILURES:
                    raise self._damaged(failure) from failure
                continue
            wait = next(waits, None)
            if wait is None:
                raise OutputError(
                    f"{self.path} {failure_text(fault).replace('cannot be read', 'cannot be read now', 1)}",
                    "nothing was deleted; the same command continues when the storage answers again",
                ) from fault
            time.sleep(wait)

    def footer(self) -> Footer:
        """Return what the file records about itself.

        Raises:
            OutputError: It cannot be read, is damaged, or vidcnn did not write it.
        """
        if self._footer is None:
            self._footer = self.attempt(self._read_footer)
        return self._footer

    def ledger(self) -> Iterator[pa.Table]:
        """Yield the entries of its ledger by name, in tables with the columns of `section.SCHEMA`.

        Raises:
            OutputError: It cannot be read or is damaged.
        """
        num_rows = 0
        footer = self.footer()
        if self._old_ledger is not None:
            held = self._old_ledger
            for table in section.in_tables(section.stored(name, held[name]) for name in sorted(held)):
                num_rows += sum(table["num_rows"].to_pylist())
                yield table
        else:
            group, num_groups = 0, 1
            opened: tuple[pq.ParquetFile, pq.ParquetFile] | None = None

            def read(file: pq.ParquetFile) -> tuple[pa.Table, int]:
                nonlocal opened
                if opened is None or opened[0] is not file:
                    opened = file, section.open_ledger(self._source, _place(file))
                within = opened[1]
                number = within.num_row_groups
                table = within.read_row_group(group) if group < number else section.table_of([])
                return section.checked(table), number

            while group < num_groups:
                table, num_groups = self.attempt(read)
                num_rows += sum(table["num_rows"].to_pylist())
                group += 1
                yield table
        if num_rows != footer.num_rows:
            raise OutputError(
                f"{self.path} should contain {num_rows} rows, but {footer.num_rows} are there", HINT_ASIDE
            )

    def _opened(self) -> pq.ParquetFile:
        if self._file is None:
            self._source = self._open_file(self.path)
            self._file = pq.ParquetFile(
                self._source,
                page_checksum_verification=True,
                thrift_string_size_limit=_MAX_FOOTER_STRING,
            )
        return self._file

    def _read_footer(self, file: pq.ParquetFile) -> Footer:
        values: Mapping[bytes, bytes] = file.metadata.metadata or {}
        if _PLACE not in values and _LEDGER not in values:
            raise _foreign(self.path)
        if _PLACE in values:
            num_videos = _place(file).num_videos
        else:
            self._old_ledger = decode(values[_LEDGER], file=self.path)
            num_videos = len(self._old_ledger)
        return Footer(
            schema=file.schema_arrow.remove_metadata(),
            settings=_settings(values[b"vidcnn.settings"]),
            run_id=values.get(b"vidcnn.run_id", b"").decode(),
            generation=int(values.get(b"vidcnn.generation", b"0")),
            num_rows=file.metadata.num_rows,
            num_videos=num_videos,
        )

    def _fault(self) -> OSError | pa.ArrowException | None:
        """Return what keeps the storage from giving all bytes, of large files the last ones; None where they come.

        They are read twice, cut at other places: where the body of an answer is cut short, clients of object storage
        fill it up with whatever is in their memory.
        """
        checksums = {self._checksum} - {None}
        try:
            with self._open_file(self.path) as source:
                size = source.size()
                start = max(0, size - _CHECKED_BYTES)
                block_bytes = max(1, min(_BLOCK_BYTES, size - start))
                for cut in (block_bytes, max(1, block_bytes * 3 // 8)):
                    checksum = 0
                    for position in range(start, size, cut):
                        wanted = min(cut, size - position)
                        block = source.read_at(wanted, position)
                        if len(block) < wanted:
                            return OSError(f"{len(block)} of {wanted} bytes came")
                        checksum = zlib.crc32(block, checksum)
                    checksums.add(checksum)
        except (OSError, pa.ArrowException) as error:
            return error
        if len(checksums) > 1:
            return OSError("other bytes came each time")
        (self._checksum,) = checksums
        return None

    def _damaged(self, failure: Exception) -> OutputError:
        reason = first_line(failure)
        if self._footer is not None:
            return OutputError(f"{self.path} is damaged: {reason}", HINT_ASIDE)
        with suppress(OSError, pa.ArrowException), self._open_file(self.path) as source:
            if source.size() >= len(_MAGIC) and source.read_at(len(_MAGIC), 0) != _MAGIC:
                return _foreign(self.path)
        return OutputError(f"{self.path} is damaged, or vidcnn did not write it: {reason}", HINT_ASIDE)


def _settings(text: bytes) -> dict[str, Any]:
    settings = json.loads(text)
    if not isinstance(settings, dict):
        raise ValueError("its settings are none")
    return settings


def _place(file: pq.ParquetFile) -> section.LedgerLocation:
    return section.LedgerLocation.decode(file.metadata.metadata[_PLACE])


def _foreign(path: str) -> OutputError:
    return OutputError(f"{path} was not written by vidcnn", "choose another --out; vidcnn overwrites nothing else")
