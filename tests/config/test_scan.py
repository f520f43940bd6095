"""The spec of a scan takes what can be done, and refuses the rest."""

from __future__ import annotations

import pytest

from vidcnn.config import ScanSpec
from vidcnn.config.base import read_spec
from vidcnn.errors import UsageError


def test_errors_to_do_again_are_known_kinds() -> None:
    assert ScanSpec(source=("a",)).redo_kinds is None
    assert ScanSpec(source=("a",), redo_errors="timeout,changed").redo_kinds == {"timeout", "changed"}
    assert ScanSpec(source=("a",), redo_errors=True).redo_kinds is None  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="redo-errors"):
        read_spec(ScanSpec, {"source": ["a"], "redo_errors": "nothing"})


@pytest.mark.parametrize(("name", "value"), [("sample_seconds", 0), ("out", "scan.csv"), ("decoders", 0), ("sours", 1)])
def test_impossible_values_are_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(UsageError, match=f"--{name.replace('_', '-')}"):
        read_spec(ScanSpec, {"source": ["a"], name: value})
