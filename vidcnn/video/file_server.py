"""The parent's side of reading: opens files for a decoding process that may open none.

A thread answers what the process asks for over a socket. It gets the descriptor of a local file, opened for reading.
Of an object in object storage it gets a socket, over which another thread reads for it. What it asks for is refused
unless it is granted, for the process may have been taken over by what it read. What it made of videos it may let keep.

    asked                    answered                                    over
    open, locations          for each, in order: a descriptor, or why    the first socket
    read, location           a socket                                    the first socket
    version or list          what it says, or why not                    either
    entry, name              a descriptor, or why not                    the first socket
    room, size               whether an entry of it can be kept          the first socket
    keep, name, size; bytes  whether it was kept                         the first socket
    open; then offset, size  the size; then bytes                        the socket of an object
"""

from __future__ import annotations

import json
import os
import pickle
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

from vidcnn.errors import StorageError, VidcnnError, VideoError
from vidcnn.storage.uris import is_remote
from vidcnn.video import files, frame_folders
from vidcnn.video.file_client import HEADER, LENGTH
from vidcnn.video.grants import NOTHING, EntryStore, Grant

_MAX_QUESTION_BYTES = 1 << 20
_MAX_READ_BYTES = 1 << 26
_PART_BYTES = 1 << 20
_MAX_STREAMS = 256
"""Objects that are read at once."""
_ENDING_SECONDS = 2.0
"""How long to wait for threads: one that reads from storage which does not answer ends only when that does."""


class FileServer:
    """Answers a decoding process.

    Args:
        channel: The parent's end of a socket; it is closed with the server.

    Attributes:
        grant: What may be read now.
    """

    def __init__(self, channel: socket.socket) -> None:
        self.grant: Grant = NOTHING
        self._channel = channel
        self._streams: dict[socket.socket, threading.Thread] = {}
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._serve, daemon=True, name="files")
        self._thread.start()

    def close(self) -> None:
        """Answer nothing more, and wait until what was open for the process is closed."""
        deadline = time.monotonic() + _ENDING_SECONDS
        _wake(self._channel)
        self._thread.join(deadline - time.monotonic())  # from here on no stream is added
        with self._lock:
            streams = dict(self._streams)
            for channel in streams:
                _wake(channel)
        for thread in streams.values():
            thread.join(max(0.0, deadline - time.monotonic()))

    def _serve(self) -> None:
        with self._channel:
            _answer_all(self._channel, self._answer)

    def _answer(self, question: Any) -> None:
        kind, where = question
        if kind == "open":
            for location in map(str, where):
                self._hand_over(partial(self._open, location))
        elif kind == "read":
            self._read(str(where))
        elif kind == "entry":
            self._hand_over(lambda: self._entries().open(str(where)))
        elif kind == "room":
            send_answer(self._channel, _outcome(lambda: self._entries().has_room(int(where))))
        elif kind == "keep":
            name, size = where
            self._keep(str(name), int(size))
        else:
            send_answer(self._channel, _outcome(lambda: self._ask(kind, str(where))))

    def _open(self, location: str) -> int:
        self._check(self.grant.allows(location) and not is_remote(location))
        return files.open_descriptor(location, self.grant.root_of(location))

    def _hand_over(self, opened: Callable[[], int]) -> None:
        try:
            descriptor = opened()
        except Exception as error:
            send_answer(self._channel, _plain(error))
            return
        try:
            send_answer(self._channel, None, descriptor)
        finally:
            os.close(descriptor)

    def _keep(self, name: str, num_bytes: int) -> None:
        content = _parts(self._channel, num_bytes)
        is_kept = _outcome(lambda: self._entries().keep(name, num_bytes, content))
        for _ in content:
            pass  # what was not kept comes all the same
        send_answer(self._channel, is_kept)

    def _entries(self) -> EntryStore:
        self._check(self.grant.entries is not None)
        assert self.grant.entries is not None
        return self.grant.entries

    def _read(self, location: str) -> None:
        mine, its = socket.socketpair()
        with its:
            arguments = (mine, location, self.grant)
            thread = threading.Thread(target=self._serve_stream, args=arguments, daemon=True, name="object")
            with self._lock:
                if is_granted := len(self._streams) < _MAX_STREAMS:
                    thread.start()  # it cannot end before the lock is free
                    self._streams[mine] = thread
            if not is_granted:
                mine.close()
            send_answer(self._channel, location, its.fileno())

    def _serve_stream(self, channel: socket.socket, location: str, grant: Grant) -> None:
        stream: Any = None

        def answer(question: Any) -> None:
            nonlocal stream
            match question:
                case ["open", None]:
                    self._check(grant.allows(location) and is_remote(location))
                    stream = files.open_stream(location)
                    value: Any = int(stream.seek(0, os.SEEK_END) or stream.tell())
                case [int(offset), int(size)]:
                    self._check(stream is not None and offset >= 0 and 0 <= size <= _MAX_READ_BYTES)
                    stream.seek(offset)
                    value = bytes(stream.read(size))
                case [kind, _]:
                    value = self._ask(kind, location, grant)
            send_answer(channel, value)

        def answer_or_tell(question: Any) -> None:
            try:
                answer(question)
            except (BrokenPipeError, ConnectionResetError):
                raise
            except Exception as error:
                send_answer(channel, _plain(error))

        try:
            _answer_all(channel, answer_or_tell)
        finally:
            with suppress(Exception):
                if stream is not None:
                    stream.close()
            self._drop(channel)

    def _drop(self, channel: socket.socket) -> None:
        with self._lock:
            self._streams.pop(channel, None)
        channel.close()

    def _ask(self, kind: Any, location: str, grant: Grant | None = None) -> Any:
        given = grant or self.grant
        if kind == "version":
            self._check(given.allows(location) or given.allows_listing(location))
            return files.file_version(location, given.root_of(location))
        self._check(kind == "list" and given.allows_listing(location))
        return frame_folders.list_folder(location)

    def _check(self, is_granted: bool) -> None:
        if not is_granted:
            raise StorageError("the decoding process asked for a file that is not one of its videos")


def _wake(channel: socket.socket) -> None:
    """End a connection, so that the thread which waits for the next question closes it."""
    with suppress(OSError):
        channel.shutdown(socket.SHUT_RDWR)


def send_answer(channel: socket.socket, value: Any, descriptor: int | None = None) -> None:
    """Send an answer to the process.

    Raises:
        OSError: It has gone.
    """
    content = pickle.dumps(value, protocol=5)
    message = HEADER.pack(len(content), descriptor is not None) + content
    if descriptor is None:
        channel.sendall(message)
        return
    sent = socket.send_fds(channel, [message], [descriptor])
    if sent < len(message):
        channel.sendall(message[sent:])


def _answer_all(channel: socket.socket, answer: Callable[[Any], None]) -> None:
    """Answer questions until the process goes, or asks what it cannot ask."""
    with suppress(OSError, EOFError, ValueError, TypeError, RecursionError):
        while True:
            (size,) = LENGTH.unpack(_exactly(channel, LENGTH.size))
            if size > _MAX_QUESTION_BYTES:
                return
            answer(json.loads(_exactly(channel, size)))


def _outcome(ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except Exception as error:
        return _plain(error)


def _plain(error: Exception) -> Exception:
    """Return an error that the process can take without loading anything."""
    if isinstance(error, VideoError | VidcnnError):
        return error
    arguments = [one if isinstance(one, str | int | None) else str(one) for one in error.args]
    for base in type(error).__mro__:
        if base.__module__ == "builtins":
            with suppress(TypeError):  # some take only what they were made of, such as bytes
                plain: Exception = base(*arguments)
                return plain
    return OSError(str(error))


def _parts(channel: socket.socket, size: int) -> Iterator[bytes]:
    """Yield the next bytes, as they come.

    Raises:
        EOFError: The process has gone.
    """
    while size > 0:
        part = channel.recv(min(size, _PART_BYTES))
        if not part:
            raise EOFError
        size -= len(part)
        yield part


def _exactly(channel: socket.socket, size: int) -> bytes:
    return b"".join(_parts(channel, size))
