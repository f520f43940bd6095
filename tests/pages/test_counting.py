from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from tests.pages.tables import rows_of
from vidcnn.pages import counting
from vidcnn.pages.counting import NUM_BINS, NUM_NAMED, bin_of, count_rows
from vidcnn.predictions.files import plain

CLIPS = st.lists(
    st.one_of(st.none(), st.tuples(st.sampled_from("abc"), st.floats(0, 1, width=32))), min_size=0, max_size=6
)


def cut(table: pa.Table, size: int) -> list[pa.Table]:
    return [plain(table.slice(start, size)) for start in range(0, table.num_rows, size)]


@given(st.dictionaries(st.text("xyz", min_size=1, max_size=3), CLIPS, min_size=1, max_size=12), st.integers(1, 9))
def test_counts_are_those_of_the_rows_however_they_are_cut(videos: dict[str, Any], size: int) -> None:
    table = pa.concat_tables([rows_of(name, clips) for name, clips in videos.items()])
    counts = count_rows(cut(table, size), max_listed=4)
    rows = table.to_pylist()
    good = [row for row in rows if row["error"] is None]
    assert counts.num_rows == len(rows)
    assert counts.num_clips == sum(row["clip"] is not None for row in rows)
    assert counts.num_predictions == len(good)
    assert counts.num_videos == len(videos)
    assert dict(zip(counts.labels, counts.label_clips, strict=True)) == Counter(row["label"] for row in good)
    assert counts.histogram.sum() == len(good)
    kinds = Counter(row["error_kind"] for row in rows if row["error"])
    assert {kind: count.num_rows for kind, count in counts.errors.items()} == kinds
    assert counts.num_errors == sum(kinds.values())
    for kind, count in counts.errors.items():
        names = sorted({row["video"] for row in rows if row["error_kind"] == kind})
        assert list(count.first) == names[:NUM_NAMED]
    assert counts.listed == {name: len(videos[name]) - 1 for name in sorted(videos)[:4]}
    assert counts.last_listed == (sorted(videos)[3] if len(videos) > 4 else None)


def test_sums_of_scores_are_by_label() -> None:
    table = pa.concat_tables([rows_of("v", [("a", 0.25), ("b", 0.5), ("a", 1.0)])])
    counts = count_rows(cut(table, 2), max_listed=1)
    assert counts.labels == ["a", "b"]
    assert counts.label_scores == [1.25, 0.5]
    assert counts.histogram[0].nonzero()[0].tolist() == [5, NUM_BINS - 1]


def test_a_bin_reaches_from_its_low_end_up_to_the_next_one() -> None:
    scores = np.array([0, 0.049, 0.05, 0.999, 1.0, np.nan, np.inf, -1], np.float64)
    assert bin_of(scores).tolist() == [0, 0, 1, 19, 19, 0, 19, 0]


def test_videos_are_counted_in_little_memory(monkeypatch: Any) -> None:
    monkeypatch.setattr(counting, "_MOST_HASHES", 3)
    tables = [plain(rows_of(f"v{index % 10}", [("a", 0.5)])) for index in range(50)]
    assert count_rows(tables, max_listed=1).num_videos == 10
