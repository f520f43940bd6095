from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidcnn.events.evaluation import THRESHOLDS, Found, Known, evaluate, interpolated, overlaps

VIDEOS = st.sampled_from(["a", "b", "c"])
LABELS = st.sampled_from(["run", "jump"])
TIMES = st.integers(0, 20)
KNOWN = st.builds(
    lambda video, label, start, length: Known(video, label, float(start), float(start + length)),
    VIDEOS,
    LABELS,
    TIMES,
    st.integers(1, 8),
)
FOUND = st.builds(
    lambda known, score, shift: Found(
        known.video, known.label, known.start_seconds + shift, known.end_seconds + shift, score
    ),
    KNOWN, st.integers(0, 1000).map(lambda n: n / 1000), st.sampled_from([0.0, 0.5, 1.0]),
)  # fmt: skip


OF_THE_CHALLENGE = {
    1: [0.561111, 0.561111, 0.5, 0.5, 0.5, 0.414815, 0.383333, 0.216667, 0.175, 0.05],
    2: [0.64754, 0.64754, 0.64754, 0.64754, 0.596614, 0.592169, 0.113492, 0.037302, 0.027778, 0.0],
    3: [0.490741, 0.490741, 0.490741, 0.490741, 0.314815, 0.314815, 0.314815, 0.185185, 0.162037, 0.0],
    4: [0.527778, 0.486111, 0.486111, 0.486111, 0.486111, 0.486111, 0.486111, 0.402778, 0.041667, 0.041667],
    5: [0.517778, 0.443704, 0.388148, 0.388148, 0.388148, 0.275926, 0.275926, 0.275926, 0.192593, 0.018519],
}
"""What ActivityNet's own program (Evaluation/eval_detection.py) gives for `made` events, by seed."""


def made(seed: int) -> tuple[list[Known], list[Found]]:
    """Events of six videos, and others that are about there."""
    choose = random.Random(seed)
    known, found = [], []
    for video in range(6):
        for _ in range(choose.randrange(5)):
            start, length = choose.uniform(0, 100), choose.uniform(1, 20)
            label = choose.choice("abc")
            known.append(Known(f"v{video}", label, start, start + length))
            for _ in range(choose.randrange(3)):
                moved = choose.uniform(-0.3, 0.3) * length
                end = start + length + moved * choose.uniform(-1, 1)
                found.append(Found(f"v{video}", label, start + moved, end, choose.random()))
        for _ in range(choose.randrange(3)):
            start = choose.uniform(0, 100)
            label = choose.choice("abc")
            found.append(Found(f"v{video}", label, start, start + choose.uniform(1, 20), choose.random()))
    return known, found


@pytest.mark.parametrize("seed", OF_THE_CHALLENGE)
def test_it_is_what_the_program_of_the_challenge_gives(seed: int) -> None:
    reached = evaluate(*made(seed))
    assert list(reached.at.values()) == pytest.approx(OF_THE_CHALLENGE[seed], abs=1e-6)


def as_published(known: list[Known], found: list[Found], threshold: float) -> float:
    """Average precision of a class as the challenge's rules say it, event by event and number by number."""
    ordered = sorted(found, key=lambda event: -event.score)
    taken: set[int] = set()
    outcomes = []
    for event in ordered:
        shares = []
        for number, other in enumerate(known):
            if other.video == event.video:
                inter = max(
                    0.0, min(event.end_seconds, other.end_seconds) - max(event.start_seconds, other.start_seconds)
                )
                union = (event.end_seconds - event.start_seconds) + (other.end_seconds - other.start_seconds) - inter
                shares.append((-inter / union, number))
        outcome = False
        for share, number in sorted(shares):
            if -share < threshold:
                break
            if number not in taken:
                taken.add(number)
                outcome = True
                break
        outcomes.append(outcome)
    area, recall = 0.0, 0.0
    precisions = [sum(outcomes[: n + 1]) / (n + 1) for n in range(len(outcomes))]
    recalls = [sum(outcomes[: n + 1]) / len(known) for n in range(len(outcomes))]
    for n, reached in enumerate(recalls):
        if reached != recall:
            area += (reached - recall) * max(precisions[n:])
            recall = reached
    return area


@given(st.lists(KNOWN, min_size=1, max_size=8), st.lists(FOUND, max_size=12, unique_by=lambda event: event.score))
def test_it_is_the_measure_of_the_challenge(known: list[Known], found: list[Found]) -> None:
    reached = evaluate(known, found)
    assert reached.labels == tuple(sorted({event.label for event in known}))
    for label, row in zip(reached.labels, reached.precision, strict=True):
        mine, theirs = ([e for e in events if e.label == label] for events in (known, found))
        wanted = [as_published(mine, theirs, threshold) for threshold in THRESHOLDS]  # type: ignore[arg-type]
        assert row == pytest.approx(wanted, abs=1e-12)
    assert reached.mean == pytest.approx(np.mean(list(reached.at.values())))


def test_a_perfect_answer_and_an_empty_one() -> None:
    known = [Known("a", "run", 0, 5), Known("a", "run", 8, 9), Known("b", "jump", 1, 2)]
    perfect = [Found(e.video, e.label, e.start_seconds, e.end_seconds, 0.5) for e in known]
    assert evaluate(known, perfect).mean == 1
    assert evaluate(known, []).mean == 0
    assert evaluate(known, [*perfect, Found("c", "fly", 0, 1, 1.0)]).mean == 1  # a class that nobody knows
    with pytest.raises(ValueError, match="no event is known"):
        evaluate([], perfect)


def test_numbers_that_were_worked_out_by_hand() -> None:
    known = [Known("a", "run", 0, 10), Known("a", "run", 20, 30)]
    found = [Found("a", "run", 0, 8, 0.9), Found("b", "run", 0, 10, 0.8), Found("a", "run", 21, 30, 0.7)]
    reached = evaluate(known, found, (0.5, 0.85, 0.95))
    # At 0.5 the first and third are right: 1/2 + 1/2 * 2/3; at 0.85 the third alone, which overlaps by 0.9.
    assert reached.precision[0] == pytest.approx([5 / 6, 1 / 6, 0])


def test_of_two_answers_for_one_event_the_second_is_wrong() -> None:
    known = [Known("a", "run", 0, 10), Known("a", "run", 50, 60)]
    found = [Found("a", "run", 0, 10, 0.9), Found("a", "run", 0, 10, 0.8), Found("a", "run", 50, 60, 0.7)]
    assert evaluate(known, found, (0.5,)).precision[0, 0] == pytest.approx(0.5 + 0.5 * 2 / 3)


def test_overlap_is_intersection_over_union() -> None:
    shares = overlaps(0.0, 4.0, np.array([2.0, 4.0, 0.0, 1.0]), np.array([6.0, 8.0, 4.0, 2.0]))
    assert shares == pytest.approx([1 / 3, 0, 1, 1 / 4])


def test_precision_is_made_to_fall() -> None:
    assert interpolated(np.array([0.0, 0.5]), np.array([0.0, 0.5])) == pytest.approx(0.25)
    assert interpolated(np.array([]), np.array([])) == 0
