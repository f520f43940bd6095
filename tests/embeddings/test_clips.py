from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.embeddings.cases import bad_rows, schema_of, video_rows, write_table
from vidcnn.embeddings.clips import Clip, ClipName, find_clip, open_embeddings, unit_rows
from vidcnn.errors import SourceError, UsageError
from vidcnn.predictions import error_rows


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("a.mp4#3", ClipName("a.mp4", 3, None)),
        ("a.mp4@12.5", ClipName("a.mp4", None, 12.5)),
        ("a.mp4@7", ClipName("a.mp4", None, 7.0)),
        ("a#1@2.mp4#0", ClipName("a#1@2.mp4", 0, None)),
        ("line\nbreak@1#2", ClipName("line\nbreak@1", 2, None)),
    ],
)
def test_a_clip_is_named_by_its_index_or_a_time(text: str, name: ClipName) -> None:
    assert ClipName.of(text) == name


@given(st.text(min_size=1), st.integers(0, 10**9 - 1))
def test_any_name_of_a_video_may_come_before_an_index(video: str, clip: int) -> None:
    assert ClipName.of(f"{video}#{clip}") == ClipName(video, clip, None)


@pytest.mark.parametrize("text", ["a.mp4", "#3", "a.mp4#-1", "a.mp4#x", "a.mp4@", "a.mp4@1e3", "", "a.mp4#99999999999"])
def test_other_texts_name_no_clip(text: str) -> None:
    with pytest.raises(UsageError, match="names no clip"):
        ClipName.of(text)


def test_clips_overlap_where_they_share_a_moment_of_one_video() -> None:
    clip = Clip("a", 0, 1.0, 2.0, "run", 0.5, 0.0)
    for start, end, shares in ((0.0, 1.0, False), (0.0, 1.1, True), (1.5, 1.6, True), (2.0, 3.0, False)):
        assert clip.overlaps(Clip("a", 1, start, end, "run", 0.5, 0.0)) is shares
        assert not clip.overlaps(Clip("b", 1, start, end, "run", 0.5, 0.0))


def test_directions_are_of_length_one_and_only_of_what_has_one() -> None:
    values = np.array([[3, 4], [0, 0], [0, 2], [np.inf, 1]], np.float16)
    bad = error_rows(schema_of(2), "a.mp4", kind="truncated", message="ends early")
    indexes, directions = unit_rows(pa.concat_tables([bad, video_rows("a.mp4", values)]))
    assert indexes.tolist() == [1, 3]
    assert np.allclose(directions, [[0.6, 0.8], [0, 1]])
    indexes, directions = unit_rows(bad)
    assert (len(indexes), directions.shape) == (0, (0, 2))


def test_a_clip_is_found_by_its_index_or_by_the_middle_next_to_a_time(tmp_path: Path) -> None:
    embeddings = np.array([[1, 0], [0, 1], [1, 1], [0, 0]], np.float16)
    videos = {
        "a.mp4": video_rows("a.mp4", embeddings, step=1.0, length=2.0),
        "b.mp4": video_rows("b.mp4", embeddings[::-1], step=1.0, length=2.0, label=1),
        "empty.mp4": bad_rows("empty.mp4", 2),
    }
    out = write_table(tmp_path / "preds", videos)
    with open_embeddings(str(out)) as table:
        clip, direction = find_clip(table, ClipName.of("b.mp4#2"))
        assert clip == Clip("b.mp4", 2, 2.0, 4.0, "jump", 0.5, 1.0)
        assert direction.tolist() == [0, 1]
        for seconds, index in ((0.2, 0), (1.4, 0), (1.6, 1), (2.4, 1), (2.9, 2)):
            assert find_clip(table, ClipName("a.mp4", None, seconds))[0].clip == index
        for text, message in (
            ("c.mp4#0", "the table has no video 'c.mp4'"),
            ("a.mp4#9", "'a.mp4' has no clip 9"),
            ("a.mp4@77", "'a.mp4' has no clip at 77 s"),
            ("a.mp4#3", "clip 3 of 'a.mp4' has no embedding"),
            ("empty.mp4@0", "'empty.mp4' has no clip at 0 s"),
        ):
            with pytest.raises(SourceError, match=message):
                find_clip(table, ClipName.of(text))


def test_a_table_without_embeddings_is_refused(tmp_path: Path) -> None:
    rows = video_rows("a.mp4", np.ones((2, 2))).drop_columns(["embedding"])
    out = write_table(tmp_path / "preds.parquet", {"a.mp4": rows.cast(schema_of(None))})
    with pytest.raises(SourceError, match=r"has no embeddings.*--embedding"):
        open_embeddings(str(out))
