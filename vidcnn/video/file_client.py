"""The decoding process's side of reading: asks its parent for files, which it cannot open itself.

What it is going to need next it asks for early (`expect`), so that the parent opens that while this process decodes.
"""

from __future__ import annotations

import json
import os
import pickle
import socket
import struct
import threading
from collections import deque
from collections.abc import Iterable
from io import FileIO
from typing import Any

from vidcnn.errors import StorageError
from vidcnn.storage.uris import is_remote

HEADER = struct.Struct("<IB")
"""Bytes of an answer's pickle, and how many descriptors come along."""
LENGTH = struct.Struct("<I")
"""Bytes of a question's JSON."""
NUM_AHEAD = 32
"""Files that are open before they are needed."""

_client: FileClient | None = None


class FileClient:
    """Asks for files.

    Args:
        channel: This process's end of the socket to a `vidcnn.video.file_server.FileServer`.
    """

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._lock = threading.Lock()
        self._asked: deque[str | None] = deque()  # what is answered next; None for what nobody wants any more
        self._ready: dict[str, int | Exception] = {}
        self._kept: tuple[str, int] | None = None

    def begin(self) -> None:
        """Forget what was asked for before, and is not what it was."""
        with self._lock:
            self._asked = deque(None for _ in self._asked)
            for answer in self._ready.values():
                if isinstance(answer, int):
                    os.close(answer)
            self._ready.clear()
            self._forget_kept()

    def expect(self, locations: Iterable[str]) -> None:
        """Ask for files that will be opened next, in this order; those in object storage are left out."""
        with self._lock:
            known = len(self._asked) + len(self._ready)
            if known > NUM_AHEAD // 2:
                return
            wanted: list[str] = []
            kept = self._kept[0] if self._kept is not None else None
            for location in locations:
                if known + len(wanted) >= NUM_AHEAD:
                    break
                if not (is_remote(location) or location in (kept, *wanted, *self._ready, *self._asked)):
                    wanted.append(location)
            if wanted:
                self._ask_to_open(wanted)

    def open(self, location: str) -> Any:
        """Return a file or an object as a binary stream.

        Raises:
            VideoError: It is no regular file, or does not exist.
            StorageError: It cannot be opened now.
            OSError: The object storage refuses it.
        """
        if is_remote(location):
            return RemoteStream(self._stream(location))
        with self._lock:
            if self._kept is None or self._kept[0] != location:
                descriptor = self._descriptor(location)
                self._forget_kept()
                self._kept = location, descriptor
            os.lseek(self._kept[1], 0, os.SEEK_SET)
            return FileIO(os.dup(self._kept[1]))

    def version(self, location: str) -> tuple[int, int]:
        """Return the size in bytes and the modification time in nanoseconds of a file.

        Raises:
            VideoError: It does not exist, or cannot be reached through its own fault.
            StorageError: The storage does not answer.
        """
        size, mtime = self._ask("version", location)
        return int(size), int(mtime)

    def list_folder(self, location: str) -> list[str]:
        """Return the names of what is in a folder.

        Raises:
            OSError: It cannot be listed.
        """
        names: list[str] = self._ask("list", location)
        return names

    def ask(self, question: list[Any], content: Iterable[bytes | memoryview] = ()) -> Any:
        """Ask over the first socket, and return the answer; those to earlier questions are kept.

        Args:
            question: Any question but ``open``, with what it is about.
            content: What is sent after it.

        Raises:
            Exception: What the parent answered.
        """
        with self._lock:
            _send_question(self._channel, question)
            for part in content:
                self._channel.sendall(part)
            while self._asked:
                self._take()
            value, descriptor = _take_answer(self._channel)
        return _raised(value) if descriptor is None else descriptor

    def _ask(self, kind: str, location: str) -> Any:
        if is_remote(location):
            with self._stream(location) as channel:
                _send_question(channel, [kind, location])
                return _raised(_take_answer(channel)[0])
        return self.ask([kind, location])

    def _stream(self, location: str) -> socket.socket:
        descriptor = self.ask(["read", location])
        assert isinstance(descriptor, int)
        return socket.socket(fileno=descriptor)

    def _descriptor(self, location: str) -> int:
        if location not in self._ready:
            if location not in self._asked:
                self._ask_to_open([location])
            while location not in self._ready:
                self._take()
        descriptor: int = _raised(self._ready.pop(location))
        return descriptor

    def _ask_to_open(self, locations: list[str]) -> None:
        _send_question(self._channel, ["open", locations])
        self._asked.extend(locations)

    def _take(self) -> None:
        """Take the next answer to a question for a file."""
        value, descriptor = _take_answer(self._channel)
        location = self._asked.popleft()
        if location is not None:
            self._ready[location] = value if descriptor is None else descriptor
        elif descriptor is not None:
            os.close(descriptor)

    def _forget_kept(self) -> None:
        if self._kept is not None:
            os.close(self._kept[1])
            self._kept = None


class AskedEntries:
    """Entries that the parent reads and keeps for this process.

    Args:
        asking: Asks it.
    """

    def __init__(self, asking: FileClient) -> None:
        self._asking = asking

    def open(self, name: str) -> int:
        """Open an entry for reading, and return a descriptor, to be closed.

        Raises:
            OSError: There is none.
        """
        descriptor: int = self._asking.ask(["entry", name])
        return descriptor

    def has_room(self, num_bytes: int) -> bool:
        """Return whether an entry of a size can be kept."""
        return bool(self._asking.ask(["room", num_bytes]))

    def keep(self, name: str, num_bytes: int, content: Iterable[bytes | memoryview]) -> bool:
        """Keep an entry of `num_bytes`, and return whether the parent could."""
        return bool(self._asking.ask(["keep", [name, num_bytes]], content))


class RemoteStream:
    """An object in object storage, which the parent reads.

    Args:
        channel: The socket to the parent's thread that does so; it is closed with the stream.

    Raises:
        OSError: The object storage refuses it.
    """

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._place = 0
        try:
            self._size = int(self._ask(["open", None]))
        except BaseException:
            channel.close()
            raise

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place, and return it."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._size}[whence]
        self._place = base + offset
        return self._place

    def tell(self) -> int:
        """Return the current place."""
        return self._place

    def read(self, size: int) -> bytes:
        """Return the next bytes.

        Raises:
            OSError: The object storage does not give them.
        """
        data: bytes = self._ask([self._place, size])
        self._place += len(data)
        return data

    def close(self) -> None:
        """Let the parent close the object."""
        self._channel.close()

    def _ask(self, question: list[Any]) -> Any:
        _send_question(self._channel, question)
        return _raised(_take_answer(self._channel)[0])


def connect(channel: socket.socket) -> None:
    """Let this process ask its parent for files from now on."""
    global _client
    _client = FileClient(channel)


def client() -> FileClient | None:
    """Return what asks for files; None where this process opens them itself."""
    return _client


def expect(locations: Iterable[str]) -> None:
    """Say which files will be opened next; where this process opens them itself, that does nothing."""
    if _client is not None:
        _client.expect(locations)


def _send_question(channel: socket.socket, question: Any) -> None:
    content = json.dumps(question).encode()
    channel.sendall(LENGTH.pack(len(content)) + content)


def _take_answer(channel: socket.socket) -> tuple[Any, int | None]:
    """Return an answer, and the descriptor that came along."""
    head, descriptors, _, _ = socket.recv_fds(channel, HEADER.size, 1)
    while 0 < len(head) < HEADER.size:
        head += channel.recv(HEADER.size - len(head))
    if len(head) < HEADER.size:
        raise StorageError("the process that opens files has gone")
    size, _ = HEADER.unpack(head)
    content = bytearray()
    while len(content) < size:
        part = channel.recv(min(size - len(content), 1 << 20))
        if not part:
            raise StorageError("the process that opens files has gone")
        content += part
    return pickle.loads(content), descriptors[0] if descriptors else None


def _raised(answer: Any) -> Any:
    if isinstance(answer, Exception):
        raise answer
    return answer
