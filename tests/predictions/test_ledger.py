from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidcnn.predictions.ledger import (
    Entry,
    SegmentKey,
    VideoKey,
    covers,
    decode,
    digest,
    encode,
    entry_of,
    include,
    overlay,
    segment_indexes,
    video_text,
)
from vidcnn.sources.names import utf8_name


def entry(segments: int, *, count: int = 4, version: int = 0, file: str = "f") -> Entry:
    return Entry(1000, version, count, segments, 2 * segments.bit_count(), (file,))


names = (st.binary(min_size=1, max_size=8).map(os.fsdecode) | st.text("a\\xef5cC")).map(utf8_name)
entries = st.builds(
    lambda size, mtime, count, bits, rows: Entry(size, mtime, count, bits % (1 << count) or 1, rows, ("here",)),
    st.integers(0, 2**50),
    st.integers(-(2**62), 2**62),
    st.integers(1, 2000),
    st.integers(0, 2**2000),
    st.integers(1, 2**40),
)


@given(st.dictionaries(names.map(video_text), entries, max_size=8))
def test_a_ledger_is_read_as_it_was_written(ledger: dict[str, Entry]) -> None:
    assert decode(encode(ledger), file="here") == ledger


@pytest.mark.parametrize("text", ["", "%%%", "AAAA", "eJyrVkpUslKqBQAFKgGJ", encode({})[:-8]])
def test_a_damaged_ledger_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"ledger|base64|padding|Expecting"):
        decode(text, file="f")


def test_the_ledger_of_a_thousand_finished_videos_is_small() -> None:
    ledger = {
        f"camera-{i // 60}/2026-01-{i % 31:02}/clip_{i:06}.mp4": Entry(
            10**6 + i * 7919 % 10**6, 1_700_000_000_000_000_000 + i * 7_919_000_000_007, 1, 1, 20
        )
        for i in range(1000)
    }
    assert len(encode(ledger)) < 30_000


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


def test_files_that_hold_other_segments_of_a_video_add_up() -> None:
    ledger = {"a": entry(0b0011, file="one")}
    assert include(ledger, {"a": entry(0b1100, file="two"), "b": entry(1)}) == set()
    assert ledger["a"] == Entry(1000, 0, 4, 0b1111, 8, ("one", "two"))
    assert ledger["a"].is_complete
    assert "b" in ledger


@pytest.mark.parametrize("other", [entry(0b0110), entry(0b1000, version=1), entry(0b1000, count=5)])
def test_files_that_cannot_both_be_right_conflict(other: Entry) -> None:
    ledger = {"a": entry(0b0011, file="one")}
    assert include(ledger, {"a": other._replace(files=("two",))}) == {"a"}
    assert ledger["a"].files == ("one", "two")


def test_a_newer_ledger_takes_precedence_unless_both_can_be_right() -> None:
    older = {name: entry(0b0011, file="old") for name in "abcd"}
    newer = {"a": entry(0b0100), "b": entry(0b0010), "c": entry(0b0100, version=1)}
    joined = overlay(older, newer)
    assert {name: (held.segments, held.files) for name, held in joined.items()} == {
        "a": (0b0111, ("old", "f")),
        "b": (0b0010, ("f",)),
        "c": (0b0100, ("f",)),
        "d": (0b0011, ("old",)),
    }


def test_a_ledger_covers_what_it_holds_and_no_more() -> None:
    ledger = {"a": entry(0b0011), "b": entry(0b1111)}
    assert covers(ledger, {"a": entry(0b0010), "b": entry(0b1111)})
    assert not covers(ledger, {"a": entry(0b0110)})
    assert not covers(ledger, {"a": entry(0b0001, version=1)})
    assert not covers(ledger, {"a": entry(0b0001), "c": entry(1)})


@given(st.sets(st.integers(0, 300)))
def test_indexes_are_those_of_the_segments_put_in(indexes: set[int]) -> None:
    assert segment_indexes(sum(1 << index for index in indexes)) == indexes


def test_an_entry_is_of_one_version_only() -> None:
    video = VideoKey("a", 10, 20)
    held = entry_of(SegmentKey(video, 1, 3), num_rows=7)
    assert held == Entry(10, 20, 3, 0b010, 7)
    assert held.is_of(video)
    assert not held.is_of(VideoKey("a", 11, 20))
    assert not held.is_of(VideoKey("a", 10, 21))
    assert not held.is_complete


@pytest.mark.parametrize(("index", "count"), [(1, 1), (-1, 3), (0, 0)])
def test_a_segment_outside_its_plan_is_refused(index: int, count: int) -> None:
    with pytest.raises(ValueError, match="must be in"):
        SegmentKey(VideoKey("a", 1, 1), index, count)


def test_a_digest_depends_on_the_keys_of_the_segments_alone() -> None:
    ledger = {"a": entry(0b01), "b": entry(0b11)}
    reordered = {"b": entry(0b11, file="other")._replace(num_rows=99), "a": entry(0b01)}
    assert digest(ledger) == digest(reordered)
    others = [{**ledger, "a": entry(0b10)}, {**ledger, "a": entry(0b01, version=1)}, {"a": entry(0b01)}]
    assert len({digest(other) for other in [ledger, *others]}) == 4
