"""Values between a decoding process and its parent, over a socket.

A value is pickled. What is large in it, such as the pixels of a batch, is not sent through the socket: it is in
memory that both processes map, so that it is copied once. Pickle is used between the program's own processes only.

A message is a header (length of the pickle, number of large buffers), their lengths, and the pickle; the descriptor
of the shared memory goes along with the header.
"""

from __future__ import annotations

import mmap
import os
import pickle
import socket
import struct
from collections.abc import Callable
from typing import Any

_HEADER = struct.Struct("<QQ")
_LARGE_BYTES = 1 << 18

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
    memory = os.memfd_create("vidcnn-clips")
    try:
        for buffer in buffers:
            written = 0
            while written < buffer.nbytes:
                written += os.write(memory, buffer[written:])
        socket.send_fds(channel, [head], [memory])
    finally:
        os.close(memory)
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
        buffers = _map(descriptors[0], lengths) if num_buffers else []
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
    return pickle.loads(content, buffers=buffers)


def _map(memory: int, lengths: tuple[int, ...]) -> list[memoryview]:
    flags = mmap.MAP_SHARED | getattr(mmap, "MAP_POPULATE", 0)
    mapped = memoryview(mmap.mmap(memory, sum(lengths), flags, mmap.PROT_READ))
    buffers, start = [], 0
    for length in lengths:
        buffers.append(mapped[start : start + length])
        start += length
    return buffers


def _exactly(channel: socket.socket, size: int, wait: Wait) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        wait(channel)
        part = channel.recv(min(size - len(parts), 1 << 20))
        if not part:
            raise EOFError
        parts += part
    return bytes(parts)
