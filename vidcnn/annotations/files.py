"""Reading files of annotations: which of the formats one is, and its rows.

A ``.parquet`` file is a table. A text file whose first line names columns is one as well, separated by commas,
tabs or semicolons; any other is an index list.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import chain
from typing import IO, Any

from vidcnn.annotations.index_lists import index_rows, is_index_line
from vidcnn.annotations.labelled import SplitSettings
from vidcnn.annotations.problems import Problems, printable
from vidcnn.annotations.rows import ListFile, Row
from vidcnn.annotations.tables import is_heading, is_misspelt_heading, table_rows, understand
from vidcnn.errors import DataError, StorageError
from vidcnn.safe_text import BLANKS
from vidcnn.sources.lists import damage_as_value_error, list_lines, open_list
from vidcnn.storage.faults import is_own_fault
from vidcnn.storage.patience import is_passing, patiently
from vidcnn.storage.uris import failure_text

_MAX_SHOWN_CHARS = 80


def read_file(file: ListFile, settings: SplitSettings, problems: Problems) -> list[Row]:
    """Read the rows of a file.

    Args:
        file: A table or an index list.
        settings: Names the columns that its rows are grouped and divided by.
        problems: Collects what is wrong with single rows.

    Raises:
        StorageError: The storage fails.
        DataError: The file as a whole cannot be read or understood, is empty, or lacks a column.
    """
    try:
        content = patiently(lambda: _content(file.location))  # as a whole: what is half read would be noted twice
    except (OSError, ValueError) as failure:
        if isinstance(failure, OSError) and not is_own_fault(failure, file.location) and is_passing(failure):
            hint = "this is no fault of the data: try again when the storage answers"
            raise StorageError(f"'{file.shown}' {failure_text(failure)}", hint) from failure
        raise _malformed(file, failure) from failure
    try:
        with io.BytesIO(content) as opened:
            read = _parquet_rows if file.kind == "parquet" else _text_rows
            with damage_as_value_error():
                rows = list(read(opened, file, settings, problems))
    except (OSError, ValueError, csv.Error) as failure:  # the storage has given all bytes: an OSError is Parquet's own
        raise _malformed(file, failure) from failure
    if not rows:
        problems.raise_if_any()
        raise DataError(f"'{file.shown}' has no rows", "it takes one video a row")
    return rows


def _malformed(file: ListFile, failure: Exception) -> DataError:
    hint = f"check that it is a .{file.kind} file, in UTF-8 if it is text"
    return DataError(f"'{file.shown}' {failure_text(failure)}", hint)


def _content(location: str) -> bytes:
    with closing(open_list(location)) as opened:
        return opened.read()


def check_no_columns_needed(shown: str, settings: SplitSettings) -> None:
    """Refuse options that name a column, for data that has none.

    Raises:
        DataError: There is such an option.
    """
    column = settings.split_by or next(iter(settings.conditions), None)
    if column is not None:
        raise DataError(
            f"'{shown}' has no column '{column}' to divide it by",
            "only tables with a heading have columns; leave --split-by and --val-where out",
        )


def _text_rows(opened: IO[bytes], file: ListFile, settings: SplitSettings, problems: Problems) -> Iterator[Row]:
    lines: Iterator[tuple[int, str]] = enumerate(list_lines(opened), 1)
    if file.kind == "txt":
        lines = (line for line in lines if not line[1].lstrip(BLANKS).startswith("#"))
    number, first = next((line for line in lines if line[1].strip(BLANKS)), (0, ""))
    if not first:
        return
    for delimiter in (",", "\t", ";"):
        heading = next(csv.reader([first], delimiter=delimiter))
        if is_heading(heading):
            columns = understand(heading, file, settings, problems)
            yield from table_rows(columns, _text_cells(lines, delimiter), file, problems)
            return
        if is_misspelt_heading(heading):
            understand(heading, file, settings, problems)  # adds what its columns should be called
    if not is_index_line(first):
        shown = printable(first.strip())
        shown = shown if len(shown) <= _MAX_SHOWN_CHARS else f"{shown[:_MAX_SHOWN_CHARS]}..."
        raise DataError(
            f"'{file.shown}' is neither a table with a heading nor a list of lines 'path index': "
            f"its first line is '{shown}'",
            "give it the heading path,label or lines that end in the index of a class",
        )
    check_no_columns_needed(file.shown, settings)
    yield from index_rows(chain([(number, first)], lines), file, problems)


def _text_cells(lines: Iterator[tuple[int, str]], delimiter: str) -> Iterator[tuple[str, Sequence[Any]]]:
    number = 0

    def texts() -> Iterator[str]:
        nonlocal number
        for number, text in lines:  # noqa: B007 - read below: a row may take several lines
            yield text

    for cells in csv.reader(texts(), delimiter=delimiter, strict=True):
        if any(cells):
            yield f"line {number}", cells


def _parquet_rows(opened: IO[bytes], file: ListFile, settings: SplitSettings, problems: Problems) -> Iterator[Row]:
    import pyarrow.parquet as pq

    table = pq.ParquetFile(opened)
    names = table.schema_arrow.names
    heading = understand(names, file, settings, problems)
    used = sorted(heading.used - {-1})
    absent = [None] * len(names)

    def cells() -> Iterator[tuple[str, Sequence[Any]]]:
        number = 0
        for batch in table.iter_batches(columns=[names[column] for column in used]):
            columns = [batch.column(names[column]).to_pylist() for column in used]
            for values in zip(*columns, strict=True):
                number += 1
                row: list[Any] = absent.copy()
                for column, value in zip(used, values, strict=True):
                    row[column] = value
                yield f"row {number}", row

    yield from table_rows(heading, cells(), file, problems)
