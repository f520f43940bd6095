from __future__ import annotations

import random
from collections import Counter, defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidcnn.annotations import SplitSettings
from vidcnn.annotations.splitting import choose_validation

FRACTIONS = st.floats(0.01, 0.9)
SEEDS = st.integers(0, 5)
COUNTS = st.lists(st.integers(1, 40), min_size=1, max_size=5)
MIXED = st.lists(st.tuples(st.integers(0, 12), st.sets(st.integers(0, 4), min_size=1)), min_size=1, max_size=60)


def alone(counts: list[int]) -> tuple[list[str], list[tuple[int, ...]]]:
    """Return as many samples of each class as told, each a group of its own."""
    labels = [(label,) for label, count in enumerate(counts) for _ in range(count)]
    return [f"clip{index}" for index in range(len(labels))], labels


@given(COUNTS, FRACTIONS, SEEDS)
def test_each_class_has_its_share_in_both_splits(counts: list[int], fraction: float, seed: int) -> None:
    groups, labels = alone(counts)
    chosen = choose_validation(groups, labels, fraction=fraction, seed=seed)
    num_chosen = Counter(label for (label,), is_chosen in zip(labels, chosen, strict=True) if is_chosen)
    for label, count in enumerate(counts):
        if count == 1:
            assert num_chosen[label] == 0
        else:
            assert 1 <= num_chosen[label] <= count - 1
            assert abs(num_chosen[label] - fraction * count) <= 1


@given(MIXED, FRACTIONS, SEEDS, st.randoms())
def test_groups_stay_whole_in_any_order_and_leave_training_samples(
    samples: list[tuple[int, set[int]]], fraction: float, seed: int, order: random.Random
) -> None:
    groups = [str(group) for group, _ in samples]
    labels = [tuple(sorted(classes)) for _, classes in samples]
    chosen = choose_validation(groups, labels, fraction=fraction, seed=seed)
    sides: dict[str, set[bool]] = defaultdict(set)
    for group, is_chosen in zip(groups, chosen, strict=True):
        sides[group].add(is_chosen)
    assert all(len(side) == 1 for side in sides.values())
    trained = {label for classes, is_chosen in zip(labels, chosen, strict=True) if not is_chosen for label in classes}
    assert trained == {label for classes in labels for label in classes}
    shuffled = list(range(len(samples)))
    order.shuffle(shuffled)
    again = choose_validation(
        [groups[i] for i in shuffled], [labels[i] for i in shuffled], fraction=fraction, seed=seed
    )
    assert again == [chosen[i] for i in shuffled]


@given(st.lists(st.lists(st.integers(1, 9), min_size=2, max_size=8), min_size=1, max_size=4), FRACTIONS, SEEDS)
def test_each_class_of_two_groups_has_validation_samples(sizes: list[list[int]], fraction: float, seed: int) -> None:
    samples = [
        (f"{label}-{index}", (label,))
        for label, groups in enumerate(sizes)
        for index, size in enumerate(groups)
        for _ in range(size)
    ]
    chosen = choose_validation(*zip(*samples, strict=True), fraction=fraction, seed=seed)  # type: ignore[arg-type]
    for label, groups in enumerate(sizes):
        num_chosen = sum(is_chosen for (_, (own,)), is_chosen in zip(samples, chosen, strict=True) if own == label)
        assert 0 < num_chosen < sum(groups)
        # A group more or less would not be nearer, but for the one that there has to be.
        assert abs(num_chosen - fraction * sum(groups)) <= max(groups) + 1


@given(COUNTS, FRACTIONS, SEEDS, st.integers(0, 4))
def test_a_new_sample_moves_one_other_at_most(counts: list[int], fraction: float, seed: int, label: int) -> None:
    groups, labels = alone(counts)
    before = choose_validation(groups, labels, fraction=fraction, seed=seed)
    after = choose_validation([*groups, "new"], [*labels, (label % len(counts),)], fraction=fraction, seed=seed)
    assert sum(one != other for one, other in zip(before, after, strict=False)) <= 1


def test_a_group_that_is_far_too_large_stays_in_training() -> None:
    groups = [*["large"] * 80, *(f"small{number}" for number in range(40))]
    for seed in range(5):
        chosen = choose_validation(groups, [(0,)] * 120, fraction=0.2, seed=seed)
        assert (sum(chosen[:80]), sum(chosen[80:])) == (0, 24)


def test_the_seed_makes_the_difference() -> None:
    groups, labels = alone([50, 50])
    choices = [choose_validation(groups, labels, fraction=0.2, seed=seed) for seed in (0, 1)]
    assert choices[0] != choices[1]
    assert [sum(choice) for choice in choices] == [20, 20]


def test_the_choice_is_the_same_in_every_version() -> None:
    groups, labels = alone([10])
    chosen = choose_validation(groups, labels, fraction=0.3, seed=0)
    assert [group for group, is_chosen in zip(groups, chosen, strict=True) if is_chosen] == ["clip2", "clip4", "clip9"]


def test_a_fraction_of_nothing_chooses_nothing() -> None:
    assert choose_validation(["a", "b"], [(0,), (0,)], fraction=0, seed=0) == [False, False]


@pytest.mark.parametrize("fraction", [-0.1, 1, float("nan")])
def test_a_fraction_that_leaves_no_training_is_an_error(fraction: float) -> None:
    with pytest.raises(ValueError, match=r"val_fraction \(.*\) must be at least 0 and less than 1"):
        SplitSettings(val_fraction=fraction)


@pytest.mark.parametrize("condition", ["fold", "=1", "fold=", "fold=1,,2"])
def test_a_condition_has_a_column_and_values(condition: str) -> None:
    with pytest.raises(ValueError, match=r"must be column=value"):
        SplitSettings(val_where=(condition,))
