from __future__ import annotations

import base64
import json
import os
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzzing import damaged, refusing
from tests.limits import within
from tests.predictions.cases import old_ledger
from vidcnn.predictions.ledger import Entry, decode, digest, entry_of, include, overlay, segment_indexes
from vidcnn.sources.keys import SegmentKey, VideoKey, video_text
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
def test_a_ledger_of_an_earlier_version_is_read_as_it_was_written(ledger: dict[str, Entry]) -> None:
    assert decode(old_ledger(ledger), file="here") == ledger


@pytest.mark.parametrize("text", ["", "%%%", "AAAA", "eJyrVkpUslKqBQAFKgGJ", old_ledger({})[:-8]])
def test_a_damaged_ledger_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"ledger|base64|padding|Expecting"):
        decode(text, file="f")


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


@pytest.mark.parametrize(
    ("newer", "segments", "files"),
    [
        (entry(0b0100), 0b0111, ("old", "f")),
        (entry(0b0010), 0b0010, ("f",)),
        (entry(0b0100, version=1), 0b0100, ("f",)),
        (None, 0b0011, ("old",)),
    ],
)
def test_what_a_newer_file_holds_takes_precedence_unless_both_can_be_right(
    newer: Entry | None, segments: int, files: tuple[str, ...]
) -> None:
    joined = overlay(entry(0b0011, file="old"), newer)
    assert joined is not None
    assert (joined.segments, joined.files) == (segments, files)
    assert overlay(None, newer) == newer


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


def test_a_digest_depends_on_the_keys_of_the_segments_alone() -> None:
    ledger = {"a": entry(0b01), "b": entry(0b11)}
    reordered = {"b": entry(0b11, file="other")._replace(num_rows=99), "a": entry(0b01)}
    assert digest(ledger) == digest(reordered)
    others = [{**ledger, "a": entry(0b10)}, {**ledger, "a": entry(0b01, version=1)}, {"a": entry(0b01)}]
    assert len({digest(other) for other in [ledger, *others]}) == 4


def stored_as(columns: Any) -> str:
    return base64.b64encode(zlib.compress(json.dumps(columns).encode())).decode()


COLUMNS = {"video": ["a"], "size_bytes": [1], "mtime_ns": [1], "num_segments": [3], "segments": [None], "num_rows": [9]}


@pytest.mark.parametrize(
    "changes",
    [
        {"num_segments": [10**12]},
        {"num_segments": [0]},
        {"num_segments": [-1]},
        {"segments": [[[0, 10**12]]]},
        {"segments": [[[-5, 2]]]},
        {"segments": [[[2, 1]]]},
        {"segments": [[[0, 4]]]},
        {"segments": ["all"]},
        {"video": [["a"]]},
        {"num_rows": []},
    ],
)
def test_what_no_plan_can_be_is_no_ledger(changes: dict[str, Any]) -> None:
    assert decode(stored_as(COLUMNS), file="f")["a"].segments == 0b111
    with within(20), pytest.raises(ValueError, match=r"plan|ledger|unpack|zip"):
        decode(stored_as(COLUMNS | changes), file="f")


def test_what_is_nested_without_end_or_cut_off_is_no_ledger() -> None:
    deep = base64.b64encode(zlib.compress(b"[" * 100_000)).decode()
    for text in (deep, base64.b64encode(zlib.compress(b"{}")[:-1]).decode(), stored_as([1]), stored_as(3)):
        with pytest.raises(ValueError, match="not a ledger"):
            decode(text, file="f")


@pytest.mark.fuzz
@given(damaged(json.dumps(COLUMNS).encode(), json.dumps(COLUMNS | {"segments": [[[0, 1], [2, 3]]]}).encode()))
def test_damaged_columns_are_a_ledger_or_refused(content: bytes) -> None:
    for text in (content, base64.b64encode(zlib.compress(content))):
        with within(20), refusing(ValueError):
            assert isinstance(decode(text, file="f"), dict)
