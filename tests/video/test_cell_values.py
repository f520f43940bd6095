from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzzing import damaged, refusing
from tests.limits import within
from vidcnn.errors import InternalError, StorageError, VideoError
from vidcnn.video import cell_values
from vidcnn.video.cell_values import BadValueError, read, write


@dataclass(frozen=True, eq=False)
class Sized:
    size: int
    kind: Literal["large", "small"]
    pixels: npt.NDArray[np.uint8]
    error: VideoError | None = None


class Pair(NamedTuple):
    first: list[tuple[int, float]]
    second: str | None


cell_values.register(Sized, Pair)

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text() | st.integers(), inner, max_size=4)
    ),
)


def through(value: Any) -> Any:
    text, buffers = write(value)
    return read(text, [memoryview(bytes(buffer)) for buffer in buffers])


@given(PLAIN)
def test_what_is_written_is_read(value: Any) -> None:
    found = through(value)
    assert found == value
    assert repr(found) == repr(value)  # True is not 1, and a tuple no list


@given(st.binary().map(os.fsdecode))
def test_names_that_are_not_utf8_are_read_as_they_were(name: str) -> None:
    assert through([name, {name: VideoError("unreadable", name).message}]) == [name, {name: name}]
    assert through(VideoError("unreadable", name)).args == ("unreadable", name)


@pytest.mark.parametrize("dtype", ["?", "u1", "i8", "f2", "f8"])
@pytest.mark.parametrize("shape", [(), (3,), (2, 0, 3), (2, 3, 4)])
def test_arrays_keep_their_type_and_shape(dtype: str, shape: tuple[int, ...]) -> None:
    array = np.arange(int(np.prod(shape))).reshape(shape).astype(dtype)
    found = through(array)
    assert (found.dtype, found.shape) == (array.dtype, array.shape)
    assert np.array_equal(found, array)
    assert np.array_equal(through(array.T), array.T)


def test_objects_of_known_classes_are_made_again() -> None:
    value = Pair([(1, 2.5)], "\udcff")
    assert through(value) == value
    found = through(Sized(2, "large", np.ones(4, np.uint8), VideoError("timeout", "late")))
    assert (type(found), found.size, found.kind, found.pixels.sum()) == (Sized, 2, "large", 4)
    assert (found.error.kind, found.error.message) == ("timeout", "late")


def test_errors_keep_their_class_words_and_notes() -> None:
    error = StorageError("it cannot be read", "wait")
    error.add_note("where")
    found = through(error)
    assert (type(found), found.message, found.hint, found.__notes__) == (
        StorageError,
        "it cannot be read",
        "wait",
        ["where"],
    )
    assert str(through(OSError(5, "Input/output error"))) == "[Errno 5] Input/output error"
    strange = through(type("OddError", (Exception,), {})("odd"))
    assert type(strange) is InternalError
    assert "OddError" in strange.message


def test_an_error_of_a_private_class_is_one_of_the_public_class_below_it() -> None:
    class PrivateError(StorageError):
        pass

    found = through(PrivateError("the storage does not give the bytes", "wait"))
    assert (type(found), found.message, found.hint) == (StorageError, "the storage does not give the bytes", "wait")


@pytest.mark.parametrize("value", [object(), lambda: None, {1, 2}, np.array(["a"]), np.array([None]), Sized, 1j])
def test_all_else_cannot_be_written(value: Any) -> None:
    with pytest.raises(TypeError):
        write(value)


def array_of(number: Any, dtype: Any, shape: Any) -> Any:
    return ["a", number, dtype, shape]


@pytest.mark.parametrize(
    "packed",
    [
        {},
        {"__class__": "x"},
        [],
        ["x", 1],
        ["t", {}],
        ["b", 1],
        ["b", -1],
        ["b", True],
        array_of(0, "|u1", [9]),
        array_of(0, "|u1", [-1, -8]),
        array_of(0, "|u1", [2, 4.0]),
        array_of(0, "|u1", [2**40, 0, 2**40]),
        array_of(0, "|u1", [1] * 7 + [8, 1]),
        array_of(0, "|b1", [8]),
        array_of(0, "|O", [1]),
        array_of(0, "<U2", [1]),
        array_of(1, "|u1", [8]),
        array_of(0, "<i8", [2]),
        ["c", "Popen", "ls"],
        ["c", "Sized", 2, "large"],
        ["c", "Sized", "2", "large", array_of(0, "|u1", [8]), None],
        ["c", "Sized", True, "large", array_of(0, "|u1", [8]), None],
        ["c", "Sized", 2, "huge", array_of(0, "|u1", [8]), None],
        ["c", "Sized", 2, "large", array_of(0, "<i8", [1]), None],
        ["c", "Sized", 2, "large", ["l", 1, 2], None],
        ["c", "Sized", 2, "large", array_of(0, "|u1", [8]), ["e", "StorageError", ["x"], []]],
        ["c", "Pair", ["l", ["t", 1, "2"]], None],
        ["c", "Pair", ["l", ["l", 1, 2]], None],
        ["e", "VideoError", ["late", "x"], []],
        ["e", "VideoError", ["timeout"], []],
        ["e", "VideoError", ["timeout", 5], []],
        ["e", "StorageError", [5], []],
        ["e", "SystemExit", [], []],
        ["e", "Popen", ["ls"], []],
        ["e", "os", ["ls"], []],
        ["e", "ValueError", [["ls"]], []],
        ["e", "ValueError", ["x" * 10**6], []],
    ],
)
def test_what_no_process_of_ours_writes_is_refused(packed: Any) -> None:
    with pytest.raises(BadValueError):
        read(json.dumps(packed).encode(), [memoryview(bytes(range(8)))])


JSON = st.recursive(st.none() | st.integers() | st.text(), st.lists).map(lambda value: json.dumps(value).encode())


@given(st.binary(max_size=60) | JSON)
def test_whatever_comes_is_a_value_or_refused(text: bytes) -> None:
    with suppress(BadValueError):
        read(text, [])


MESSAGE = write(
    (
        "value",
        [Sized(3, "small", np.zeros((2, 3), np.uint8), VideoError("unreadable", "no")), Pair([(1, 0.5)], None)],
        {"a": frozenset({1}), "b": b"xyz"},
        StorageError("gone", "wait"),
        np.ones(4, np.float32),
    )
)


@pytest.mark.fuzz
@given(damaged(MESSAGE[0]))
def test_any_change_of_a_message_is_plain_values_or_one_error(text: bytes) -> None:
    buffers = [memoryview(bytes(buffer)) for buffer in MESSAGE[1]]
    with within(20), refusing(BadValueError):
        write(read(text, buffers))
