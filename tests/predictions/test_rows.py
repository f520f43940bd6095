from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidcnn.errors import ERROR_KINDS
from vidcnn.predictions.rows import BadVideo, Summary, error_rows, prediction_rows, prediction_schema, summarize

PLAIN = prediction_schema(num_classes_for_probabilities=None, embedding_size=None)
FULL = prediction_schema(num_classes_for_probabilities=3, embedding_size=2)


def arguments(**changes: Any) -> dict[str, Any]:
    return {
        "clips": np.array([4, 5]),
        "start_seconds": np.array([2.0, 2.5]),
        "end_seconds": np.array([3.0, 3.5]),
        "labels": ["run", "jump", "fall"],
        "top_indices": np.array([[2, 0], [1, 2]]),
        "top_scores": np.array([[0.75, 0.25], [0.5, 0.375]], np.float32),
        **changes,
    }


def test_the_columns_are_those_of_the_documented_table() -> None:
    assert dict(zip(PLAIN.names, map(str, PLAIN.types), strict=True)) == {
        "video": "string",
        "clip": "int32",
        "start_seconds": "double",
        "end_seconds": "double",
        "label": "string",
        "score": "float",
        "top_labels": "list<element: string>",
        "top_scores": "list<element: float>",
        "error": "string",
        "error_kind": "dictionary<values=string, indices=int8, ordered=0>",
    }
    extra = [name for name in FULL.names if name not in PLAIN.names]
    assert extra == ["probabilities", "embedding"]
    assert FULL.field("probabilities").type == pa.list_(pa.float16(), 3)
    assert FULL.field("embedding").type == pa.list_(pa.float16(), 2)


def test_predictions_become_one_row_for_each_clip() -> None:
    probabilities = np.array([[0.25, 0, 0.75], [0.125, 0.5, 0.375]], np.float32)
    embedding = np.array([[1.5, -2], [0.1, 1e6]])
    rows = prediction_rows(FULL, "a.mp4", **arguments(probabilities=probabilities, embedding=embedding))
    assert rows.schema == FULL
    assert rows.to_pylist() == [
        {
            "video": "a.mp4",
            "clip": 4,
            "start_seconds": 2.0,
            "end_seconds": 3.0,
            "label": "fall",
            "score": 0.75,
            "top_labels": ["fall", "run"],
            "top_scores": [0.75, 0.25],
            "probabilities": [0.25, 0.0, 0.75],
            "embedding": [1.5, -2.0],
            "error": None,
            "error_kind": None,
        },
        {
            "video": "a.mp4",
            "clip": 5,
            "start_seconds": 2.5,
            "end_seconds": 3.5,
            "label": "jump",
            "score": 0.5,
            "top_labels": ["jump", "fall"],
            "top_scores": [0.5, 0.375],
            "probabilities": [0.125, 0.5, 0.375],
            "embedding": [float(np.float16(0.1)), float("inf")],
            "error": None,
            "error_kind": None,
        },
    ]


def test_a_segment_may_have_no_good_clip_at_all() -> None:
    none = arguments(
        clips=np.empty(0, int),
        start_seconds=np.empty(0),
        end_seconds=np.empty(0),
        top_indices=np.empty((0, 2), int),
        top_scores=np.empty((0, 2)),
    )
    rows = prediction_rows(PLAIN, "a", **none)
    assert rows.num_rows == 0
    assert pa.concat_tables([rows, prediction_rows(PLAIN, "a", **arguments())]).num_rows == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"top_indices": np.zeros((3, 2), int)}, r"top_indices has shape \(3, 2\) but must be \(2, any\)"),
        ({"top_indices": np.zeros(2, int)}, r"top_indices has shape \(2,\)"),
        ({"top_indices": np.zeros((2, 0), int)}, "k must be > 0"),
        ({"top_scores": np.zeros((2, 3))}, r"top_scores has shape \(2, 3\) but must be \(2, 2\)"),
        ({"start_seconds": np.zeros(3)}, "start_seconds has shape"),
        ({"end_seconds": np.zeros((2, 1))}, "end_seconds has shape"),
        ({"probabilities": np.zeros((2, 3))}, "probabilities must be given exactly where the schema"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        prediction_rows(PLAIN, "a", **arguments(**changes))


def test_extra_columns_must_have_their_width_and_be_there() -> None:
    wide = {"probabilities": np.zeros((2, 4)), "embedding": np.zeros((2, 2))}
    with pytest.raises(ValueError, match=r"probabilities has shape \(2, 4\) but must be \(2, 3\)"):
        prediction_rows(FULL, "a", **arguments(**wide))
    with pytest.raises(ValueError, match="embedding must be given"):
        prediction_rows(FULL, "a", **arguments(probabilities=np.zeros((2, 3))))


def test_an_unreadable_video_is_one_row_without_clip_and_times() -> None:
    (row,) = error_rows(FULL, "b\udcff.mp4", kind="unreadable", message="no \udcff such codec").to_pylist()
    assert {name: value for name, value in row.items() if value is not None} == {
        "video": r"b\xff.mp4",
        "error": r"no \udcff such codec",
        "error_kind": "unreadable",
    }


def test_clips_that_failed_are_a_row_each_with_their_times() -> None:
    good = prediction_rows(PLAIN, "a", **arguments())
    bad = error_rows(
        PLAIN,
        "a",
        kind="timeout",
        message="took too long",
        clips=np.array([6, 7]),
        start_seconds=np.array([3.0, 3.5]),
        end_seconds=np.array([4.0, 4.5]),
    )
    rows = pa.concat_tables([good, bad]).combine_chunks()
    assert rows["clip"].to_pylist() == [4, 5, 6, 7]
    assert rows["end_seconds"].to_pylist() == [3.0, 3.5, 4.0, 4.5]
    assert rows["error_kind"].to_pylist() == [None, None, "timeout", "timeout"]
    assert rows["label"].to_pylist() == ["fall", "jump", None, None]


def test_every_error_kind_has_a_place_in_the_column() -> None:
    tables = [error_rows(PLAIN, kind, kind=kind, message="m") for kind in ERROR_KINDS]
    assert pa.concat_tables(tables).combine_chunks()["error_kind"].to_pylist() == list(ERROR_KINDS)


rows = st.lists(
    st.tuples(
        st.sampled_from("abcdef"),
        st.none() | st.integers(0, 5),
        st.none() | st.sampled_from(["truncated", "timeout"]),
    ),
    unique_by=lambda row: row[:2],
)


@given(rows=rows, cut=st.integers(1, 5), num_named=st.integers(1, 3))
def test_a_summary_counts_the_rows_however_they_are_cut(
    rows: list[tuple[str, int | None, str | None]], cut: int, num_named: int
) -> None:
    table = pa.table(
        {
            "video": pa.array([row[0] for row in rows], pa.string()),
            "clip": pa.array([row[1] for row in rows], pa.int32()),
            "error": pa.array([row[2] and f"clip {row[1]}" for row in rows], pa.string()),
            "error_kind": pa.array([row[2] for row in rows], pa.string()),
        }
    )
    pieces = [table.slice(start, cut) for start in range(0, len(rows), cut)]
    first: dict[str, tuple[str, int | None, str | None]] = {}
    for row in sorted(rows, key=lambda row: (row[0], -1 if row[1] is None else row[1])):
        if row[2]:
            first.setdefault(row[0], row)
    assert summarize(pieces, num_videos=7, num_named=num_named) == Summary(
        num_videos=7,
        num_clips=sum(row[1] is not None for row in rows),
        num_predictions=sum(row[2] is None for row in rows),
        num_errors={
            kind: sum(row[2] == kind for row in rows)
            for kind in ("timeout", "truncated")
            if any(row[2] == kind for row in rows)
        },
        num_bad_videos=len(first),
        bad_videos=tuple(
            BadVideo(video, kind or "", f"clip {clip}") for video, clip, kind in [*first.values()][:num_named]
        ),
    )
