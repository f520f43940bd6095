"""Folders, lists and their videos, for tests of listing."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from vidcnn.sources import Listing


def make(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x" * 10)


def names_of(*sources: object) -> list[str]:
    return [video.name for video in Listing([str(source) for source in sources])]


def write_list(path: Path, *entries: object) -> Path:
    path.write_text("".join(f"{entry}\n" for entry in entries))
    return path


def write_scan(path: Path, root: Path | None, names: list[str], **columns: pa.Array) -> Path:
    """Write what matters of a scan: names, columns, and the folder that the names are relative to."""
    settings = json.dumps({"table": "scan", "source_root": None if root is None else str(root)})
    table = pa.table({"video": names, "seconds": pa.array(range(len(names)), pa.float64()), **columns})
    with pq.ParquetWriter(path, table.schema) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({"vidcnn.settings": settings})  # in the footer alone, as outputs have it
    return path
