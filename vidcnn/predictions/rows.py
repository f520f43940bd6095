"""The predictions table: its columns, the rows of a segment, and the counts of a table.

Takes the arrays that a model returns for the clips of one video, or what is wrong with the video; returns
Arrow tables with the columns of `prediction_schema`. `vidcnn.predictions.output` commits them.

Letters: N clips, k labels kept for each, K classes, E numbers of an embedding.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vidcnn.errors import ErrorKind
from vidcnn.sources.keys import video_text

ERROR_KIND_TYPE = pa.dictionary(pa.int8(), pa.string())

Array = NDArray[Any]


@dataclass(frozen=True)
class BadVideo:
    """A video with at least one error row, and the first of its errors."""

    video: str
    error_kind: str
    error: str


@dataclass(frozen=True)
class Summary:
    """Counts of a predictions table.

    Args:
        num_videos: Distinct videos.
        num_clips: Rows of a clip (`clip` is not null).
        num_predictions: Rows without an error.
        num_errors: Rows with an error, by kind.
        num_bad_videos: Videos with at least one error row.
        bad_videos: The first few of them by name.
    """

    num_videos: int
    num_clips: int
    num_predictions: int
    num_errors: dict[str, int]
    num_bad_videos: int
    bad_videos: tuple[BadVideo, ...]


def prediction_schema(*, num_classes_for_probabilities: int | None, embedding_size: int | None) -> pa.Schema:
    """Return the columns of the table.

    Args:
        num_classes_for_probabilities: K, for the column `probabilities`; None leaves it out.
        embedding_size: E, for the column `embedding`; None leaves it out.
    """
    fields = [
        pa.field("video", pa.string()),
        pa.field("clip", pa.int32()),
        pa.field("start_seconds", pa.float64()),
        pa.field("end_seconds", pa.float64()),
        pa.field("label", pa.string()),
        pa.field("score", pa.float32()),
        pa.field("top_labels", _list_of(pa.string())),
        pa.field("top_scores", _list_of(pa.float32())),
    ]
    if num_classes_for_probabilities is not None:
        fields.append(pa.field("probabilities", _list_of(pa.float16(), num_classes_for_probabilities)))
    if embedding_size is not None:
        fields.append(pa.field("embedding", _list_of(pa.float16(), embedding_size)))
    fields += [pa.field("error", pa.string()), pa.field("error_kind", ERROR_KIND_TYPE)]
    return pa.schema(fields)


def prediction_rows(
    schema: pa.Schema,
    video: str,
    *,
    clips: Array,
    start_seconds: Array,
    end_seconds: Array,
    labels: Sequence[str],
    top_indices: Array,
    top_scores: Array,
    probabilities: Array | None = None,
    embedding: Array | None = None,
) -> pa.Table:
    """Make one row for each classified clip of a video.

    Args:
        schema: What `prediction_schema` returned.
        video: The video's name; bytes that are not UTF-8 are written as `vidcnn.sources.keys.video_text` does.
        clips: Index of each clip in its video, integers (N,).
        start_seconds: Presentation time at which each clip starts, (N,).
        end_seconds: Presentation time at which it ends, (N,).
        labels: Names of the K classes.
        top_indices: Indices of the best classes, best first, integers (N, k) in ``[0, K)``.
        top_scores: Their probabilities, (N, k).
        probabilities: All probabilities, (N, K), where the schema has them; stored as half floats.
        embedding: Embeddings, (N, E), where the schema has them; beyond 65504, a half float is infinite.

    Raises:
        ValueError: Shapes do not agree with each other or with the schema.
    """
    num_clips, num_top = _shape("top_indices", top_indices, (len(clips), None))
    if not num_top:
        raise ValueError(f"top_indices has shape {top_indices.shape} but k must be > 0")
    _shape("top_scores", top_scores, (num_clips, num_top))
    offsets = pa.array(np.arange(0, num_clips * num_top + 1, num_top), pa.int32())
    top_labels = pa.array(labels, pa.string()).take(pa.array(top_indices.reshape(-1)))  # (N * k,)
    columns = {
        **_clip_columns(video, clips, start_seconds, end_seconds),
        "label": top_labels.take(offsets[:-1]),
        "score": pa.array(top_scores[:, 0], pa.float32()),
        "top_labels": pa.ListArray.from_arrays(offsets, top_labels, _list_of(pa.string())),
        "top_scores": pa.ListArray.from_arrays(
            offsets, pa.array(top_scores.reshape(-1), pa.float32()), _list_of(pa.float32())
        ),
    }
    for name, values in (("probabilities", probabilities), ("embedding", embedding)):
        if (values is not None) != (name in schema.names):
            raise ValueError(f"{name} must be given exactly where the schema has this column")
        if values is not None:
            width = schema.field(name).type.list_size
            _shape(name, values, (num_clips, width))
            with np.errstate(over="ignore"):
                flat = pa.array(values.reshape(-1).astype(np.float16))  # (N * width,)
            columns[name] = pa.FixedSizeListArray.from_arrays(flat, type=schema.field(name).type)
    return _table(schema, columns, num_clips)


def error_rows(
    schema: pa.Schema,
    video: str,
    *,
    kind: ErrorKind,
    message: str,
    clips: Array | None = None,
    start_seconds: Array | None = None,
    end_seconds: Array | None = None,
) -> pa.Table:
    """Make the rows of clips that could not be classified, or the one row of a video that could not be read.

    Args:
        schema: What `prediction_schema` returned.
        video: The video's name.
        kind: One of `vidcnn.errors.ERROR_KINDS`.
        message: What is wrong, in plain words.
        clips: Index of each planned clip, integers (N,); None for the whole video.
        start_seconds: Presentation time at which each clip starts, (N,); None where it is not known.
        end_seconds: Presentation time at which it ends, (N,); None where it is not known.

    Raises:
        ValueError: Shapes do not agree with each other.
    """
    num_rows = 1 if clips is None else len(clips)
    columns = {
        **_clip_columns(video, clips, start_seconds, end_seconds),
        "error": pa.repeat(message.encode(errors="backslashreplace").decode(), num_rows),
        "error_kind": pa.repeat(kind, num_rows).cast(ERROR_KIND_TYPE),
    }
    return _table(schema, columns, num_rows)


def summarize(tables: Iterable[pa.Table], *, num_videos: int, num_named: int = 5) -> Summary:
    """Count the rows of a table that comes in pieces.

    Args:
        tables: Pieces with the columns `video`, `clip`, `error` and `error_kind`, in any order.
        num_videos: Distinct videos in all of them.
        num_named: How many bad videos to name.
    """
    num_clips = num_predictions = 0
    num_errors: Counter[str] = Counter()
    bad: set[str] = set()
    first: dict[str, tuple[int, BadVideo]] = {}  # the first few bad videos: their first bad clip and its error
    for table in tables:
        num_clips += table.num_rows - table["clip"].null_count
        num_predictions += table["error"].null_count
        errors = table.filter(pc.is_valid(table["error"]))
        if not errors.num_rows:
            continue
        num_errors.update(errors["error_kind"].to_pylist())
        names = pc.unique(errors["video"]).to_pylist()
        bad.update(names)
        few = sorted({*first, *names})[:num_named]
        for row in errors.filter(pc.is_in(errors["video"], pa.array(few, pa.string()))).to_pylist():
            clip = -1 if row["clip"] is None else row["clip"]
            if row["video"] not in first or clip < first[row["video"]][0]:
                first[row["video"]] = clip, BadVideo(row["video"], row["error_kind"], row["error"])
        first = {name: first[name] for name in few}
    return Summary(
        num_videos=num_videos,
        num_clips=num_clips,
        num_predictions=num_predictions,
        num_errors=dict(sorted(num_errors.items())),
        num_bad_videos=len(bad),
        bad_videos=tuple(video for _, video in first.values()),
    )


def _list_of(value_type: pa.DataType, size: int = -1) -> pa.DataType:
    """Return a list type whose items bear the name that they have in Parquet."""
    return pa.list_(pa.field("element", value_type), size)


def _clip_columns(
    video: str, clips: Array | None, start_seconds: Array | None, end_seconds: Array | None
) -> dict[str, pa.Array]:
    num_rows = 1 if clips is None else len(clips)
    columns = {"video": pa.repeat(video_text(video), num_rows)}
    if clips is not None:
        columns["clip"] = pa.array(clips, pa.int32())
    for name, seconds in (("start_seconds", start_seconds), ("end_seconds", end_seconds)):
        if seconds is not None:
            _shape(name, seconds, (num_rows,))
            columns[name] = pa.array(seconds, pa.float64())
    return columns


def _table(schema: pa.Schema, columns: dict[str, pa.Array], num_rows: int) -> pa.Table:
    """Complete some columns to the whole schema with nulls."""
    return pa.table([columns.get(field.name, pa.nulls(num_rows, field.type)) for field in schema], schema=schema)


def _shape(name: str, values: Array, expected: tuple[int | None, ...]) -> tuple[int, ...]:
    shape: tuple[int, ...] = values.shape
    if len(shape) != len(expected) or any(b not in (None, a) for a, b in zip(shape, expected, strict=True)):
        wanted = ", ".join("any" if size is None else str(size) for size in expected)
        raise ValueError(f"{name} has shape {shape} but must be ({wanted})")
    return shape
