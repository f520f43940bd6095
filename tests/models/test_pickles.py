from __future__ import annotations

import io
import pickle
import time
from collections import OrderedDict
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidcnn.models import pickles
from vidcnn.models.pickles import ForbiddenError, Known, MalformedError, Opaque, read_pickle

KNOWN = {
    "collections.OrderedDict": Known("collections.OrderedDict", dict),
    "__builtin__.set": Known("__builtin__.set", lambda *_: Opaque("set")),
    "torch.FloatStorage": Known("torch.FloatStorage"),
}


def read(content: bytes) -> Any:
    return read_pickle(io.BytesIO(content), KNOWN, lambda key: ("storage", key))


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**200), 2**200) | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.lists(inner, max_size=5).map(tuple)
        | st.dictionaries(st.text() | st.integers(-(2**31) + 1, 2**31 - 1), inner)
    ),
)


@given(PLAIN)
def test_plain_values_come_back_as_they_were(value: Any) -> None:
    assert read(pickle.dumps(value, protocol=2)) == value
    assert read(pickle.dumps(OrderedDict(a=value), protocol=2)) == {"a": value}


@given(st.binary(max_size=300))
def test_any_bytes_are_a_value_or_one_of_two_errors(content: bytes) -> None:
    with suppress(ForbiddenError, MalformedError):
        read(b"\x80\x02" + content)


@given(PLAIN, st.data())
def test_any_change_of_a_pickle_is_a_value_or_one_of_two_errors(value: Any, data: st.DataObject) -> None:
    content = bytearray(pickle.dumps({"a": value, "b": {1, 2}}, protocol=2))
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] = data.draw(st.integers(0, 255))
    with suppress(ForbiddenError, MalformedError):
        read(bytes(content))


def test_what_is_not_known_is_refused_by_its_name() -> None:
    for content, name in (
        (b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00id\x85R.", "os.system"),
        (b"\x80\x02cbuiltins\neval\n.", "builtins.eval"),
        (b"\x80\x02ctorch\nFloatStorage\n)\x81.", "torch.FloatStorage"),
    ):
        with pytest.raises(ForbiddenError, match=f"^{name}$"):
            read(content)


def test_what_is_known_is_called_only_as_a_function() -> None:
    assert read(b"\x80\x02c__builtin__\nset\n]\x85R.") == Opaque("set")
    for content in (b"\x80\x02ctorch\nFloatStorage\n)R.", b"\x80\x02X\x01\x00\x00\x00a)R.", b"\x80\x02]]R."):
        with pytest.raises(MalformedError):
            read(content)


def test_a_key_whose_hash_would_take_for_ever_is_left_out() -> None:
    nested = b")" + b"\x85q\x00h\x00\x86" * 60  # a tuple of twice the tuple before, sixty times
    began = time.monotonic()
    assert read(b"\x80\x02}" + nested + b"K\x01s.") == {}
    assert time.monotonic() - began < 5


def test_a_giant_number_of_bytes_or_place_is_no_reason_to_allocate() -> None:
    assert read(b"\x80\x02Nr\xff\xff\xff\xff.") is None
    with pytest.raises(MalformedError, match="larger than"):
        read(b"\x80\x02X\xff\xff\xff\xffa.")
    with pytest.raises(MalformedError, match="in the middle"):
        read(b"\x80\x02X\x00\x00\x00\x00T\xff\xff\x00\x00a.")


def test_a_pickle_that_never_ends_is_left_at_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickles, "MAX_PICKLE_BYTES", 10_000)

    class Endless(io.RawIOBase):
        num_bytes = 0

        def read(self, size: int = -1) -> bytes:
            self.num_bytes += size
            return b"\x80" if self.num_bytes == 1 else b"\x02" if self.num_bytes == 2 else b"N0"[:size]

    source = Endless()
    with pytest.raises(MalformedError, match="larger than 10,000 bytes"):
        read_pickle(source, KNOWN, lambda key: key)  # type: ignore[arg-type]
    assert source.num_bytes <= 10_001


@pytest.mark.parametrize("protocol", [0, 1, 3, 4, 5])
def test_other_protocols_are_refused(protocol: int) -> None:
    with pytest.raises(MalformedError):
        read(pickle.dumps({"a": 1}, protocol=protocol))
