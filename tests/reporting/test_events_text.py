from __future__ import annotations

import json

import pytest

from tests.nasty_names import is_harmless
from vidcnn.events.evaluation import Found, Known, evaluate
from vidcnn.events.intervals import Event, Rules
from vidcnn.events.table import Placed
from vidcnn.events.tally import LabelTally, Tally
from vidcnn.events.tuning import Tuned
from vidcnn.reporting.events_text import (
    Written,
    agreement_json,
    agreement_text,
    events_json,
    events_text,
    tuned_json,
    tuned_text,
)

NASTY = "\x1b[31m" + "long" * 20
TALLY = Tally(
    num_videos=1200,
    num_with_events=2,
    num_errors=3,
    labels={f"{number} {NASTY}": LabelTally(1000, 2, 7200.0) for number in range(30)},
    first=[Placed(NASTY, NASTY, Event(3599.96, 7200.0, 0.5, 0.9, 4000.0))],
)


def test_what_was_found_fits_the_screen_and_says_what_is_not_shown() -> None:
    text = events_text("p.parquet", TALLY, None)
    assert is_harmless(text)
    assert text.startswith("p.parquet: 30,000 events in 2 of 1,200 videos, 2 d 12 h\n  3 rows of errors")
    assert "and 10 more labels" in text
    assert "   1:00:00.0 -  2:00:00.0   50%  " in text
    assert text.endswith("and 29,999 more events: --out events.parquet, .csv or .json writes all of them")
    assert max(len(line) for line in text.splitlines() if "long" * 20 not in line) <= 80
    assert events_text("p", Tally(), Written("x", 7)).endswith("written: x (7 files)")
    found = json.loads(json.dumps(events_json("p.parquet", TALLY, None)))
    assert (found["events"], len(found["found"]), found["found"][0]["start_seconds"]) == (30_000, 1, 3599.96)
    assert "found" not in events_json("p.parquet", TALLY, Written("x", 1))


def test_the_rules_that_were_chosen_fit_the_screen() -> None:
    tuned = {NASTY: Tuned(Rules(0.5, 0.25, 2.0, 4.125, 0.0), 1234, 0.987, 0.5), "b": Tuned(Rules(), 1, 1.0, None)}
    text = tuned_text(tuned, "rules.json")
    assert is_harmless(text)
    assert max(map(len, text.splitlines())) <= 80
    assert "1,234  0.50  0.25     2 s  4.12 s  0 s  0.99    0.50" in text
    assert tuned_json(tuned, "rules.json")["labels"]["b"]["f1_elsewhere"] is None


def test_agreement_names_each_class_and_what_does_not_count() -> None:
    known = [Known("a", "run", 0, 10), Known("a", NASTY, 0, 1)]
    found = [Found("a", "run", 0, 8, 0.9), Found("a", "fly", 0, 8, 0.9)]
    reached = evaluate(known, found)
    text = agreement_text(reached, known, found, num_left_out=2)
    assert is_harmless(text)
    assert max(map(len, text.splitlines())) <= 80
    assert next(line for line in text.splitlines() if line.startswith("mean")).split() == [
        "mean", "2", "2", "0.500", "0.500", "0.000", "0.350",
    ]  # fmt: skip
    assert "1 label of found events is not known: fly" in text
    assert "2 events of videos that the known ones do not name are left out;" in text
    assert agreement_json(reached, known, found)["mean_map"] == pytest.approx(0.35)
