"""The counts of a scan are those of its rows, however they are cut."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from vidcnn.errors import VideoError
from vidcnn.scans import scan_row
from vidcnn.scans.summary import COLUMNS, summarize_scan
from vidcnn.sources import SourceVideo


def row(name: str, error: VideoError | None = None, **facts: Any) -> pa.Table:
    video = SourceVideo(name, f"/{name}", False, 100, 10**9, None, None)
    table = scan_row(video, facts, error)
    for column in ("duplicate_of", "near_duplicate_of"):
        if column in facts:
            place = table.schema.get_field_index(column)
            table = table.set_column(place, column, pa.array([facts[column]], pa.string()))
    return table.select(COLUMNS)


ROWS = [
    row("b", readable=True, video_codec="h264", container="mp4", width=64, height=48, duration_seconds=2.0),
    row(
        "d", readable=True, video_codec="h264", width=64, height=48, duration_seconds=3.0, black_seconds=1.5, num_gaps=1
    ),
    row(
        "a", readable=True, video_codec="vp9", duration_seconds=5.0, black_seconds=2.0, frozen_seconds=1.0, is_hdr=True
    ),
    row("c", VideoError("unreadable", "it is encrypted (x): decrypt it first")),
    row("e", VideoError("unreadable", "no")),
    row("f", VideoError("truncated", "cut"), readable=True, num_damaged=3, is_variable_rate=True, duplicate_of="a"),
    row("g", readable=True, near_duplicate_of="b", black_seconds=0.0, num_damaged=0, num_gaps=0),
]


def test_rows_are_counted_with_an_example_of_each() -> None:
    found = summarize_scan(ROWS)
    assert (found.num_videos, found.num_readable, found.size_bytes, found.seconds) == (7, 5, 700, 10.0)
    assert (found.codecs, found.containers, found.sizes) == ({"h264": 2, "vp9": 1}, {"mp4": 1}, {"64x48": 2})
    assert {kind: (group.num_videos, group.example, group.detail) for kind, group in found.errors.items()} == {
        "truncated": (1, "f", "cut"),
        "unreadable": (2, "c", "it is encrypted (x): decrypt it first"),
    }
    assert found.num_bad_videos == 3
    assert (found.black.num_videos, found.black.seconds, found.black.example) == (2, 3.5, "a")
    assert (found.frozen.num_videos, found.gaps.example, found.variable_rate.example) == (1, "d", "f")
    assert (found.encrypted.example, found.hdr.example, found.damaged.detail) == ("c", "a", "3")
    assert (found.same.example, found.same.detail, found.near.example, found.near.size_bytes) == ("f", "a", "g", 100)


@given(st.permutations(range(len(ROWS))), st.sets(st.integers(1, len(ROWS) - 1)))
def test_neither_order_nor_pieces_count(order: list[int], cuts: set[int]) -> None:
    bounds = [0, *sorted(cuts), len(ROWS)]
    pieces = [pa.concat_tables([ROWS[order[index]] for index in range(a, b)]) for a, b in pairwise(bounds)]
    assert summarize_scan(pieces) == summarize_scan(ROWS)


def test_an_empty_scan_has_no_counts() -> None:
    found = summarize_scan([ROWS[0].slice(0, 0)])
    assert (found.num_videos, found.num_bad_videos, found.codecs) == (0, 0, {})
