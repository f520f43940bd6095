from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidcnn.events.intervals import Event, Rules, find_events

TICKS = st.integers(0, 40)
SCORES = st.sampled_from([0.0, 0.1, 0.25, 0.4, 0.5, 0.6, 0.75, 0.9, 1.0])
CLIPS = st.lists(st.tuples(TICKS, st.integers(1, 8), SCORES), max_size=14)
RULES = st.builds(
    lambda low, more, gap, least, smooth: Rules(low, low, smooth, gap, least) if not more else Rules(
        min(1.0, low + more), low, smooth, gap, least
    ),
    st.sampled_from([0.1, 0.25, 0.5, 0.6]), st.sampled_from([0.0, 0.15, 0.3]),
    st.sampled_from([0.0, 0.5, 1.0, 2.0]), st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from([0.0, 0.0, 1.0, 3.0]),
)  # fmt: skip


def spans(events: list[Event]) -> list[tuple[float, float]]:
    return [(event.start_seconds, event.end_seconds) for event in events]


def find(scores: list[float], rules: Rules) -> list[tuple[float, float]]:
    """Events of clips of a second, back to back."""
    return spans(find_events(range(len(scores)), range(1, len(scores) + 1), scores, rules))


def by_hand(clips: list[tuple[int, int, float]], rules: Rules) -> list[tuple[float, float]]:
    """The same by going through half seconds, in fractions."""
    half = Fraction(1, 2)
    fine = [(start * half, (start + length) * half, Fraction(score)) for start, length, score in clips]
    if rules.smooth_seconds:
        reach = Fraction(rules.smooth_seconds) / 2
        middles = [(start + end) / 2 for start, end, _ in fine]
        fine = [
            (start, end, mean([fine[j][2] for j, other in enumerate(middles) if abs(other - middle) <= reach]))
            for (start, end, _), middle in zip(fine, middles, strict=True)
        ]
    score: dict[int, Fraction] = {}
    for tick in range(50):
        covering = [value for start, end, value in fine if start <= tick * half < end]
        if covering:
            score[tick] = mean(covering)
    runs: list[list[int]] = []
    for tick in sorted(score):
        if score[tick] >= Fraction(rules.end_threshold) - Fraction(1, 10**9):
            if runs and runs[-1][-1] == tick - 1:
                runs[-1].append(tick)
            else:
                runs.append([tick])
    runs = [run for run in runs if max(score[tick] for tick in run) >= Fraction(rules.threshold) - Fraction(1, 10**9)]
    joined: list[tuple[Fraction, Fraction]] = []
    for run in runs:
        start, end = run[0] * half, (run[-1] + 1) * half
        if joined and start - joined[-1][1] <= rules.gap_seconds:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return [(float(start), float(end)) for start, end in joined if end - start >= rules.min_seconds]


def mean(values: list[Fraction]) -> Fraction:
    return sum(values, Fraction(0)) / len(values)


@given(CLIPS, RULES)
def test_events_are_those_that_are_found_by_hand(clips: list[tuple[int, int, float]], rules: Rules) -> None:
    starts = [start / 2 for start, _, _ in clips]
    ends = [(start + length) / 2 for start, length, _ in clips]
    events = find_events(starts, ends, [score for _, _, score in clips], rules)
    assert spans(events) == by_hand(clips, rules)
    for event in events:
        assert rules.threshold - 1e-9 <= event.peak <= 1
        assert 0 <= event.score <= event.peak + 1e-12
        assert event.start_seconds < event.peak_seconds < event.end_seconds
    assert all(first.end_seconds < second.start_seconds for first, second in pairwise(events))


@given(CLIPS, RULES, st.randoms(use_true_random=False))
def test_the_order_of_clips_does_not_matter(clips: list[tuple[int, int, float]], rules: Rules, random: object) -> None:
    def found(clips: list[tuple[int, int, float]]) -> list[Event]:
        return find_events(
            [start for start, _, _ in clips], [start + length for start, length, _ in clips],
            [score for _, _, score in clips], rules,
        )  # fmt: skip

    shuffled = [*clips]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert found(shuffled) == found(clips)


def test_an_event_begins_with_the_high_threshold_and_lasts_to_the_low_one() -> None:
    scores = [0.1, 0.5, 0.9, 0.6, 0.4, 0.6, 0.1]
    assert find(scores, Rules(0.8, 0.5)) == [(1, 4)]
    assert find(scores, Rules(0.5, 0.5)) == [(1, 4), (5, 6)]
    assert find(scores, Rules(0.5, 0.5, gap_seconds=1)) == [(1, 6)]
    assert find(scores, Rules(0.5, 0.5, min_seconds=2)) == [(1, 4)]
    assert find([0.2, 0.8, 0.2], Rules(0.8, 0.8)) == [(1, 2)]


def test_what_no_clip_covers_ends_an_event_unless_the_gap_is_bridged() -> None:
    starts, ends, scores = [0, 1, 5], [1, 2, 6], [0.9, 0.9, 0.9]
    assert spans(find_events(starts, ends, scores, Rules())) == [(0, 2), (5, 6)]
    (event,) = find_events(starts, ends, scores, Rules(gap_seconds=3))
    assert (event.start_seconds, event.end_seconds) == (0, 6)
    assert event.score == pytest.approx(0.9)


def test_no_clips_have_no_events() -> None:
    assert find_events([], [], [], Rules(smooth_seconds=2)) == []


@pytest.mark.parametrize(
    "values",
    [
        {"end_threshold": 0.6},
        {"threshold": 1.1},
        {"end_threshold": 0.0},
        {"threshold": float("nan")},
        {"gap_seconds": -1},
        {"min_seconds": float("inf")},
    ],
)
def test_rules_that_cannot_be_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"thresholds are|lengths of time"):
        Rules(**values)
