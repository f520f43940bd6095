from __future__ import annotations

import pytest

from vidcnn.config import InferSpec
from vidcnn.config.base import read_spec
from vidcnn.config.optional_values import complete
from vidcnn.errors import ERROR_KINDS, UsageError


@pytest.mark.parametrize(
    ("arguments", "completed"),
    [
        ("DIR --redo-errors", "DIR --redo-errors all"),
        ("--redo-errors DIR", "--redo-errors all DIR"),
        ("--redo-errors --out x", "--redo-errors all --out x"),
        ("--redo-errors timeout changed DIR", "--redo-errors timeout,changed DIR"),
        ("--redo-errors timeout,changed DIR timeout", "--redo-errors timeout,changed DIR timeout"),
        ("DIR -- --redo-errors", "DIR -- --redo-errors"),
        ("DIR --redo-errors=timeout", "DIR --redo-errors=timeout"),
        ("DIR timeout", "DIR timeout"),
    ],
)
def test_values_that_may_be_left_out_are_put_into_one(arguments: str, completed: str) -> None:
    assert complete(arguments.split()) == completed.split()


@pytest.mark.parametrize(
    ("value", "kinds"),
    [
        ("all", None),
        (True, None),
        (["timeout", "changed"], {"timeout", "changed"}),
        ("timeout", {"timeout"}),
        (",".join(ERROR_KINDS), set(ERROR_KINDS)),
    ],
)
def test_kinds_of_errors_are_written_in_several_ways(value: object, kinds: set[str] | None) -> None:
    spec = read_spec(InferSpec, {"source": ("a",), "redo_errors": value})
    assert spec.redo_errors is not None
    assert spec.redo_kinds == kinds


def test_no_errors_are_done_again_unless_it_is_asked_for() -> None:
    assert InferSpec(source=("a",)).redo_errors is None
    assert InferSpec(source=("a",), redo_errors=False).redo_errors is None


def test_a_kind_that_does_not_exist_is_refused() -> None:
    with pytest.raises(UsageError, match=r"--redo-errors \(hangs\) must be all, or some of unreadable, .*timeout"):
        read_spec(InferSpec, {"source": ("a",), "redo_errors": "hangs"})
