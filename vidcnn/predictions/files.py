"""One Parquet file of predictions: write it, and read its rows.

From Arrow tables of rows, and what is to be known about them, to a file that depends on nothing else:
rows sorted by video and clip, row groups of a fixed size, dictionaries in the order of first appearance. In
its key-value metadata are, next to `vidcnn.version`, `vidcnn.run_id`, `vidcnn.model`, `vidcnn.weights_sha256` and
`vidcnn.backbone_sha256`, the settings (JSON) and the place of the ledger of its segments
(`vidcnn.predictions.section`).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vidcnn.errors import OutputError
from vidcnn.predictions.ledger import Ledger
from vidcnn.predictions.reading import Opener, TableFile
from vidcnn.predictions.rows import ERROR_KIND_TYPE
from vidcnn.predictions.section import LedgerWriter, entries_of, loaded
from vidcnn.version import __version__

ROW_GROUP_ROWS = 128 * 1024
_SORTED_BY = ("video", "clip")
_REPEATING = (
    *("video", "label", "top_labels.list.element", "error", "error_kind"),
    *("container", "video_codec", "pixel_format"),
)
"""Columns whose values repeat."""
_NAMED = ("model", "weights_sha256", "backbone_sha256")
"""Settings that have an entry of their own in the metadata."""


def metadata(settings: Mapping[str, Any], run_id: str, generation: int) -> dict[str, str]:
    """Make the key-value metadata of a file, but for the place of its ledger."""
    known = {key: str(settings[key]) for key in _NAMED if settings.get(key) is not None}
    return {
        "vidcnn.version": __version__,
        "vidcnn.run_id": run_id,
        "vidcnn.generation": str(generation),
        **{f"vidcnn.{key}": value for key, value in known.items()},
        "vidcnn.settings": json.dumps(settings, sort_keys=True),
    }


def write_file(
    sink: IO[bytes], tables: Iterable[pa.Table], schema: pa.Schema, values: Mapping[str, str], ledger: LedgerWriter
) -> None:
    """Write sorted rows as one Parquet file.

    Args:
        sink: Where to; stays open.
        tables: The rows in pieces; how they are cut leaves no trace in the file.
        schema: The columns.
        values: The file's key-value metadata, from `metadata`.
        ledger: What the rows are of; it may be written while they are taken.
    """
    text = [name for name in _REPEATING if name.partition(".")[0] in schema.names]
    order = pq.SortingColumn.from_ordering(
        schema, [(name, "ascending") for name in _SORTED_BY if name in schema.names], null_placement="at_start"
    )
    with pq.ParquetWriter(
        sink, schema, compression="zstd", use_dictionary=text, sorting_columns=order, write_page_checksum=True
    ) as writer:
        for group in _row_groups(tables, schema):
            writer.write_table(group, row_group_size=ROW_GROUP_ROWS)
        place = ledger.copy_to(sink)
        writer.add_key_value_metadata({**values, "vidcnn.ledger_place": place.encode()})


def write_empty(sink: IO[bytes], schema: pa.Schema, values: Mapping[str, str]) -> None:
    """Write a file that has neither rows nor segments, with the arguments of `write_file`."""
    with LedgerWriter() as ledger:
        write_file(sink, [], schema, values, ledger)


def check_file(open_file: Opener, path: str, ledger: LedgerWriter, *, rows: bool) -> None:
    """Read back what was written: the footer, the ledger, and how many rows and videos there are.

    Args:
        open_file: Opens files.
        path: The file.
        ledger: What was written into it.
        rows: Whether to read all rows as well, as before other copies of them are deleted. Pages have checksums.

    Raises:
        OutputError: It cannot be read, or contains something else.
    """
    with TableFile(open_file, path) as file:
        num_rows = file.footer().num_rows
        num_videos = sum(table.num_rows for table in file.ledger())
    if rows:
        num_rows = sum(table.num_rows for table in read_columns(open_file, path, None, without=[]))
    if (num_rows, num_videos) != (ledger.num_rows, ledger.num_videos):
        raise OutputError(
            f"{path} was written with {ledger.num_rows} rows of {ledger.num_videos} videos, but {num_rows} of "
            f"{num_videos} are read back",
            "nothing was deleted; check the storage, and run the same command again",
        )


def read_ledger(open_file: Opener, path: str) -> Ledger:
    """Read the whole ledger of a file; of a part file, since that of a table may be large.

    Raises:
        OutputError: The file is damaged.
    """
    with TableFile(open_file, path) as file:
        return {entry[0]: loaded(entry, path) for table in file.ledger() for entry in entries_of(table)}


def read_rows(open_file: Opener, path: str, *, without: Collection[str]) -> pa.Table:
    """Read the rows of a file but for those of some videos.

    Raises:
        OutputError: The file is damaged.
    """
    with TableFile(open_file, path) as file:
        file.footer()
        return _without(plain(file.attempt(lambda opened: opened.read())), without)


def read_columns(
    open_file: Opener, path: str, columns: list[str] | None, *, without: Collection[str]
) -> Iterator[pa.Table]:
    """Read some columns, or all, one row group at a time, but for the rows of some videos.

    Raises:
        OutputError: The file is damaged.
    """
    with TableFile(open_file, path) as file:
        file.footer()
        for group in range(file.attempt(lambda opened: int(opened.num_row_groups))):
            table = file.attempt(lambda opened, group=group: opened.read_row_group(group, columns=columns))  # type: ignore[misc]
            yield _without(plain(table), without)


def sort_rows(rows: pa.Table) -> pa.Table:
    """Sort by video, then clip where rows have one; a row without a clip comes first."""
    if "clip" not in rows.schema.names:
        return rows.sort_by("video")
    keys = pa.table({"video": rows["video"], "clip": pc.fill_null(rows["clip"], -1)})
    return rows.take(pc.sort_indices(keys, sort_keys=[("video", "ascending"), ("clip", "ascending")]))


def read_videos(file: TableFile, videos: list[str], columns: list[str] | None = None) -> pa.Table:
    """Read the rows of some videos, given in order, from a sorted file; all columns, or some, with that of the videos.

    Raises:
        OutputError: The file is damaged.
    """

    def read(opened: pq.ParquetFile) -> pa.Table:
        groups = []
        for group in range(opened.num_row_groups):
            bounds = opened.metadata.row_group(group).column(0).statistics
            if bounds is None or not bounds.has_min_max or (bounds.min <= videos[-1] and videos[0] <= bounds.max):
                groups.append(group)
        return opened.read_row_groups(groups, columns=columns)

    file.footer()
    rows = plain(file.attempt(read))
    return rows.filter(pc.is_in(rows["video"], pa.array(videos, pa.string())))


def plain(rows: pa.Table) -> pa.Table:
    """Take off the metadata and the dictionary encoding, in which rows of different files may differ."""
    rows = rows.replace_schema_metadata(None)
    index = rows.schema.get_field_index("error_kind")
    return rows if index < 0 else rows.set_column(index, "error_kind", rows["error_kind"].cast(pa.string()))


def _without(rows: pa.Table, videos: Collection[str]) -> pa.Table:
    if not videos:
        return rows
    return rows.filter(pc.invert(pc.is_in(rows["video"], pa.array(list(videos), pa.string()))))


def _row_groups(tables: Iterable[pa.Table], schema: pa.Schema) -> Iterator[pa.Table]:
    """Cut pieces into full row groups whose memory layout depends on their rows alone."""
    pending = plain(schema.empty_table())
    for table in tables:
        pending = pa.concat_tables([pending, plain(table)])
        while pending.num_rows >= ROW_GROUP_ROWS:
            yield _encoded(pending.slice(0, ROW_GROUP_ROWS), schema)
            pending = pending.slice(ROW_GROUP_ROWS)
    if pending.num_rows:
        yield _encoded(pending, schema)


def _encoded(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    kinds = rows["error_kind"].combine_chunks().cast(ERROR_KIND_TYPE)
    index = schema.get_field_index("error_kind")
    return rows.set_column(index, schema.field(index), kinds).combine_chunks().cast(schema)
