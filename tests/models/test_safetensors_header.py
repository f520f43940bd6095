from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzzing import damaged, refusing
from vidcnn.bounds import MAX_HEADER_BYTES
from vidcnn.models.pickles import MalformedError
from vidcnn.models.safetensors_header import header_length, parse_header


def parse(entries: dict[str, Any], num_bytes: int) -> Any:
    header = json.dumps(entries).encode()
    return parse_header(header, 8 + len(header) + num_bytes)


def entry(shape: Any, start: int, end: int, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


def test_a_header_that_fits_its_file_is_read() -> None:
    found = parse({"__metadata__": {"a": "b"}, "x": entry([2, 3], 4, 28), "y": entry([], 0, 4)}, 28)
    assert found["x"].shape == (2, 3)
    assert found["y"].end == found["x"].start
    assert found["x"].end - found["x"].start == 24


@pytest.mark.parametrize("length", [0, 1, 93, MAX_HEADER_BYTES + 1, 2**63, 2**64 - 1])
def test_a_length_that_cannot_be_is_refused(length: int) -> None:
    assert header_length((92).to_bytes(8, "little"), 100) == 92
    with pytest.raises(MalformedError, match="a header of"):
        header_length(length.to_bytes(8, "little"), 100 if length < 1000 else 2**62)


@pytest.mark.parametrize(
    "entries",
    [
        {"x": entry([10**9, 10**9], 0, 8)},
        {"x": entry([-1, -2], 0, 8)},
        {"x": entry([True, 2], 0, 8)},
        {"x": entry([2], 0, 8, "F128")},
        {"x": entry([2.0], 0, 8)},
        {"x": entry([2], 8, 16)},
        {"x": entry([2], 0, 8), "y": entry([2], 0, 8)},
        {"x": entry([1], 0, 4)},
        {"x": entry([1] * 17, 0, 4), "y": entry([1], 4, 8)},
        {"x": {"dtype": "F32", "shape": [2]}},
        {"x": [1, 2]},
        {"x": entry("22", 0, 8)},
    ],
)
def test_shapes_that_do_not_fit_the_file_are_refused(entries: dict[str, Any]) -> None:
    with pytest.raises(MalformedError):
        parse(entries, 8)


@pytest.mark.parametrize("header", [b"[]", b"{", b"[" * 10**6, b'{"x":' * 10**5, b"\xff\xff", b'{"x": NaN}'])
def test_json_that_is_no_header_is_refused(header: bytes) -> None:
    with pytest.raises(MalformedError, match="malformed"):
        parse_header(header, 8 + len(header))


@given(st.binary(max_size=200), st.integers(0, 2**63))
def test_any_bytes_are_a_header_or_one_error(content: bytes, size_bytes: int) -> None:
    with suppress(MalformedError):
        parse_header(content, size_bytes)


WHOLE = json.dumps({"__metadata__": {"a": "b"}, "x": entry([2, 3], 4, 28), "y": entry([], 0, 4)}).encode()


@pytest.mark.fuzz
@given(damaged(WHOLE), st.integers(-3, 3))
def test_any_change_of_a_header_is_a_header_or_one_error(content: bytes, num_more: int) -> None:
    size_bytes = 8 + len(content) + 28 + num_more
    with refusing(MalformedError):
        for found in parse_header(content, size_bytes).values():
            assert 8 + len(content) <= found.start <= found.end <= size_bytes
