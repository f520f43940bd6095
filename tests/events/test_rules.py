from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vidcnn.errors import DataError
from vidcnn.events.intervals import Rules
from vidcnn.events.rules import RuleSet, make_rules, read_rules

BASE = Rules(0.8, 0.4, 1.0, 2.0, 3.0)


def read(folder: Path, content: Any) -> RuleSet:
    path = folder / "rules.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return read_rules(path, BASE)


def test_a_class_takes_what_it_does_not_say_from_the_file_and_the_file_from_the_options(tmp_path: Path) -> None:
    found = read(tmp_path, {"gap_seconds": 5, "labels": {"fight": {"threshold": 0.5, "min_seconds": 0.5}}})
    assert found.of("run") == Rules(0.8, 0.4, 1.0, 5.0, 3.0)
    assert found.of("fight") == Rules(0.5, 0.3, 1.0, 5.0, 0.5)


def test_a_threshold_brings_its_end_along_unless_that_is_said() -> None:
    assert make_rules({"threshold": 0.5}).end_threshold == pytest.approx(0.3)
    assert make_rules({"threshold": 0.5, "end_threshold": 0.5}).end_threshold == 0.5
    assert make_rules({}) == Rules()


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    rules = RuleSet(BASE, {"a\u202eb": Rules(0.9, 0.1), "c": BASE})
    text = rules.text()
    assert "\u202e" not in text
    found = read(tmp_path, text)
    assert (found.common, found.by_label) == (rules.common, rules.by_label)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "no rules of events"),
        ("[]", "no object of rules"),
        ({"labels": []}, "no object of rules"),
        ({"labels": {"a": 1}}, "what it says of a is no object"),
        ({"treshold": 1}, "the file has 'treshold'"),
        ({"labels": {"a": {"threshold": True}}}, "threshold of a is no number"),
        ({"threshold": 2}, "thresholds are above 0"),
        ('{"gap_seconds": Infinity}', "lengths of time"),
        ("[" * 100_000, "no rules of events"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, content: Any, reason: str) -> None:
    with pytest.raises(DataError, match=reason) as caught:
        read(tmp_path, content)
    assert "it takes" in (caught.value.hint or "")


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read: no such file"):
        read_rules(tmp_path / "none.json", BASE)
