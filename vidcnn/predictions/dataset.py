"""A committed table as a `pyarrow.dataset.Dataset`, for whoever reads rows and needs no ledger."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from vidcnn.errors import OutputError

if TYPE_CHECKING:
    from pyarrow.dataset import Dataset, Expression

_COLUMNS = ("video", "clip", "start_seconds", "end_seconds", "label", "score")
_BATCH_ROWS = 128 * 1024
_HINT = (
    "try again; a file that is damaged you can move to another folder: the vidcnn infer that made it does again what "
    "it contained"
)


def open_dataset(out: str | os.PathLike[str]) -> Dataset:
    """Open a table of predictions, as ``--out`` named it: a file or a folder, here or in object storage.

    Raises:
        OutputError: There is none, or it cannot be read.
    """
    import pyarrow.dataset as ds

    from vidcnn.storage.uris import failure_text, is_remote, local_path, open_filesystem, public_location

    location = os.fspath(out)
    shown = public_location(location)
    try:
        if is_remote(location):
            filesystem, path = open_filesystem(location)
            dataset = ds.dataset(path, filesystem=filesystem, format="parquet")
        else:
            dataset = ds.dataset(local_path(location), format="parquet")
    except (OSError, ValueError) as error:
        raise OutputError(f"the table '{shown}' {failure_text(error)}") from error
    missing = [name for name in _COLUMNS if name not in dataset.schema.names]
    if missing:
        raise OutputError(f"'{shown}' is no table of predictions: it has no column {missing[0]}")
    return dataset


def row_batches(dataset: Dataset, columns: Sequence[str], where: Expression | None = None) -> Iterator[pa.Table]:
    """Read rows in pieces of bounded size, in the order of the files.

    Args:
        dataset: The table.
        columns: Which columns; a dictionary is decoded.
        where: Which rows; None: all.

    Raises:
        OutputError: A file is damaged, or cannot be read any more.
    """
    from vidcnn.storage.uris import failure_text

    batches = iter(dataset.to_batches(columns=list(columns), filter=where, batch_size=_BATCH_ROWS, batch_readahead=2))
    while True:
        try:
            batch = next(batches, None)
        except (OSError, pa.ArrowException, ValueError) as error:
            raise OutputError(f"the table {failure_text(error)}", _HINT) from error
        if batch is None:
            return
        if batch.num_rows:
            yield _decoded(pa.Table.from_batches([batch]))


def _decoded(table: pa.Table) -> pa.Table:
    fields: list[Any] = [
        field.with_type(field.type.value_type) if pa.types.is_dictionary(field.type) else field
        for field in table.schema
    ]
    return table.cast(pa.schema(fields))
