from __future__ import annotations

from typing import Any

import pytest
from pydantic import Field, PositiveInt, ValidationError

from vidcnn.config.base import (
    Fraction,
    FrameRate,
    Spec,
    as_text,
    exclusive,
    option,
    option_name,
    override_sampling,
    read_spec,
    written_name,
)
from vidcnn.errors import UsageError
from vidcnn.sampling.segments import Sampling


class Example(Spec):
    first: int | None = option(None, "One.", panel="Main", metavar="N", ge=1)
    second: int | None = option(None, "Other.", panel="Main")


def test_a_spec_refuses_names_that_it_does_not_know_and_does_not_change() -> None:
    with pytest.raises(ValidationError, match="third"):
        Example(third=1)  # type: ignore[call-arg]
    with pytest.raises(ValidationError, match="frozen"):
        Example().first = 1  # type: ignore[misc]


def test_a_field_says_how_it_is_shown_and_keeps_its_bounds() -> None:
    field = Example.model_fields["first"]
    assert (field.description, field.json_schema_extra) == ("One.", {"panel": "Main", "metavar": "N"})
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        Example(first=0)


def test_an_option_is_named_as_its_field_is() -> None:
    assert option_name("max_error_fraction") == "--max-error-fraction"
    assert (option_name("from_"), written_name("from_")) == ("--from", "from")


@pytest.mark.parametrize(
    ("value", "text"), [(112, "112"), (0.5, "0.5"), ([20, 30], "20,30"), (None, None), (True, True), ("8:9", "8:9")]
)
def test_numbers_and_lists_of_yaml_are_read_as_text(value: Any, text: Any) -> None:
    assert as_text(value) == text
    assert type(as_text(value)) is type(text)


class Bounded(Spec):
    count: PositiveInt | None = None
    rate: FrameRate | None = None
    share: Fraction = 0
    below_one: float = Field(0, ge=0, lt=1)
    low: int = Field(4, ge=4)
    high: int = Field(4, lt=5)


@pytest.mark.parametrize(
    ("field", "good", "bad", "words"),
    [
        ("count", [None, 1, 10**9], [0, -1], "must be > 0"),
        ("rate", [None, 0.001, 29.97, 1000], [0, -1, 1001], "must be in [0.001, 1000]"),
        ("rate", [], [float("nan"), float("inf")], "must be a finite number"),
        ("share", [0, 0.5, 1], [-0.01, 1.01], "must be in [0, 1]"),
        ("below_one", [0, 0.99], [-0.01, 1], "must be in [0, 1)"),
        ("low", [4], [3], "must be >= 4"),
        ("high", [4], [5], "must be < 5"),
        ("count", [], ["many"], "must be a valid integer"),
    ],
)
def test_values_out_of_bounds_are_refused_with_the_bounds_and_others_stay(
    field: str, good: list[Any], bad: list[Any], words: str
) -> None:
    assert [getattr(Bounded(**{field: value}), field) for value in good] == good
    for value in bad:
        with pytest.raises(UsageError) as caught:
            read_spec(Bounded, {field: value})
        assert str(caught.value.message) == f"--{field.replace('_', '-')} ({value}) {words}"


def test_two_fields_of_which_only_one_makes_sense_are_named() -> None:
    exclusive(Example(first=1), "first", "second")
    with pytest.raises(ValueError, match="--first and --second exclude each other"):
        exclusive(Example(first=1, second=2), "first", "second")


def test_what_a_spec_says_takes_the_place_of_the_models_own_sampling() -> None:
    own = Sampling(16, fps=15)
    assert override_sampling(own, None, None, None) == own
    assert override_sampling(own, 8, None, None) == Sampling(8, fps=15)
    assert override_sampling(own, None, 2, None) == Sampling(16, stride=2)
    assert override_sampling(Sampling(16, stride=4), None, None, 10) == Sampling(16, fps=10)
