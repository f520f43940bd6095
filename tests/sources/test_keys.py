"""Names and numbers by which a segment is known."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidcnn.sources.keys import SegmentKey, VideoKey, video_text
from vidcnn.sources.names import utf8_name

names = (st.binary(min_size=1, max_size=8).map(os.fsdecode) | st.text("a\\xef5cC")).map(utf8_name)


@given(names, names)
def test_different_names_stay_different_as_text(one: str, other: str) -> None:
    assert (video_text(one) == video_text(other)) == (one == other)
    video_text(one).encode()


def test_an_ordinary_name_is_its_own_text() -> None:
    for name in ("a.mp4", "Müller/été 1.mp4", r"C:\videos\x.mp4", r"\x41", "日本.mp4"):
        assert video_text(name) == name


def test_a_name_that_was_escaped_where_it_was_found_is_not_escaped_again() -> None:
    for raw in (b"caf\xe9.mp4", rb"caf\xe9.mp4", b"a\\b\xff"):
        written = utf8_name(os.fsdecode(raw))
        assert video_text(written) == written


@pytest.mark.parametrize(("index", "count"), [(-1, 3), (3, 3), (0, 0)])
def test_a_segment_is_one_of_its_plan(index: int, count: int) -> None:
    with pytest.raises(ValueError, match=r"segment index .* must be in"):
        SegmentKey(VideoKey("a.mp4", 1, 2), index, count)
