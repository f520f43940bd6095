from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.events.cases import CLIP_SECONDS, STEP_SECONDS, write_table
from vidcnn.errors import DataError
from vidcnn.events.evaluation import Known
from vidcnn.events.intervals import Rules
from vidcnn.events.known import Truth
from vidcnn.events.tuning import Counts, Track, count, tune, tune_all
from vidcnn.predictions.table import Table

NUM_CLIPS = 60


def track(seed: int, events: list[tuple[float, float]], high: float = 0.38, noise: float = 0.12) -> Track:
    """A class that has low scores where it happens, and noise all over."""
    rng = np.random.default_rng(seed)
    starts = np.arange(NUM_CLIPS) * STEP_SECONDS
    middles = starts + CLIP_SECONDS / 2
    is_in = np.any([(start <= middles) & (middles < end) for start, end in events], axis=0) if events else False
    scores = np.clip(np.where(is_in, high, 0.1) + rng.normal(0, noise, NUM_CLIPS), 0, 1)
    known = np.array(events, np.float64).reshape(-1, 2)
    return Track(starts, starts + CLIP_SECONDS, scores, known[:, 0], known[:, 1])


TRACKS = [track(seed, [(10.0, 20.0), (35.0, 45.0)] if seed % 3 else []) for seed in range(12)]


def total(rules: Rules) -> Counts:
    return Counts(*np.array([count(one, rules) for one in TRACKS]).sum(axis=0).tolist())


def test_the_rules_that_are_chosen_are_better_than_the_usual_ones_also_elsewhere() -> None:
    tuned = tune(TRACKS, Rules())
    assert total(Rules()).f1 < 0.7
    assert tuned.f1 == total(tuned.rules).f1 > 0.9
    assert tuned.f1_elsewhere is not None
    assert 0.8 < tuned.f1_elsewhere <= tuned.f1
    assert tuned.num_known == 16


def test_where_scores_tell_nothing_other_videos_show_it() -> None:
    rng = np.random.default_rng(0)
    empty = [track(seed, [(float(rng.integers(0, 50)), 55.0)], high=0.1) for seed in range(12)]
    tuned = tune(empty, Rules())
    assert tuned.f1_elsewhere is not None
    assert tuned.f1_elsewhere < tuned.f1


def test_what_is_perfect_stays_as_it_is_and_one_video_has_no_others() -> None:
    tuned = tune([track(0, [(10.0, 20.0)], high=0.95, noise=0.0)], Rules())
    assert (tuned.rules, tuned.f1, tuned.f1_elsewhere) == (Rules(), 1.0, None)


def test_events_are_counted() -> None:
    starts = np.arange(6.0)
    known = np.array([0.0, 4.0]), np.array([2.0, 5.0])
    one = Track(starts, starts + 1, np.array([0.9, 0.9, 0.0, 0.9, 0.0, 0.9]), *known)
    assert count(one, Rules()) == Counts(1, 3, 2)
    assert count(one, Rules(gap_seconds=9)) == Counts(0, 1, 2)  # it overlaps the first by a third
    assert Counts(1, 3, 2).f1 == pytest.approx(0.4)
    assert Counts().f1 == 1


def test_each_class_of_a_table_is_tuned_on_the_videos_that_are_known(tmp_path: Path) -> None:
    good, other = [0.1] * 10 + [0.45] * 10 + [0.1] * 10, [0.45] * 30
    out = write_table(tmp_path / "preds", {"x/a.mp4": good, "x/b.mp4": good, "x/c.mp4": None, "other.mp4": other})
    events = tuple(Known(name, "fight", 10.5, 20.5) for name in ("a", "b", "c"))
    truth = Truth(events, frozenset({"a", "b", "c"}))
    tuned = tune_all(Table.open(str(out)), truth)
    assert list(tuned) == ["fight"]
    assert (tuned["fight"].f1, tuned["fight"].num_known) == (1.0, 2)
    assert tuned["fight"].rules.threshold < 0.45
    for bad in (Truth(events, frozenset({"q"})), Truth((), frozenset({"a"}))):
        with pytest.raises(DataError, match="no event"):
            tune_all(Table.open(str(out)), bad)
