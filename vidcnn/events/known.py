"""Reading events from files: known ones to compare with, and those that vidcnn has found.

Three forms are taken: a table (``.csv``, ``.tsv``, ``.parquet``) with ``video`` (or ``path``), ``label``,
``start_seconds``, ``end_seconds`` and perhaps ``score``; the annotations of ActivityNet (``{"database": ...}``); and
what its programs take as results (``{"results": ...}``).
"""

from __future__ import annotations

import csv
import json
import math
import posixpath
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from vidcnn.errors import DataError, describe_reason, first_line
from vidcnn.events.evaluation import Found, Known
from vidcnn.safe_text import cell_value, one_line
from vidcnn.sources.columns import column_name

_MAX_BYTES = 2**30
_TIMES = ("start_seconds", "end_seconds")
_HINT = (
    "it takes a table with video, label, start_seconds and end_seconds, or the JSON of ActivityNet: "
    '{"database": {VIDEO: {"annotations": [{"label": NAME, "segment": [START, END]}]}}}'
)


@dataclass(frozen=True)
class Truth:
    """What is known of some videos.

    Attributes:
        events: Their events.
        videos: Names of the videos, also of those in which nothing happens.
    """

    events: tuple[Known, ...]
    videos: frozenset[str]

    def under_names(self, names: Iterable[str]) -> Truth:
        """Return the same with the names that the videos have elsewhere, as `renamed` finds them."""
        new = renamed(self.videos, names)
        events = tuple(replace(event, video=new.get(event.video, event.video)) for event in self.events)
        return Truth(events, frozenset(new.get(video, video) for video in self.videos))


def read_known(path: Path, subset: str | None = None) -> Truth:
    """Read known events. A row of a table without a label names a video in which nothing happens.

    Args:
        path: The file.
        subset: Of annotations in JSON, only videos of this subset; None for all.

    Raises:
        DataError: It cannot be read, is not of one of the forms, or has no event.
    """
    rows = _read(path, subset)
    events = tuple(
        Known(row.video, row.label, row.start_seconds, row.end_seconds) for row in rows if isinstance(row, Found)
    )
    if not events:
        of = f" of the subset {one_line(subset)}" if subset else ""
        raise DataError(f"'{one_line(str(path))}' has no event{of}", _HINT)
    return Truth(events, frozenset(row if isinstance(row, str) else row.video for row in rows))


def read_found(path: Path) -> list[Found]:
    """Read found events; those without a score have 1.

    Raises:
        DataError: It cannot be read, or is not of one of the forms.
    """
    return [row for row in _read(path, None) if isinstance(row, Found)]


def renamed(names: Collection[str], others: Iterable[str]) -> dict[str, str]:
    """Find the names that videos have elsewhere, where they differ by their extension or their folder.

    Args:
        names: What they are called here.
        others: What videos are called there.

    Returns:
        Names there by names here: where not one name is the same, but paths are when the extension is left out, or the
        last parts of paths are, and no two then become one. Otherwise nothing.
    """
    there = set(others)
    if not there.isdisjoint(names):
        return {}
    for short in (_without_extension, _stem):
        by_short: dict[str, set[str]] = {}
        for name in there:
            by_short.setdefault(short(name), set()).add(name)
        found = {name: by_short[short(name)] for name in names if short(name) in by_short}
        if found and all(len(meant) == 1 for meant in found.values()):
            return {name: next(iter(meant)) for name, meant in found.items()}
    return {}


def _without_extension(name: str) -> str:
    folder, base = posixpath.split(name)
    return posixpath.join(folder, base.rpartition(".")[0] or base)


def _stem(name: str) -> str:
    return _without_extension(posixpath.basename(name))


_Row = Found | str
"""An event; or the name of a video in which nothing happens."""


def _read(path: Path, subset: str | None) -> list[_Row]:
    shown = one_line(str(path))
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ValueError(f"it has more than {_MAX_BYTES:,} bytes")
        suffix = path.suffix.lower()
        if suffix == ".parquet":
            return list(_of_rows(_parquet_rows(path)))
        if suffix in (".csv", ".tsv"):
            return list(_of_rows(_csv_rows(path, "," if suffix == ".csv" else "\t")))
        return list(_of_json(json.loads(path.read_bytes()), subset))
    except OSError as error:
        raise DataError(f"'{shown}' cannot be read: {describe_reason(error)}") from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, csv.Error, pa.ArrowException) as error:
        reason = f"there is no {error}" if isinstance(error, KeyError) else first_line(error)
        raise DataError(f"'{shown}' has no events that can be read: {one_line(reason)}", _HINT) from error


def _parquet_rows(path: Path) -> Iterator[dict[str, Any]]:
    with pq.ParquetFile(path) as file:
        wanted = [name for name in file.schema_arrow.names if column_name(name) in _COLUMNS]
        for batch in file.iter_batches(columns=wanted):
            for row in batch.to_pylist():
                yield {column_name(name): value for name, value in row.items()}


def _csv_rows(path: Path, delimiter: str) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file, delimiter=delimiter, strict=True)
        names = [column_name(cell) for cell in next(rows, [])]
        for cells in filter(None, rows):
            yield dict(zip(names, map(cell_value, cells), strict=False))


_COLUMNS = ("video", "path", "label", *_TIMES, "score")


def _of_rows(rows: Iterator[dict[str, Any]]) -> Iterator[_Row]:
    for row in rows:
        video = str(row["path"] if "path" in row and "video" not in row else row["video"])
        if row["label"] in (None, ""):
            yield video
            continue
        score = row.get("score")
        start, end = _segment([row[name] for name in _TIMES])
        yield Found(video, str(row["label"]), start, end, 1.0 if score in (None, "") else float(score))


def _of_json(content: Any, subset: str | None) -> Iterator[_Row]:
    if "results" in content:
        for video, events in content["results"].items():
            for one in events:
                yield Found(video, str(one["label"]), *_segment(one["segment"]), float(one["score"]))
        return
    for video, entry in content["database"].items():
        if subset is None or entry.get("subset") == subset:
            yield video
            for one in entry.get("annotations", ()):
                yield Found(video, str(one["label"]), *_segment(one["segment"]), 1.0)


def _segment(segment: Sequence[Any]) -> tuple[float, float]:
    start, end = map(float, segment)
    if not (math.isfinite(start) and math.isfinite(end) and start < end):
        raise ValueError(f"an event from {start:g} to {end:g}")
    return start, end
