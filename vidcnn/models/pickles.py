"""Reading the pickles of torch's checkpoints without calling anything that they name.

A pickle is a program for a machine with a stack. This is that machine, for the instructions that torch writes
(protocol 2). It makes numbers, texts, tuples, lists and dictionaries. What a pickle wants to be called is looked up in
a table of the reader's own, and what is not in the table ends the reading. Each instruction makes at most one small
object, so the memory that a pickle takes is in proportion to its size.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO, NamedTuple

from vidcnn.bounds import MAX_PICKLE_BYTES


class ForbiddenError(Exception):
    """A pickle names something else than tensors and plain values; the argument is the name."""


class MalformedError(Exception):
    """It is not a pickle of this kind, or is damaged."""


class Known(NamedTuple):
    """What stands for a function or a class that a pickle names.

    Attributes:
        name: Its full name, such as ``torch.FloatStorage``.
        call: Called with the arguments in its place; None for what is not called.
    """

    name: str
    call: Callable[..., Any] | None = None


class Opaque(NamedTuple):
    """A value that is harmless and that nobody needs, such as a set; nothing is known of it but what made it."""

    name: str


def read_pickle(file: BinaryIO, known: Mapping[str, Known], load_storage: Callable[[Any], Any]) -> Any:
    """Read one pickle from where a file is.

    Args:
        file: A file that can be read; it is left behind the pickle if it can be sought.
        known: What the pickle may name, by full name.
        load_storage: Called with a persistent id, which is how torch refers to the bytes of tensors.

    Returns:
        Plain values, what `known` and `load_storage` returned, and `Opaque`.

    Raises:
        ForbiddenError: It names something that is not known.
        MalformedError: It is not a pickle of protocol 2, or is larger than `MAX_PICKLE_BYTES`.
    """
    machine = _Machine(file, known, load_storage)
    try:
        return machine.run()
    except (IndexError, KeyError, ValueError, TypeError, struct.error, AttributeError) as error:
        raise MalformedError(f"the pickle is malformed: {error}") from error


class _Machine:
    def __init__(self, file: BinaryIO, known: Mapping[str, Known], load_storage: Callable[[Any], Any]) -> None:
        self._file = file
        self._left = MAX_PICKLE_BYTES
        self._known = known
        self._load_storage = load_storage
        self._stack: list[Any] = []
        self._marked: list[list[Any]] = []
        self._memo: dict[int, Any] = {}

    def run(self) -> Any:
        if self._read(1) != b"\x80" or self._read(1) != b"\x02":
            raise MalformedError("it is not a pickle of protocol 2")
        while (code := self._read(1)) != b".":
            _ACTS[code](self)
        return self._stack.pop()

    def _read(self, num_bytes: int) -> bytes:
        self._left -= num_bytes
        if self._left < 0:
            raise MalformedError(f"what describes its tensors is larger than {MAX_PICKLE_BYTES:,} bytes")
        content = self._file.read(num_bytes)
        if len(content) != num_bytes:
            raise MalformedError("it ends in the middle")
        return content

    def _unpack(self, layout: str) -> Any:
        return struct.unpack(layout, self._read(struct.calcsize(layout)))[0]

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _line(self) -> str:
        line = self._file.readline(min(self._left, 1000))
        self._left -= len(line)
        if not line.endswith(b"\n"):
            raise MalformedError("it ends in the middle")
        return line[:-1].decode()

    def _mark(self) -> None:
        self._marked.append(self._stack)
        self._stack = []

    def _pop_mark(self) -> list[Any]:
        values, self._stack = self._stack, self._marked.pop()
        return values

    def _tuple(self, size: int) -> None:
        values = tuple(self._stack[-size:])
        if len(values) != size:
            raise MalformedError("the stack is too short")
        self._stack[-size:] = [values]

    def _put(self, key: int) -> None:
        self._memo[key] = self._stack[-1]

    def _global(self) -> None:
        name = f"{self._line()}.{self._line()}"
        if name not in self._known:
            raise ForbiddenError(name)
        self._push(self._known[name])

    def _forbidden_object(self) -> None:
        self._stack.pop()
        raise ForbiddenError(self._stack.pop().name)

    def _call(self) -> None:
        arguments, function = self._stack.pop(), self._stack.pop()
        if not isinstance(function, Known) or function.call is None or not isinstance(arguments, tuple):
            raise MalformedError("it calls what is no function")
        self._push(function.call(*arguments))

    def _storage(self) -> None:
        self._push(self._load_storage(self._stack.pop()))

    def _add_to_list(self, values: list[Any]) -> None:
        target = self._stack[-1]
        if isinstance(target, list):
            target.extend(values)
        elif not isinstance(target, Opaque):
            raise MalformedError("it appends to what is no list")

    def _add_to_dictionary(self, values: list[Any]) -> None:
        target = self._stack[-1]
        if isinstance(target, Opaque):
            return
        if not isinstance(target, dict) or len(values) % 2:
            raise MalformedError("it sets items of what is no dictionary")
        for key, value in zip(values[::2], values[1::2], strict=True):
            # Of other keys, to compute a hash can take for ever, as can to tell them apart.
            if isinstance(key, str) or (isinstance(key, int) and abs(key) < 2**31):
                target[key] = value

    def _append(self) -> None:
        self._add_to_list([self._stack.pop()])

    def _set_item(self) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._add_to_dictionary([key, value])


_ACTS: dict[bytes, Callable[[_Machine], Any]] = {
    b"N": lambda m: m._push(None),
    b"\x88": lambda m: m._push(True),
    b"\x89": lambda m: m._push(False),
    b"K": lambda m: m._push(m._unpack("<B")),
    b"M": lambda m: m._push(m._unpack("<H")),
    b"J": lambda m: m._push(m._unpack("<i")),
    b"\x8a": lambda m: m._push(int.from_bytes(m._read(m._unpack("<B")), "little", signed=True)),
    b"G": lambda m: m._push(m._unpack(">d")),
    b"X": lambda m: m._push(m._read(m._unpack("<I")).decode("utf-8", "surrogatepass")),
    b"U": lambda m: m._push(m._read(m._unpack("<B")).decode("latin-1")),
    b"T": lambda m: m._push(m._read(m._unpack("<I")).decode("latin-1")),
    b"}": lambda m: m._push({}),
    b"]": lambda m: m._push([]),
    b")": lambda m: m._push(()),
    b"\x85": lambda m: m._tuple(1),
    b"\x86": lambda m: m._tuple(2),
    b"\x87": lambda m: m._tuple(3),
    b"(": lambda m: m._mark(),
    b"t": lambda m: m._push(tuple(m._pop_mark())),
    b"a": lambda m: m._append(),
    b"e": lambda m: m._add_to_list(m._pop_mark()),
    b"s": lambda m: m._set_item(),
    b"u": lambda m: m._add_to_dictionary(m._pop_mark()),
    b"q": lambda m: m._put(m._unpack("<B")),
    b"r": lambda m: m._put(m._unpack("<I")),
    b"h": lambda m: m._push(m._memo[m._unpack("<B")]),
    b"j": lambda m: m._push(m._memo[m._unpack("<I")]),
    b"c": lambda m: m._global(),
    b"R": lambda m: m._call(),
    b"Q": lambda m: m._storage(),
    b"\x81": lambda m: m._forbidden_object(),
    b"b": lambda m: m._stack.pop(),  # attributes of a dictionary, of which none counts
}
"""What each instruction does."""
