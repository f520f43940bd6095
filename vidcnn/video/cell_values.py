"""Plain values: all that a decoding process can say to its parent, who trusts none of it.

A value is written as JSON, beside the bytes of its arrays. Nothing in it names code: what is made of it are numbers,
texts, containers, arrays of numbers, and objects of the classes that were registered, whose attributes must have the
types that these declare. The process that writes may have been taken over by what it read.

    ("a", array) -> ["t", "a", ["a", 0, "<i8", [2, 3]]] and 48 bytes
"""

from __future__ import annotations

import builtins
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np
import numpy.typing as npt

from vidcnn import errors
from vidcnn.errors import ERROR_KINDS, InternalError, VideoError

Class = TypeVar("Class", bound=type)

_DTYPES = {
    np.dtype(name).str: np.dtype(name)
    for name in ("?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8")
}
_MAX_DIMENSIONS = 8
_MAX_CHARS = 20_000
"""Characters of a text in an error."""
_BUILTIN_ERRORS = frozenset(
    error.__name__
    for error in (
        *(ArithmeticError, AssertionError, AttributeError, EOFError, FileNotFoundError, ImportError, IndexError),
        *(KeyError, LookupError, MemoryError, ModuleNotFoundError, NotImplementedError, OSError, OverflowError),
        *(PermissionError, RecursionError, RuntimeError, TypeError, ValueError, ZeroDivisionError),
    )
)

_registered: dict[str, Any] = {}
_names: dict[Any, tuple[str, ...]] = {}


class BadValueError(Exception):
    """What a decoding process sent is no value that it may send."""


def register(*classes: Any) -> None:
    """Let objects of some dataclasses or named tuples be sent. Both processes must do so."""
    for cls in classes:
        assert is_dataclass(cls) or hasattr(cls, "_fields")
        _registered[cls.__name__] = cls
        _names[cls] = tuple(field.name for field in fields(cls)) if is_dataclass(cls) else cls._fields


def write(value: Any) -> tuple[bytes, list[memoryview]]:
    """Return a value's JSON, and the bytes of its arrays.

    Raises:
        TypeError: It, or something in it, is no plain value.
    """
    buffers: list[memoryview] = []
    return json.dumps(_pack(value, buffers), separators=(",", ":")).encode(), buffers


def read(text: bytes | bytearray, buffers: Sequence[memoryview]) -> Any:
    """Return the value that `write` was given.

    Args:
        text: The JSON.
        buffers: The bytes of its arrays.

    Raises:
        BadValueError: It is none.
    """
    try:
        return _unpack(json.loads(text), buffers)
    except BadValueError:
        raise
    except Exception as error:
        raise BadValueError(f"{type(error).__name__}: {str(error)[:200]}") from error


def _pack(value: Any, buffers: list[memoryview]) -> Any:
    kind = type(value)
    if value is None or kind is bool or kind is int or kind is float or kind is str:
        return value
    if kind is tuple:
        return ["t", *[_pack(one, buffers) for one in value]]
    if kind is list:
        return ["l", *[_pack(one, buffers) for one in value]]
    if isinstance(value, np.ndarray):
        if value.dtype.str not in _DTYPES:
            raise TypeError(f"an array of {value.dtype} is no plain value")
        buffers.append(_bytes_of(value))
        return ["a", len(buffers) - 1, value.dtype.str, list(value.shape)]
    if (names := _attributes(kind)) is not None:
        return ["c", kind.__name__, *[_pack(getattr(value, name), buffers) for name in names]]
    if kind is dict:
        return ["d", *[[_pack(key, buffers), _pack(one, buffers)] for key, one in value.items()]]
    if kind is bytes:
        buffers.append(memoryview(value))
        return ["b", len(buffers) - 1]
    if kind is frozenset:
        return ["s", *[_pack(one, buffers) for one in value]]
    if isinstance(value, np.generic):
        return _pack(value.item(), buffers)
    if isinstance(value, Exception):
        return _pack_error(value, buffers)
    raise TypeError(f"{kind.__name__} is no plain value")


def _pack_error(error: Exception, buffers: list[memoryview]) -> Any:
    known: type[Any] = next(cls for cls in type(error).__mro__ if cls is Exception or _error_class(cls.__name__) is cls)
    if known is not type(error) and not issubclass(known, errors.VidcnnError):
        wrapped = InternalError.of(error, "working on videos")
        wrapped.__notes__ = getattr(error, "__notes__", []) or wrapped.__notes__
        error, known = wrapped, InternalError
    arguments = [one if isinstance(one, str | int | None) else str(one) for one in error.args]
    notes = [str(note) for note in getattr(error, "__notes__", ())]
    return ["e", known.__name__, arguments, notes]


def _bytes_of(array: npt.NDArray[Any]) -> memoryview:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data if array.size else memoryview(b"")


def _unpack(packed: Any, buffers: Sequence[memoryview]) -> Any:
    if type(packed) is not list:
        if type(packed) is dict:
            raise BadValueError("a JSON object")
        return packed
    kind, *rest = packed
    if kind == "t":
        return tuple([_unpack(one, buffers) for one in rest])
    if kind == "l":
        return [_unpack(one, buffers) for one in rest]
    if kind == "a":
        number, dtype, shape = rest
        return _unpack_array(number, dtype, shape, buffers)
    if kind == "c":
        name, *values = rest
        return _make(name, [_unpack(one, buffers) for one in values])
    if kind == "d":
        return {_unpack(key, buffers): _unpack(one, buffers) for key, one in rest}
    if kind == "b":
        return bytes(_buffer(rest[0], buffers))
    if kind == "s":
        return frozenset([_unpack(one, buffers) for one in rest])
    if kind == "e":
        return _unpack_error(*rest)
    raise BadValueError("an unknown kind of value")


def _buffer(number: Any, buffers: Sequence[memoryview]) -> memoryview:
    if type(number) is not int or not 0 <= number < len(buffers):
        raise BadValueError("bytes that were not sent")
    return buffers[number]


def _unpack_array(number: Any, dtype: Any, shape: Any, buffers: Sequence[memoryview]) -> Any:
    data, kind = _buffer(number, buffers), _DTYPES[dtype]
    if type(shape) is not list or len(shape) > _MAX_DIMENSIONS or any(type(n) is not int or n < 0 for n in shape):
        raise BadValueError("an array of no possible shape")
    size = kind.itemsize
    for length in shape:
        size *= length
    if size != data.nbytes:
        raise BadValueError(f"an array of {size} bytes in {data.nbytes}")
    if kind.kind == "b" and size and np.frombuffer(data, np.uint8).max() > 1:
        raise BadValueError("truth values that are neither")
    return np.frombuffer(data, kind).reshape(shape) if size else np.zeros(shape, kind)


def _unpack_error(name: Any, arguments: Any, notes: Any) -> Exception:
    cls = _error_class(name)
    values = [*arguments, *notes]
    if cls is None or any(not isinstance(one, str | int | None) for one in values):
        raise BadValueError("an error that is none")
    if sum(len(one) for one in values if isinstance(one, str)) > 10 * _MAX_CHARS:
        raise BadValueError("an error with too many words")
    if cls is VideoError and (len(arguments) != 2 or arguments[0] not in ERROR_KINDS or type(arguments[1]) is not str):
        raise BadValueError("an error of a video that is none")
    if issubclass(cls, errors.VidcnnError) and any(type(one) is not str for one in arguments):
        raise BadValueError("an error without words")
    error = cls(*arguments)
    for note in notes:
        error.add_note(note)
    return error


@cache
def _error_class(name: str) -> type[Exception] | None:
    found = getattr(builtins, name, None) if name in _BUILTIN_ERRORS else getattr(errors, name, None)
    return found if isinstance(found, type) and issubclass(found, Exception) else None


def _make(name: Any, values: list[Any]) -> Any:
    cls = _registered.get(name)
    if cls is None:
        raise BadValueError("an object of an unknown class")
    checks = _checks(cls)
    if len(checks) != len(values):
        raise BadValueError(f"a {name} of {len(values)} values")
    for (attribute, is_right), value in zip(checks, values, strict=True):
        if not is_right(value):
            raise BadValueError(f"a {name} whose {attribute} is {type(value).__name__}")
    return cls(*values)


def _attributes(cls: Any) -> tuple[str, ...] | None:
    if _registered.get(cls.__name__) is not cls:
        return None
    return _names[cls]


@cache
def _checks(cls: Any) -> tuple[tuple[str, Callable[[Any], bool]], ...]:
    hints = get_type_hints(cls, vars(sys.modules[cls.__module__]))
    return tuple((name, _check(hints[name])) for name in _attributes(cls) or ())


def _check(hint: Any) -> Callable[[Any], bool]:
    """Return what tells whether a value has a type."""
    origin, inner = get_origin(hint), get_args(hint)
    if hint is Any:
        return lambda value: True
    if origin is Literal:
        return lambda value: any(type(value) is type(one) and value == one for one in inner)
    if origin is Union or origin is UnionType:
        checks = [_check(one) for one in inner]
        return lambda value: any(check(value) for check in checks)
    if origin is tuple and inner[-1:] != (...,):
        checks = [_check(one) for one in inner]
        return lambda value: (
            type(value) is tuple
            and len(value) == len(checks)
            and all(check(one) for check, one in zip(checks, value, strict=True))
        )
    if origin in (tuple, list, frozenset):
        check = _check(inner[0])
        return lambda value: type(value) is origin and all(check(one) for one in value)
    if origin is dict:
        check_key, check_value = _check(inner[0]), _check(inner[1])
        return lambda value: (
            type(value) is dict and all(map(check_key, value)) and all(map(check_value, value.values()))
        )
    if origin is np.ndarray:
        (wanted,) = get_args(inner[1]) or (np.generic,)
        return lambda value: type(value) is np.ndarray and issubclass(value.dtype.type, wanted)
    if hint in (None, NoneType):
        return lambda value: value is None
    if hint is float:
        return lambda value: type(value) is float or type(value) is int
    if hint is np.ndarray:
        return lambda value: type(value) is np.ndarray
    assert isinstance(hint, type), hint
    return lambda value: type(value) is hint or (isinstance(value, Exception) and isinstance(value, hint))
