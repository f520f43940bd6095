"""What the specs share whose output is a table of videos, to which later runs add."""

from __future__ import annotations

import os
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator

from vidcnn.config.base import as_text
from vidcnn.errors import ALL_KINDS, ERROR_KINDS
from vidcnn.storage.uris import split_options

_OTHER_TABLES = (
    *("arrow", "avro", "csv", "db", "duckdb", "feather", "h5", "hdf5", "json", "jsonl", "ndjson", "npy", "npz", "orc"),
    *("pickle", "pkl", "pq", "sqlite", "tsv", "txt", "xlsx"),
)
"""Endings of files that people may expect of a table."""


def _joined_kinds(value: Any) -> Any:
    """Return the text of a choice of kinds of errors: for ``true`` that of all, for ``false`` None."""
    return (ALL_KINDS if value else None) if isinstance(value, bool) else as_text(value)


def _check_table(out: str) -> str:
    """Return the name of an output.

    Raises:
        ValueError: By its name, it is another kind of table.
    """
    ending = os.path.splitext(split_options(out)[0])[1].removeprefix(".").lower()
    if ending in _OTHER_TABLES and not os.path.isdir(out):
        raise ValueError("must be a .parquet file or a folder: other kinds of tables are not written")
    return out


def _check_kinds(kinds: str | None) -> str | None:
    """Return a choice of kinds of errors.

    Raises:
        ValueError: There is no such kind.
    """
    for kind in kinds.split(",") if kinds is not None else ():
        if kind not in (ALL_KINDS, *ERROR_KINDS):
            raise ValueError(f"must be {ALL_KINDS}, or some of {', '.join(ERROR_KINDS)}")
    return kinds


TablePath = Annotated[str, AfterValidator(_check_table)]
"""Where a table is written: a .parquet file, or a folder."""
RedoErrors = Annotated[
    str | None,
    BeforeValidator(_joined_kinds, json_schema_input_type=bool | str | list[str] | None),
    AfterValidator(_check_kinds),
]
"""Kinds of errors whose videos are done again; None for none."""


def kinds_of(redo_errors: str | None) -> frozenset[str] | None:
    """Return the kinds that a choice means; None for all."""
    kinds = frozenset((redo_errors or ALL_KINDS).split(","))
    return None if ALL_KINDS in kinds else kinds
