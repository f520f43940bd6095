from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tests.events.cases import FULL, LABELS, SCHEMA, rows, write_table
from vidcnn.events.scores import read_scores, scores_of_videos
from vidcnn.predictions.table import Table

FIGHT = {"a.mp4": [0.1, 0.9, 0.6], "bad.mp4": None, "c.mp4": [0.25]}


@pytest.mark.parametrize("schema", [SCHEMA, FULL])
def test_each_video_has_the_scores_of_its_clips_and_those_that_cannot_be_read_have_none(
    schema: object, tmp_path: Path
) -> None:
    table = Table.open(str(write_table(tmp_path / "preds", FIGHT, schema)))  # type: ignore[arg-type]
    first, bad, last = read_scores(table)
    assert [video.video for video in (first, bad, last)] == list(FIGHT)
    assert first.scores["fight"] == pytest.approx([0.1, 0.9, 0.6], abs=1e-3)
    assert first.scores["normal"] == pytest.approx([0.9, 0.1, 0.4], abs=1e-3)
    assert (list(first.start_seconds), list(first.end_seconds)) == ([0, 1, 2], [2, 3, 4])
    assert (len(bad.start_seconds), bad.num_errors, first.num_errors) == (0, 1, 0)
    assert last.scores["fight"] == pytest.approx([0.25], abs=1e-3)
    assert set(next(read_scores(table, ["fight"])).scores) == {"fight"}


def test_the_pieces_that_a_table_comes_in_do_not_matter() -> None:
    table = rows("a", [0.1, 0.9, 0.6])
    pieces = [table.slice(0, 1), table.slice(0, 0), table.slice(1, 2), rows("b", [0.5])]
    whole, other = scores_of_videos(pieces)
    assert whole.scores["fight"] == pytest.approx([0.1, 0.9, 0.6])
    assert other.video == "b"
    assert list(scores_of_videos([])) == []


def test_a_class_that_is_not_among_the_best_counts_as_nothing() -> None:
    table = rows("a", [0.1, 0.9])
    best = [[label[0]] for label in table["top_labels"].to_pylist()]
    scores = [[score[0]] for score in table["top_scores"].to_pylist()]
    for name, values in (("top_labels", best), ("top_scores", scores)):
        place = table.schema.get_field_index(name)
        table = table.set_column(place, table.schema.field(name), pa.array(values, table.schema.field(name).type))
    (found,) = scores_of_videos([table])
    assert set(found.scores) == set(LABELS)
    np.testing.assert_allclose(found.scores["fight"], [0, 0.9], rtol=1e-6)
    np.testing.assert_allclose(found.scores["normal"], [0.9, 0], rtol=1e-6)
