from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzzing import damaged_text
from tests.limits import within
from vidcnn.config.plain_yaml import load, scalar


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("10", 10),
        ("-3", -3),
        ("7.5", 7.5),
        ("1e-3", 1e-3),
        ("true", True),
        ("null", None),
        ("", None),
        ("on", "on"),
        ("1:4", "1:4"),
        ("2026-11-22", "2026-11-22"),
        ("=", "="),
        ("0x10", "0x10"),
        ("1_000", "1_000"),
    ],
)
def test_a_scalar_is_what_people_mean_alone_and_in_a_document(text: str, value: object) -> None:
    assert scalar(text) == value
    assert load(f"key: {text}\n").value == {"key": value}


@pytest.mark.parametrize(
    "text", ["a: b", "[a, b]", "{a}", "# no remark", "*star", "&anchor", "- dash", "'quoted'", "!tag"]
)
def test_a_scalar_that_stands_alone_is_never_anything_but_a_scalar(text: str) -> None:
    assert scalar(text) == text


@given(st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.booleans(), st.none()))
def test_a_value_as_yaml_writes_it_is_read_back(value: object) -> None:
    assert scalar(yaml.safe_dump(value).splitlines()[0]) == value


@pytest.mark.parametrize(("text", "value"), [("010", 10), ("08", 8), ("-007", -7), ("+5", 5), ("0", 0)])
def test_a_number_with_a_zero_before_it_is_decimal(text: str, value: int) -> None:
    assert scalar(text) == load(f"a: {text}\n").value["a"] == value


def test_a_number_of_more_digits_than_python_reads_is_no_whole_number() -> None:
    for text in ("9" * 5000, "-" + "9" * 5000):
        assert scalar(text) == load(f"a: {text}\n").value["a"] == float(text[:1].strip("9") + "inf")


@pytest.mark.fuzz
@given(damaged_text("1.5e-3", "true", "null", "~", "-0", "<<", "=", "2026-11-22", "0x1F"))
def test_any_text_is_a_scalar(text: str) -> None:
    with within(20):
        assert isinstance(scalar(text), str | int | float | bool | None)


def test_what_a_document_cannot_have_is_text_alone() -> None:
    for text in ("<<", "a\x08b", "\x1b[2J"):
        assert scalar(text) == text
