"""Videos that are the same, or nearly, repeat the first of them by name."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from vidcnn.scans.duplicates import Repeats, first_of_near, first_of_same, num_differing_bits

RANDOM = np.random.default_rng(7)


def random_prints(number: int) -> np.ndarray:
    return RANDOM.integers(0, 256, (number, 64), np.uint8)


def with_turned(one: np.ndarray, bits: set[int] | range) -> np.ndarray:
    other = one.copy()
    for bit in bits:
        other[bit // 8] ^= 1 << bit % 8
    return other


def rows(*videos: tuple[str, str | None, np.ndarray | None, float | None]) -> list[pa.Table]:
    """Return one table for each two videos: name, content, print and length."""
    found = [
        {
            "video": name,
            "content_hash": content,
            "perceptual_hash": None if one is None else one.tobytes(),
            "duration_seconds": length,
            "duplicate_of": None,
            "near_duplicate_of": "z",
        }
        for name, content, one, length in videos
    ]
    schema = pa.schema(
        [
            ("video", pa.string()),
            ("content_hash", pa.string()),
            ("perceptual_hash", pa.binary(64)),
            ("duration_seconds", pa.float64()),
            ("duplicate_of", pa.string()),
            ("near_duplicate_of", pa.string()),
        ]
    )
    return [pa.Table.from_pylist(found[start : start + 2], schema) for start in range(0, len(found), 2)]


def repeated(tables: list[pa.Table]) -> dict[str, tuple[str | None, str | None]]:
    """Return what each video repeats, by name, of those that repeat any."""
    repeats = Repeats(lambda columns: [table.select(columns) for table in tables])
    found = [row for table in tables for row in repeats(table).to_pylist()]
    pairs = {row["video"]: (row["duplicate_of"], row["near_duplicate_of"]) for row in found}
    return {name: pair for name, pair in pairs.items() if any(pair)}


def digest(number: int) -> str:
    return f"{number:064x}"[::-1]


def test_copies_repeat_the_first_and_others_of_its_looks_repeat_it_too() -> None:
    one, other = random_prints(2)
    tables = rows(
        ("a", digest(1), one, 10.0),
        ("b", digest(2), other, 10.0),
        ("c", digest(1), one, 10.0),
        ("d", digest(3), with_turned(one, range(10)), 10.1),
        ("e", digest(4), with_turned(one, range(10)), 20.0),
        ("f", None, None, None),
        ("g", None, None, None),
        ("h", digest(5), None, 3.0),
        ("i", digest(5), None, 3.0),
    )
    assert repeated(tables) == {"c": ("a", None), "d": (None, "a"), "i": ("h", None)}


def test_rows_are_found_by_name_in_whatever_pieces_they_come() -> None:
    one, other = random_prints(2)
    tables = rows(("a", digest(1), one, 1.0), ("b", digest(2), other, 1.0), ("c", digest(2), other, 1.0))
    repeats = Repeats(lambda columns: [table.select(columns) for table in tables])
    assert (repeats.num_same, repeats.num_near) == (1, 0)
    whole = pa.concat_tables([tables[1], rows(("d", digest(1), one, 1.0))[0], *tables])
    assert repeats(whole)["duplicate_of"].to_pylist() == ["b", None, None, None, "b"]
    assert repeats(whole).schema.equals(whole.schema)
    assert repeats(whole.slice(0, 0)).equals(whole.slice(0, 0))


def test_where_nothing_repeats_all_is_null() -> None:
    tables = rows(("a", digest(1), random_prints(1)[0], 1.0), ("b", None, None, None))
    assert repeated(tables) == {}
    assert repeated([]) == {}


def test_nearly_the_same_ends_at_the_bound_of_bits() -> None:
    (one,) = random_prints(1)
    for num_bits, is_same in ((51, True), (52, False)):
        pair = np.stack([one, with_turned(one, range(num_bits))])  # all in the first bytes, so that groups agree
        assert (first_of_near(pair, np.full(2, 5.0)).tolist() == [0, 0]) is is_same


def test_a_cluster_is_what_pairs_link_and_has_one_first() -> None:
    (one,) = random_prints(1)
    chain = [with_turned(one, range(40 * index)) for index in range(6)]
    order = [3, 1, 4, 0, 5, 2]
    prints = np.stack([*random_prints(3), *(chain[index] for index in order)])
    found = first_of_near(prints, np.full(len(prints), 5.0)).tolist()
    assert found == [0, 1, 2, 3, 3, 3, 3, 3, 3]


def test_those_that_differ_in_a_twentieth_are_found_among_many() -> None:
    prints = random_prints(4000)
    for index in range(0, 4000, 2):
        turned = RANDOM.choice(512, 26, replace=False)
        prints[index + 1] = with_turned(prints[index], set(turned.tolist()))
    found = first_of_near(prints, np.full(4000, 60.0))
    assert (found[::2] == np.arange(0, 4000, 2)).all()
    assert (found[1::2] == np.arange(0, 4000, 2)).mean() > 0.99


@given(st.lists(st.integers(0, 6), max_size=40))
def test_the_first_of_the_same_is_the_lowest_with_the_same_content(contents: list[int]) -> None:
    hashes = np.array([[content] * 16 for content in contents], np.uint8).reshape(-1, 16)
    expected = [index if content == 0 else contents.index(content) for index, content in enumerate(contents)]
    assert first_of_same(hashes).tolist() == expected


@given(st.sets(st.integers(0, 511)), st.sets(st.integers(0, 511)))
def test_the_distance_is_the_number_of_bits_that_were_turned(some: set[int], others: set[int]) -> None:
    one = np.arange(64, dtype=np.uint8)
    pairs = np.stack([with_turned(one, some), with_turned(one, others)])
    assert num_differing_bits(np.stack([one, one]), pairs).tolist() == [len(some), len(others)]
    assert num_differing_bits(pairs[:1], pairs[1:]).tolist() == [len(some ^ others)]


@given(st.lists(st.integers(0, 3), max_size=30), st.lists(st.floats(0, 100), min_size=30, max_size=30))
def test_clusters_lead_to_a_first_that_leads_to_itself(kinds: list[int], lengths: list[float]) -> None:
    base = np.random.default_rng(1).integers(0, 256, (4, 64), np.uint8)
    found = first_of_near(base[kinds].reshape(-1, 64), np.array(lengths[: len(kinds)]))
    assert (found <= np.arange(len(kinds))).all()
    assert (found[found] == found).all()
    assert all(kinds[index] == kinds[first] for index, first in enumerate(found.tolist()))


def test_among_thousands_that_agree_in_all_groups_the_next_in_length_is_found() -> None:
    """A camera that does not move: each recording is there twice, and its length alone tells it from the others."""
    lengths = 100 * 1.03 ** np.arange(300)
    both = np.concatenate([lengths, lengths * 1.001])
    prints = np.stack([random_prints(1)[0]] * 600)
    assert first_of_near(prints, both).tolist() == [*range(300), *range(300)]


def test_very_many_that_are_all_alike_are_one_cluster() -> None:
    (one,) = random_prints(1)
    prints = np.stack([one] * 70_000)
    assert not first_of_near(prints, np.full(len(prints), 60.0)).any()


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 12), st.integers(0, 3)), max_size=60))
def test_clusters_are_those_of_all_pairs(videos: list[tuple[int, int, int]]) -> None:
    """Some prints, in which up to three times 20 bits are turned, of some lengths: compared each with each."""
    base = np.random.default_rng(1).integers(0, 256, (6, 64), np.uint8)
    prints = np.stack([with_turned(base[kind], range(20 * turned)) for kind, _, turned in videos] or [base[0]])
    lengths = np.array([0.3 * length for _, length, _ in videos] or [0.0])
    first = list(range(len(prints)))
    for other in range(len(prints)):
        for one in range(other):
            is_near = abs(lengths[one] - lengths[other]) <= max(0.02 * lengths[[one, other]].max(), 0.5)
            if is_near and num_differing_bits(prints[[one]], prints[[other]])[0] <= 51:
                low, high = sorted((first[one], first[other]))
                first = [low if index == high else index for index in first]
    assert first_of_near(prints, lengths).tolist() == first
