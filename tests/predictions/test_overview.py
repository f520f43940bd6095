from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.events.cases import SCHEMA, rows
from vidcnn.predictions.overview import COLUMNS, Overview, VideoCount, videos_of
from vidcnn.predictions.rows import error_rows

BAD = error_rows(SCHEMA, "b", kind="timeout", message="it took too long")


def through(*tables: pa.Table) -> tuple[Overview, list[VideoCount]]:
    overview = Overview()
    found = [one for table in overview.through([table.select(COLUMNS) for table in tables]) for one in videos_of(table)]
    return overview, found


def test_classes_errors_and_videos_are_counted() -> None:
    overview, videos = through(
        pa.concat_tables([rows("a", [0.75, 0.25, 0.75]), BAD]), BAD.slice(0, 0), rows("c", [0.5])
    )
    assert (overview.num_videos, overview.num_predictions, overview.num_errors) == (3, 4, 1)
    fight, normal = overview.labels["fight"], overview.labels["normal"]
    assert (fight.num_clips, fight.num_videos, fight.score) == (3, 2, pytest.approx(2 / 3))
    assert (normal.num_clips, normal.num_videos, normal.score) == (1, 1, pytest.approx(0.75))
    error = overview.errors["timeout"]
    assert (error.num_rows, error.num_videos, error.video, error.message) == (1, 1, "b", "it took too long")
    assert videos == [
        VideoCount("a", 3, "fight", pytest.approx(2 / 3), pytest.approx(0.75), 0, None),
        VideoCount("b", 0, None, None, None, 1, "it took too long"),
        VideoCount("c", 1, "fight", 1.0, 0.5, 0, None),
    ]


SCORES = st.sampled_from([0.0, 0.25, 0.75, 1.0])


@given(st.lists(st.lists(SCORES, max_size=5), max_size=6), st.lists(st.booleans(), min_size=6, max_size=6))
def test_the_pieces_that_a_table_comes_in_do_not_matter(videos: list[list[float]], cuts: list[bool]) -> None:
    tables = [rows(f"{number}", scores) for number, scores in enumerate(videos) if scores]
    pieces: list[list[pa.Table]] = [[]]
    for table, is_cut in zip(tables, cuts, strict=False):
        pieces[-1].append(table)
        if is_cut:
            pieces.append([])
    overview, found = through(*(pa.concat_tables(piece) for piece in pieces if piece))
    assert overview.num_videos == len(found) == len(tables)
    for label, counts in overview.labels.items():
        of_label = [score > 0.5 if label == "fight" else score < 0.5 for scores in videos for score in scores]
        assert counts.num_clips == sum(of_label)
    assert sum(counts.num_clips for counts in overview.labels.values()) == sum(map(len, videos))
    for video in found:
        scores = videos[int(video.video)]
        most = max(sum(score > 0.5 for score in scores), sum(score < 0.5 for score in scores))
        assert video.share == pytest.approx(most / len(scores))
