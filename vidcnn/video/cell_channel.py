"""Values between a decoding process and its parent, over a socket.

What the parent sends is pickled (`send`, `receive`). What the child sends is a plain value (`send_plain`,
`receive_plain`), for it may have been taken over by what it reads: nothing of that is run, and all of it is bounded.

What is large, such as the pixels of a batch, is not sent through the socket: it is in memory that both processes map,
so that it is copied once. Memory from the child is sealed: it can neither change it nor take it back.

A message is a header, the lengths of the buffers, the pickle or the JSON, and small buffers; the descriptor of shared
memory goes along with the header.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import pickle
import socket
import struct
from collections.abc import Callable, Sequence
from typing import Any

from vidcnn.storage.retrying import RetryPolicy, retrying
from vidcnn.video import cell_values
from vidcnn.video.cell_values import BadValueError

_HEADER = struct.Struct("<QQ")
_PLAIN_HEADER = struct.Struct("<QIB")
_LARGE_BYTES = 1 << 18
_MAX_TEXT_BYTES = 1 << 28
_MAX_BUFFERS = 1 << 20
_ALIGNMENT = 16
_MAX_PARTS = 1000
"""Buffers that are written in one go; Linux takes 1024."""

_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
_SEAL_TRIES = RetryPolicy(num_tries=30, first_wait_seconds=0.001, growth=1.5, max_wait_seconds=0.5)
"""How often memory is written for a batch: the kernel seals none that it is just moving or looking through itself. Each
time it has waited a sixth of a second before it says so."""

Wait = Callable[[socket.socket], object]
"""Returns when a socket can be read; may raise instead."""


def send(channel: socket.socket, value: Any) -> None:
    """Send a value.

    Raises:
        OSError: The other process has gone.
    """
    buffers: list[memoryview] = []

    def take(buffer: pickle.PickleBuffer) -> bool:
        data = buffer.raw()
        if data.nbytes < _LARGE_BYTES:
            return True  # is pickled with the rest
        buffers.append(data)
        return False

    content = pickle.dumps(value, protocol=5, buffer_callback=take)
    lengths = struct.pack(f"<{len(buffers)}Q", *(buffer.nbytes for buffer in buffers))
    head = _HEADER.pack(len(content), len(buffers))
    if not buffers:
        channel.sendall(head + content)
        return
    _send_shared(channel, head, _aligned(buffers))
    channel.sendall(lengths + content)


def receive(channel: socket.socket, wait: Wait = lambda _: None) -> Any:
    """Return the next value; large arrays in it cannot be written to.

    Args:
        channel: The socket.
        wait: Is called before each read.

    Raises:
        EOFError: The other process has gone.
        Exception: What `wait` raised.
    """
    wait(channel)
    head, descriptors, _, _ = socket.recv_fds(channel, _HEADER.size, 1)
    try:
        head += _exactly(channel, _HEADER.size - len(head), wait)
        num_bytes, num_buffers = _HEADER.unpack(head)
        lengths = struct.unpack(f"<{num_buffers}Q", _exactly(channel, 8 * num_buffers, wait))
        content = _exactly(channel, num_bytes, wait)
        buffers = _parts(_map(descriptors[0], lengths), lengths) if num_buffers else []
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
    return pickle.loads(content, buffers=buffers)


def send_plain(channel: socket.socket, value: Any) -> None:
    """Send a plain value (see `vidcnn.video.cell_values`).

    Raises:
        TypeError: It is none.
        OSError: The other process has gone.
    """
    text, buffers = cell_values.write(value)
    lengths = [buffer.nbytes for buffer in buffers]
    is_shared = sum(lengths) >= _LARGE_BYTES
    head = _PLAIN_HEADER.pack(len(text), len(buffers), is_shared)
    rest: list[bytes | memoryview] = [struct.pack(f"<{len(buffers)}Q", *lengths), text]
    if is_shared:
        _send_shared(channel, head, _aligned(buffers))
    else:
        rest = [head, *rest, *_aligned(buffers)]
    channel.sendall(b"".join(rest))


def receive_plain(channel: socket.socket, wait: Wait = lambda _: None) -> Any:
    """Return the next plain value; large arrays in it cannot be written to.

    Args:
        channel: The socket.
        wait: Is called before each read.

    Raises:
        EOFError: The other process has gone.
        BadValueError: It sent something else.
        Exception: What `wait` raised.
    """
    wait(channel)
    head, descriptors, _, _ = socket.recv_fds(channel, _PLAIN_HEADER.size, 1)
    try:
        head += _exactly(channel, _PLAIN_HEADER.size - len(head), wait)
        num_bytes, num_buffers, is_shared = _PLAIN_HEADER.unpack(head)
        if num_bytes > _MAX_TEXT_BYTES or num_buffers > _MAX_BUFFERS or is_shared > 1:
            raise BadValueError("a message that is too long")
        lengths = struct.unpack(f"<{num_buffers}Q", _exactly(channel, 8 * num_buffers, wait))
        size = sum(map(_padded, lengths))
        if bool(is_shared) is not (sum(lengths) >= _LARGE_BYTES) or bool(descriptors) is not bool(is_shared):
            raise BadValueError("memory that was not handed over")
        text = _exactly(channel, num_bytes, wait)
        if is_shared:
            _check_sealed(descriptors[0], size)
            data = _map(descriptors[0], lengths)
        else:
            data = memoryview(_exactly(channel, size, wait))
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
    return cell_values.read(text, _parts(data, lengths))


def _check_sealed(memory: int, size: int) -> None:
    """Check that memory stays as it is, and has a size: to read what was taken back would kill this process."""
    try:
        seals = fcntl.fcntl(memory, fcntl.F_GET_SEALS)
        has = os.fstat(memory).st_size
    except OSError as error:
        raise BadValueError("a file that is no memory") from error
    if seals & _SEALS != _SEALS or has < size:
        raise BadValueError("memory that may change")


def _send_shared(channel: socket.socket, head: bytes, buffers: Sequence[memoryview | bytes]) -> None:
    memory = retrying(lambda: _sealed(buffers), policy=_SEAL_TRIES, is_passing=_is_busy)
    try:
        socket.send_fds(channel, [head], [memory])
    finally:
        os.close(memory)


def _sealed(buffers: Sequence[memoryview | bytes]) -> int:
    """Write buffers into memory that nobody can change from then on, and return its descriptor."""
    memory = os.memfd_create("vidcnn-clips", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        for start in range(0, len(buffers), _MAX_PARTS):
            _write_all(memory, list(buffers[start : start + _MAX_PARTS]))
        fcntl.fcntl(memory, fcntl.F_ADD_SEALS, _SEALS | fcntl.F_SEAL_SEAL)
    except BaseException:
        os.close(memory)
        raise
    return memory


def _is_busy(error: Exception) -> bool:
    return isinstance(error, OSError) and error.errno == errno.EBUSY


def _write_all(memory: int, buffers: list[memoryview | bytes]) -> None:
    left = sum(len(buffer) for buffer in buffers)
    while left:
        written = os.writev(memory, buffers)
        left -= written
        while left and written >= len(buffers[0]):
            written -= len(buffers.pop(0))
        if left:
            buffers[0] = memoryview(buffers[0])[written:]


def _padded(length: int) -> int:
    return -(-length // _ALIGNMENT) * _ALIGNMENT


def _aligned(buffers: Sequence[memoryview]) -> list[memoryview | bytes]:
    """Return buffers with what is between them, so that each begins at a multiple of `_ALIGNMENT`."""
    parts: list[memoryview | bytes] = []
    for buffer in buffers:
        parts.append(buffer)
        if missing := _padded(buffer.nbytes) - buffer.nbytes:
            parts.append(bytes(missing))
    return parts


def _map(memory: int, lengths: Sequence[int]) -> memoryview:
    flags = mmap.MAP_PRIVATE | getattr(mmap, "MAP_POPULATE", 0)  # sealed memory was not shared before Linux 6.7
    return memoryview(mmap.mmap(memory, sum(map(_padded, lengths)), flags, mmap.PROT_READ))


def _parts(data: memoryview, lengths: Sequence[int]) -> list[memoryview]:
    buffers, start = [], 0
    for length in lengths:
        buffers.append(data[start : start + length])
        start += _padded(length)
    return buffers


def _exactly(channel: socket.socket, size: int, wait: Wait) -> bytearray:
    parts = bytearray()
    while len(parts) < size:
        wait(channel)
        part = channel.recv(min(size - len(parts), 1 << 20))
        if not part:
            raise EOFError
        parts += part
    return parts
