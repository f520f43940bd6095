"""Reading lists of videos: ``.txt``, ``.csv``, ``.tsv`` and ``.parquet``, and lists on standard input.

From the location of a list to its entries one by one, as they are written: paths, relative to the
folder of the list, or URIs. A list is never in memory as a whole.
"""

from __future__ import annotations

import csv
import io
import json
import os
import posixpath
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from itertools import chain, repeat
from typing import IO, NamedTuple

from vidcnn.errors import SourceError, UsageError
from vidcnn.safe_text import BLANKS
from vidcnn.sources.columns import column_name, meant_columns, renaming_hint
from vidcnn.sources.filters import Filter
from vidcnn.sources.names import extension, file_name, media_kind, shown_name, utf8_name
from vidcnn.storage.uris import failure_text, is_remote, local_path, open_filesystem, public_location, split_uri
from vidcnn.streams import open_stdin

LIST_EXTENSIONS = frozenset({"txt", "csv", "tsv", "parquet"})
"""Extensions of the files that are read as lists where they are given as a source."""

COLUMNS = ("path", "video")
"""Columns of a table that may contain the entries, the likelier first; without any it is the first column."""

_VERSION = ("size_bytes", "modified")
"""Columns of a scan that tell whether a video is still the one that was scanned."""

SCAN = "scan"
"""The setting ``table`` in the metadata of what `vidcnn scan` writes."""

NoteColumns = Callable[[Sequence[str]], None]


class Entry(NamedTuple):
    """An entry of a list.

    Attributes:
        text: A path, relative to the folder of the list, or a URI.
        version: Size in bytes and modification time in microseconds since 1970, as a scan found them; None where the
            list is no scan, or is one that does not know.
    """

    text: str
    version: tuple[int, int] | None = None


def is_list(path: str) -> bool:
    """Return whether a file given as a source is a list, by its name."""
    return extension(posixpath.basename(path)) in LIST_EXTENSIONS


def read_list(
    location: str, note_unused: NoteColumns = lambda columns: None, where: Filter | None = None
) -> Iterator[Entry]:
    """Read the entries of a list.

    Text is UTF-8; other bytes are kept, as surrogates, because names of files may contain them. Blank entries
    are skipped, as are lines of a ``.txt`` that start with ``#``. A ``.csv`` or ``.tsv`` may do without a
    header.

    Args:
        location: Path or URI of the list; its extension names the format.
        note_unused: Collects the other columns of a table, before its first entry.
        where: Which rows of a ``.parquet`` are meant; None for all.

    Yields:
        The entries in their order, without blanks around them; those of a scan as they are.

    Raises:
        SourceError: The list cannot be read, is not of its format, or has no column of paths.
        UsageError: `where` is not for this list.
    """
    path = split_uri(location).path if is_remote(location) else local_path(location)
    kind = extension(posixpath.basename(path))
    if where is not None and kind != "parquet":
        raise UsageError(
            f"--where is for lists in Parquet, and '{utf8_name(public_location(location))}' is another",
            "leave it out, or name the table of `vidcnn scan`",
        )
    try:
        with closing(open_list(location)) as file:
            if kind == "parquet":
                entries = _parquet_entries(file, note_unused, where)
            elif kind == "txt":
                entries = _stripped(_text_entries(file))
            else:
                folder = None if is_remote(location) else os.path.dirname(path)
                cells = _table_entries(list_lines(file), "," if kind == "csv" else "\t", folder, note_unused)
                entries = _stripped(cells)
            with damage_as_value_error():
                yield from entries
    except (OSError, ValueError, csv.Error) as failure:
        what = f"the list '{shown_name(public_location(location))}' {failure_text(failure)}"
        raise SourceError(what, f"check that it is a .{kind} file with a column 'path'") from failure


def read_stdin() -> Iterator[Entry]:
    """Read the entries of a list on standard input, which is one as a ``.txt`` is.

    Yields:
        The entries in their order, without blanks around them.

    Raises:
        SourceError: It cannot be read, or is no text.
        UsageError: Standard input is a terminal.
    """
    try:
        with closing(open_stdin()) as file:
            yield from _stripped(_text_entries(file))
    except (OSError, ValueError) as failure:
        what = f"the list on standard input {failure_text(failure)}"
        raise SourceError(what, "it takes one path or URI a line, as find prints them without -print0") from failure


def open_list(location: str) -> IO[bytes]:
    """Open a list, wherever it is, for reading bytes."""
    if not is_remote(location):
        return open(local_path(location), "rb")
    filesystem, path = open_filesystem(location)
    file: IO[bytes] = filesystem.open_input_file(path)
    return file


def list_lines(file: IO[bytes]) -> Iterator[str]:
    """Decode lines, leaving their ends: a carriage return may be part of a name in quotes."""
    with io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="\n") as text:
        for line in text:
            if "\0" in line:
                raise ValueError("it is not text in UTF-8")
            yield line


@contextmanager
def damage_as_value_error() -> Iterator[None]:
    """Let what Arrow raises of a damaged Parquet file be a ValueError, as in most cases it is.

    Raises:
        ValueError: The file is damaged, or has what Arrow cannot read.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, OSError | ValueError) or type(error).__module__ != "pyarrow.lib":
            raise
        raise ValueError(" ".join(str(error).split()) or type(error).__name__) from error


def _text_entries(file: IO[bytes]) -> Iterator[str]:
    return (line for line in list_lines(file) if not line.lstrip(BLANKS).startswith("#"))


def _stripped(entries: Iterable[str]) -> Iterator[Entry]:
    return (Entry(text) for entry in entries if (text := entry.strip(BLANKS)))


def _table_entries(lines: Iterator[str], delimiter: str, folder: str | None, note_unused: NoteColumns) -> Iterator[str]:
    rows: Iterator[list[str]] = csv.reader(lines, delimiter=delimiter, strict=True)
    first = next(filter(None, rows), None)
    if first is None:
        return
    if _has_column(first) or not _is_entry(first[0].strip(BLANKS), folder):
        column = _path_column(first)
        note_unused([heading for index, heading in enumerate(first) if index != column and heading.strip(BLANKS)])
    else:
        column = 0
        rows = chain([first], rows)
    yield from (row[column] for row in rows if len(row) > column)


def _has_column(headings: Sequence[str]) -> bool:
    return not {column_name(heading) for heading in headings}.isdisjoint(COLUMNS)


def _path_column(headings: Sequence[str]) -> int:
    """Return the index of the column of entries: one of `COLUMNS`, or else the first.

    Raises:
        ValueError: Several have that name, or none has the name and another than the first seems to be meant.
    """
    names = [column_name(heading) for heading in headings]
    known = next((name for name in COLUMNS if name in names), None)
    if known is not None:
        if names.count(known) > 1:
            raise ValueError(f"it has the column '{known}' twice")
        return names.index(known)
    meant = meant_columns(names, COLUMNS[:1])
    if meant and names[0] not in meant:
        raise ValueError(f"it has no column 'path': {renaming_hint(meant)}")
    return 0


def _is_entry(cell: str, folder: str | None) -> bool:
    """Return whether the first cell of a table without a known column is an entry rather than a heading."""
    if "/" in cell or media_kind(cell) is not None:
        return True
    return folder is not None and bool(cell) and os.path.lexists(os.path.join(folder, cell))


def _parquet_entries(file: IO[bytes], note_unused: NoteColumns, where: Filter | None) -> Iterator[Entry]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.ParquetFile(file)
    schema = table.schema_arrow
    if not schema.names:
        raise ValueError("it has no columns")
    column = schema.names[_path_column(schema.names)]
    kind = schema.field(column).type
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)):
        raise ValueError(f"its column '{column}' contains {kind}, not paths")
    is_scan = scan_root(table.metadata.metadata) is not None
    used = where.columns if where is not None else ()
    note_unused([] if is_scan else [name for name in schema.names if name not in (column, *used)])
    condition = None if where is None else where.expression(schema.remove_metadata())
    versioned = _VERSION if is_scan and set(_VERSION) <= set(schema.names) else ()
    for batch in table.iter_batches(columns=list(dict.fromkeys([column, *versioned, *used]))):
        rows = pa.Table.from_batches([batch])
        rows = rows if condition is None else rows.filter(condition)
        names = rows[column].to_pylist()
        if not is_scan:
            yield from _stripped(filter(None, names))
            continue
        known = zip(*(rows[name].cast(pa.int64()).to_pylist() for name in versioned), strict=True)
        versions = known if versioned else repeat(None)
        yield from (Entry(file_name(name), version) for name, version in zip(names, versions, strict=False) if name)


def read_scan_root(location: str) -> str | None:
    """Return the folder that the names in a scan are relative to.

    Args:
        location: Path or URI of a list.

    Returns:
        The folder; empty where all names are URIs; None where the file is no scan, or cannot be read.
    """
    path = split_uri(location).path if is_remote(location) else local_path(location)
    if extension(posixpath.basename(path)) != "parquet":
        return None
    import pyarrow.parquet as pq

    try:
        with closing(open_list(location)) as file:
            return scan_root(pq.read_metadata(file).metadata)
    except (OSError, ValueError):
        return None  # to read its entries shows what is wrong with it


def scan_root(metadata: Mapping[bytes, bytes] | None) -> str | None:
    """Return the same from the key-value metadata of a Parquet file."""
    try:
        settings = json.loads((metadata or {}).get(b"vidcnn.settings", b"null"))
    except ValueError:
        return None
    if not isinstance(settings, dict) or settings.get("table") != SCAN:
        return None
    root = settings.get("source_root")
    return file_name(root) if isinstance(root, str) else ""
