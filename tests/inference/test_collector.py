"""Whatever order pieces come in, whichever are lost or come twice: a segment is whole, or it is not there."""

from __future__ import annotations

import random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidcnn.inference.collector import SegmentCollector, missing_clips, new_clips
from vidcnn.inference.scoring import SegmentRows
from vidcnn.predictions import error_rows, prediction_schema
from vidcnn.sources.keys import SegmentKey, VideoKey

SCHEMA = prediction_schema(num_classes_for_probabilities=None, embedding_size=None)
FIRST_CLIP = 40


def piece(attempt: str, clips: list[int], num_clips: int, *, segment: int = 0) -> SegmentRows:
    """Return rows that say which attempt they are from."""
    rows = error_rows(
        SCHEMA,
        "a.mp4",
        kind="timeout",
        message=attempt,
        clips=FIRST_CLIP + np.array(clips),
        start_seconds=np.zeros(len(clips)),
        end_seconds=np.ones(len(clips)),
    )
    return SegmentRows(SegmentKey(VideoKey("a.mp4", 1, 2), segment, 4), FIRST_CLIP, num_clips, attempt, rows)


def batches(clips: list[int], size: int) -> list[list[int]]:
    return [clips[start : start + size] for start in range(0, len(clips), size)]


@given(st.data())
def test_a_segment_is_committed_once_with_each_of_its_clips_from_one_attempt(data: st.DataObject) -> None:
    num_clips = data.draw(st.integers(1, 40))
    arriving, whole = [], set()
    for attempt in data.draw(st.lists(st.sampled_from("abcd"), min_size=1, unique=True)):
        order = data.draw(st.permutations(range(num_clips)))
        sent = batches(list(order), data.draw(st.integers(1, 16)))
        lost = data.draw(st.sets(st.integers(0, len(sent) - 1)))
        kept = [clips for number, clips in enumerate(sent) if number not in lost]
        kept += data.draw(st.lists(st.sampled_from(kept), max_size=3)) if kept else []
        arriving += [piece(attempt, clips, num_clips) for clips in kept]
        if not lost:
            whole.add(attempt)
    random.Random(data.draw(st.integers())).shuffle(arriving)

    collector = SegmentCollector()
    finished = [rows for one in arriving if (rows := collector.add(one)) is not None]
    assert bool(finished) == bool(whole)
    for rows in finished:
        assert rows["clip"].to_pylist() == list(range(FIRST_CLIP, FIRST_CLIP + num_clips))
        assert len(set(rows["error"].to_pylist())) == 1
        assert rows["error"][0].as_py() in whole


def test_a_segment_whose_decoder_died_after_its_first_batch_has_each_clip_once() -> None:
    clips = list(range(48))
    collector = SegmentCollector()
    assert collector.add(piece("first", clips[:16], 48)) is None  # the second batch is lost with its process
    assert collector.add(piece("first", clips[32:], 48)) is None
    assert collector.add(piece("again", clips[:16], 48)) is None  # it used to be taken for the lost one
    assert collector.add(piece("again", clips[16:32], 48)) is None
    rows = collector.add(piece("again", clips[32:], 48))
    assert rows is not None
    assert rows["clip"].to_pylist() == [FIRST_CLIP + clip for clip in clips]


def test_segments_do_not_mix() -> None:
    collector = SegmentCollector()
    assert collector.add(piece("a", [0], 2, segment=0)) is None
    assert collector.add(piece("a", [1], 2, segment=1)) is None
    assert collector.add(piece("a", [1], 2, segment=0)) is not None


def test_what_is_not_whole_can_be_forgotten() -> None:
    collector = SegmentCollector()
    collector.add(piece("a", [0], 2))
    collector.clear()
    assert collector.add(piece("a", [1], 2)) is None


def test_a_row_without_a_clip_is_the_whole_of_its_video() -> None:
    rows = error_rows(SCHEMA, "a.mp4", kind="unreadable", message="the file is empty")
    collected = SegmentCollector().add(SegmentRows(SegmentKey(VideoKey("a.mp4", 0, 0), 0, 1), 0, 1, "", rows))
    assert collected is not None
    assert collected.to_pylist() == rows.to_pylist()


def test_rows_of_clips_that_the_segment_does_not_have_are_refused() -> None:
    with pytest.raises(ValueError, match="has 2 clips"):
        SegmentCollector().add(piece("a", [2], 2))


@given(st.integers(1, 60), st.lists(st.lists(st.integers(0, 59), max_size=20), max_size=8))
def test_what_was_delivered_and_what_is_missing_are_all_there_is(num_clips: int, arriving: list[list[int]]) -> None:
    delivered, seen = 0, []
    for clips in arriving:
        inside = [clip for clip in clips if clip < num_clips]
        places, delivered = new_clips(delivered, inside)
        seen += [inside[place] for place in places]
    assert len(seen) == len(set(seen))
    assert sorted(seen + missing_clips(delivered, num_clips)) == list(range(num_clips))


def test_rows_keep_their_schema() -> None:
    rows = SegmentCollector().add(piece("a", [1, 0], 2))
    assert isinstance(rows, pa.Table)
    assert rows.schema.equals(SCHEMA)
