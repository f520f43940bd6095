from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidcnn.errors import OutputError
from vidcnn.predictions import index as indexes
from vidcnn.predictions import section
from vidcnn.predictions.index import Held, Index, hashes
from vidcnn.predictions.ledger import Entry, Ledger, include

NAMES = "abcdef"
entries = st.builds(
    lambda count, bits, version: Entry(1000, version, count, bits % (1 << count) or 1, 0),
    st.integers(1, 3),
    st.integers(0, 7),
    st.integers(0, 1),
)
files = st.lists(st.dictionaries(st.sampled_from(NAMES), entries), min_size=1, max_size=4)


def held(file: str, ledger: Ledger) -> Held:
    stored = [section.stored(name, ledger[name]) for name in sorted(ledger)]
    return Held.of(file, section.in_tables(stored), len(stored))


def in_files(found: list[Ledger]) -> dict[str, Ledger]:
    return {
        f"f{number}": {name: entry._replace(files=(f"f{number}",)) for name, entry in ledger.items()}
        for number, ledger in enumerate(found)
    }


def index_of(found: dict[str, Ledger]) -> tuple[Index, set[str]]:
    def names(file: str, keys: np.ndarray) -> Ledger:
        return {name: entry for name, entry in found[file].items() if hashes([name])[0] in keys}

    return Index.of([held(file, ledger) for file, ledger in found.items()], names)


@settings(max_examples=300, deadline=None)
@given(files)
def test_files_together_are_what_a_dictionary_of_them_is(found: list[Ledger]) -> None:
    expected: Ledger = {}
    conflicts = set()
    for ledger in in_files(found).values():
        conflicts |= include(expected, ledger)
    index, seen = index_of(in_files(found))
    assert seen == conflicts
    assert len(index) == len(expected)
    for name in NAMES:
        if name not in expected:
            assert index.find(name, 1000, 0) is None
        elif name not in conflicts:
            entry = index.find(name, 1000, expected[name].mtime_ns)
            assert entry is not None
            assert entry[:4] == expected[name][:4]
            assert sorted(entry.files) == sorted(expected[name].files)
        else:
            entry = index.find(name, 0, 0)
            assert entry is not None
            assert set(entry.files) == set(expected[name].files)


@settings(max_examples=100, deadline=None)
@given(files, st.dictionaries(st.sampled_from(NAMES), entries))
def test_an_index_covers_what_it_holds_and_no_more(found: list[Ledger], part: Ledger) -> None:
    index, _ = index_of(in_files(found))
    expected = all(
        (entry := index.find(name, wanted.size_bytes, wanted.mtime_ns)) is not None
        and entry.is_same_plan(wanted)
        and not wanted.segments & ~entry.segments
        for name, wanted in part.items()
    )
    assert index.covers(held("p", part)) == expected


def test_what_is_put_in_is_found_however_it_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexes, "COMPACT_VIDEOS", 10)
    choose = random.Random(0)
    index = Index()
    expected: Ledger = {}
    for step in range(2000):
        name = f"video-{choose.randrange(300)}"
        entry = expected.get(name)
        if entry is None or choose.random() < 0.5:
            if entry is not None:
                index.discard(name, entry)
            count = choose.choice((1, 1, 1, 2))
            entry = Entry(step, choose.randrange(5), count, 1, 0, (f"f{step % 7}",))
            index.put(name, entry)
            expected[name] = entry
        else:
            index.discard(name, entry)
            del expected[name]
        if step % 100 == 0:
            for name in (f"video-{number}" for number in range(300)):
                held = expected.get(name)
                wanted = (held.size_bytes, held.mtime_ns) if held else (0, 0)
                assert index.find(name, *wanted) == held
        assert len(index) == len(expected)


def test_of_two_names_with_one_hash_each_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexes, "hash", lambda name: len(name), raising=False)
    one = {name: Entry(number, 5, 1, 1, 0) for number, name in enumerate(("aa", "bb", "c"))}
    index, conflicts = index_of(in_files([one, {"dd": Entry(9, 5, 1, 1, 0), "ee": Entry(9, 5, 2, 1, 0)}]))
    assert not conflicts
    assert len(index) == 5
    assert index.find("aa", 0, 5) == Entry(0, 5, 1, 1, 0, ("f0",))
    assert index.find("bb", 1, 5) == Entry(1, 5, 1, 1, 0, ("f0",))
    assert index.find("dd", 9, 5) == Entry(9, 5, 1, 1, 0, ("f1",))
    alone, _ = index_of(in_files([one]))
    assert alone.find("aa", 0, 5) == Entry(0, 5, 1, 1, 0, ("f0",))
    assert alone.find("bb", 1, 5) == Entry(1, 5, 1, 1, 0, ("f0",))


def test_a_video_takes_some_forty_bytes() -> None:
    number = 200_000
    keys = np.random.default_rng(0).integers(0, 2**63, number).astype(np.uint64)
    columns = tuple(np.ones(number, np.int64) for _ in range(3))
    index, _ = Index.of([Held("f", keys, columns)], lambda file, keys: {})
    (run,) = index._runs
    size = sum(array.nbytes for array in (run.keys, *run.columns, run.where)) + run._starts.nbytes
    assert size / number < 48


def test_nothing_is_made_for_what_a_ledger_claims_and_is_not() -> None:
    def damaged() -> Iterator[pa.Table]:
        raise OutputError("its ledger has 1 videos and should have more")
        yield

    with pytest.raises(OutputError, match="should have more"):
        Held.of("a", damaged(), 10**15)
    assert len(Held.of("a", section.in_tables([]), 0).keys) == 0
