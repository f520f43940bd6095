"""One Parquet file of predictions: write it, read it back, merge many into one.

In go Arrow tables of rows and what is to be known about them; a file comes out that depends on nothing else:
rows sorted by video and clip, row groups of a fixed size, dictionaries in the order of first appearance. In
its key-value metadata lie, next to `vidcnn.version`, `vidcnn.run_id`, `vidcnn.model` and
`vidcnn.weights_sha256`, the settings (JSON) and the ledger of its segments (`vidcnn.predictions.ledger`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vidcnn import __version__
from vidcnn.errors import OutputError
from vidcnn.predictions.ledger import Ledger, decode, encode
from vidcnn.predictions.rows import ERROR_KIND_TYPE

ROW_GROUP_ROWS = 128 * 1024
RANGE_BYTES = 128 * 2**20
"""How much of a table is held at once while files are merged, by a rough estimate of a row's size."""

Opener = Callable[[str], Any]
"""Opens a file, given its path, for random access."""


@dataclass(frozen=True)
class Footer:
    """What a file of predictions says about itself."""

    schema: pa.Schema
    settings: dict[str, Any]
    ledger: Ledger


def metadata(settings: Mapping[str, Any], run_id: str, ledger: Ledger) -> dict[str, str]:
    """Make the key-value metadata of a file."""
    known = {key: str(settings[key]) for key in ("model", "weights_sha256") if settings.get(key) is not None}
    return {
        "vidcnn.version": __version__,
        "vidcnn.run_id": run_id,
        **{f"vidcnn.{key}": value for key, value in known.items()},
        "vidcnn.settings": json.dumps(settings, sort_keys=True),
        "vidcnn.ledger": encode(ledger),
    }


def read_footer(open_file: Opener, path: str) -> Footer:
    """Read what a file says about itself.

    Raises:
        OutputError: The file is damaged, or vidcnn did not write it.
    """
    with _reading(open_file, path) as file:
        values = file.metadata.metadata or {}
        if b"vidcnn.ledger" not in values:
            raise OutputError(
                f"{path} was not written by vidcnn", "choose another --out; vidcnn overwrites nothing else"
            )
        return Footer(
            schema=file.schema_arrow.remove_metadata(),
            settings=json.loads(values[b"vidcnn.settings"]),
            ledger=decode(values[b"vidcnn.ledger"], file=path),
        )


def read_rows(open_file: Opener, path: str, *, without: Collection[str]) -> pa.Table:
    """Read the rows of a file but for those of some videos.

    Raises:
        OutputError: The file is damaged.
    """
    with _reading(open_file, path) as file:
        return _without(_plain(file.read()), without)


def read_columns(open_file: Opener, path: str, columns: list[str], *, without: Collection[str]) -> Iterator[pa.Table]:
    """Read some columns, one row group at a time, but for the rows of some videos.

    Raises:
        OutputError: The file is damaged.
    """
    with _reading(open_file, path) as file:
        for group in range(file.num_row_groups):
            yield _without(_plain(file.read_row_group(group, columns=columns)), without)


def write_file(sink: IO[bytes], tables: Iterable[pa.Table], schema: pa.Schema, values: Mapping[str, str]) -> None:
    """Write sorted rows as one Parquet file.

    Args:
        sink: Where to; stays open.
        tables: The rows in pieces; how they are cut leaves no trace in the file.
        schema: The columns.
        values: The file's key-value metadata.
    """
    text = ["video", "label", "top_labels.list.element", "error", "error_kind"]
    order = pq.SortingColumn.from_ordering(
        schema, [("video", "ascending"), ("clip", "ascending")], null_placement="at_start"
    )
    with pq.ParquetWriter(sink, schema, compression="zstd", use_dictionary=text, sorting_columns=order) as writer:
        for group in _row_groups(tables, schema):
            writer.write_table(group, row_group_size=ROW_GROUP_ROWS)
        writer.add_key_value_metadata(dict(values))


def sort_rows(rows: pa.Table) -> pa.Table:
    """Sort by video, then clip; a row without a clip comes first."""
    keys = pa.table({"video": rows["video"], "clip": pc.fill_null(rows["clip"], -1)})
    return rows.take(pc.sort_indices(keys, sort_keys=[("video", "ascending"), ("clip", "ascending")]))


def merged_rows(
    open_file: Opener, ledger: Ledger, schema: pa.Schema, *, range_bytes: int = RANGE_BYTES
) -> Iterator[pa.Table]:
    """Merge files: yield the rows of a ledger in order, a bounded number at a time.

    Args:
        open_file: Opens the files that the ledger's entries name. They are sorted, each in itself.
        ledger: What the result is to hold; a video is read from the files its entry names, and no others.
        schema: The columns.
        range_bytes: About how much to hold at once; at least one video.

    Raises:
        OutputError: A file is damaged, or has other rows than its ledger says.
    """
    names = sorted(ledger)
    range_rows = max(1, range_bytes // _row_bytes(schema))
    start = 0
    while start < len(names):
        end, num_rows = start, 0
        wanted: dict[str, list[str]] = {}
        while end < len(names) and (end == start or num_rows + ledger[names[end]].num_rows <= range_rows):
            num_rows += ledger[names[end]].num_rows
            for path in ledger[names[end]].files:
                wanted.setdefault(path, []).append(names[end])
            end += 1
        pieces = [_read_videos(open_file, path, videos) for path, videos in wanted.items()]
        rows = sort_rows(pa.concat_tables(pieces))
        if rows.num_rows != num_rows:
            raise OutputError(
                f"{', '.join(sorted(wanted)[:3])} should hold {num_rows} rows from {names[start]} to "
                f"{names[end - 1]}, but {rows.num_rows} are there",
                "delete these files, and the same command does again what they held",
            )
        yield rows
        start = end


def _read_videos(open_file: Opener, path: str, videos: list[str]) -> pa.Table:
    """Read the rows of some videos, given in order, from a sorted file."""
    with _reading(open_file, path) as file:
        groups = []
        for group in range(file.num_row_groups):
            bounds = file.metadata.row_group(group).column(0).statistics
            if bounds is None or not bounds.has_min_max or (bounds.min <= videos[-1] and videos[0] <= bounds.max):
                groups.append(group)
        rows = _plain(file.read_row_groups(groups))
        return rows.filter(pc.is_in(rows["video"], pa.array(videos, pa.string())))


@contextmanager
def _reading(open_file: Opener, path: str) -> Iterator[pq.ParquetFile]:
    try:
        with open_file(path) as source, pq.ParquetFile(source) as file:
            yield file
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise OutputError(
            f"{path} is damaged or cannot be read: {str(error).splitlines()[0]}",
            "delete it, and the same command does again what it held",
        ) from error


def _plain(rows: pa.Table) -> pa.Table:
    """Take off the metadata and the dictionary encoding, in which rows of different files may differ."""
    rows = rows.replace_schema_metadata(None)
    index = rows.schema.get_field_index("error_kind")
    return rows if index < 0 else rows.set_column(index, "error_kind", rows["error_kind"].cast(pa.string()))


def _without(rows: pa.Table, videos: Collection[str]) -> pa.Table:
    if not videos:
        return rows
    return rows.filter(pc.invert(pc.is_in(rows["video"], pa.array(list(videos), pa.string()))))


def _row_groups(tables: Iterable[pa.Table], schema: pa.Schema) -> Iterator[pa.Table]:
    """Cut pieces anew into full row groups whose memory layout depends on their rows alone."""
    pending = _plain(schema.empty_table())
    for table in tables:
        pending = pa.concat_tables([pending, _plain(table)])
        while pending.num_rows >= ROW_GROUP_ROWS:
            yield _encoded(pending.slice(0, ROW_GROUP_ROWS), schema)
            pending = pending.slice(ROW_GROUP_ROWS)
    if pending.num_rows:
        yield _encoded(pending, schema)


def _encoded(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    kinds = rows["error_kind"].combine_chunks().cast(ERROR_KIND_TYPE)
    index = schema.get_field_index("error_kind")
    return rows.set_column(index, schema.field(index), kinds).combine_chunks().cast(schema)


def _row_bytes(schema: pa.Schema) -> int:
    """Estimate a row's size in memory: what is wide, and some text."""
    wide = sum(field.type.list_size * 2 for field in schema if pa.types.is_fixed_size_list(field.type))
    return int(wide) + 400
