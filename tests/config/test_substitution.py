from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzzing import damaged_text, refusing
from tests.limits import within
from vidcnn.config.substitution import PATTERN, is_variable, substitute, variables

ENVIRON = {"A": "x", "EMPTY": "", "NESTED": "${A}"}


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("${A}", "x"),
        ("s3://${A}/${A}.parquet", "s3://x/x.parquet"),
        ("${EMPTY}", ""),
        ("${A:-d}${B:-d}${EMPTY:-d}", "xdd"),
        ("${B:-}", ""),
        ("${B:-a b:-c}", "a b:-c"),
        ("$${A}", "${A}"),
        ("$$${A}", "$${A}"),
        ("$A $ {A} a$", "$A $ {A} a$"),
        ("${NESTED}", "${A}"),
    ],
)
def test_values_take_the_place_of_variables(text: str, result: str) -> None:
    assert substitute(text, ENVIRON) == result


def test_all_variables_that_are_not_set_are_named_once() -> None:
    with pytest.raises(KeyError) as caught:
        substitute("${B}/${C}/${B}/${A}", ENVIRON)
    assert caught.value.args == ("B", "C")


@pytest.mark.parametrize("text", ["${", "${A", "${}", "${1A}", "${A-b}", "${A:b}", "a ${ A }"])
def test_what_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"must begin \$\{NAME\}"):
        substitute(text, ENVIRON)


@pytest.mark.parametrize(("text", "alone"), [("${A}", True), (" ${A:-1} ", True), ("a${A}", False), ("$${A}", False)])
def test_a_variable_that_stands_alone_is_told(text: str, alone: bool) -> None:
    assert is_variable(text) == alone


@pytest.mark.parametrize(("text", "has"), [("${A}", True), ("a/${A:-b}/c", True), ("$${A}", False), ("$A", False)])
def test_the_pattern_of_the_schema_finds_variables(text: str, has: bool) -> None:
    assert (re.search(PATTERN, text) is not None) == has


@given(st.text())
def test_any_text_can_be_written(text: str) -> None:
    assert substitute(text.replace("${", "$${"), ENVIRON) == text


def test_the_variables_of_a_text_are_found_and_whether_they_are_needed() -> None:
    assert variables("s3://${B}/${DAY:-x}/$${NOT}/${B:-b}") == {"B": True, "DAY": False}
    assert variables("no $DAY here") == {}


@pytest.mark.fuzz
@given(damaged_text("a ${NAME} b", "${NAME:-x}$${y}", "$$${A:-${B}}", "${" * 50))
def test_any_text_is_filled_or_refused(text: str) -> None:
    with within(20):
        assert isinstance(variables(text), dict)
        assert is_variable(text) in (True, False)
        with refusing(KeyError, ValueError):
            assert isinstance(substitute(text, {"NAME": "v"}), str)
