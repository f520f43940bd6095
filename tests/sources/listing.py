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


def write_scan(path: Path, root: Path | None, names: list[str]) -> Path:
    """Write what matters of a scan: names, a column, and the folder that the names are relative to."""
    settings = json.dumps({"table": "scan", "source_root": None if root is None else str(root)})
    table = pa.table({"video": names, "seconds": pa.array(range(len(names)), pa.float64())})
    pq.write_table(table.replace_schema_metadata({"vidcnn.settings": settings}), path)
    return path
