from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

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
