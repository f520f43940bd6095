"""The bytes of a video, wherever it is.

Takes a location, returns a file's size and version, some of its bytes, or an object through which libav reads it.
libav opens no file itself: it takes a read that fails for the end of the file, and so would a plan.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from io import FileIO
from itertools import cycle
from typing import Any

from vidcnn.errors import StorageError, VideoError
from vidcnn.sources.fence import open_inside, status_inside
from vidcnn.storage.faults import video_fault
from vidcnn.storage.retrying import RetryPolicy, retrying
from vidcnn.storage.uris import is_remote, local_path, open_filesystem
from vidcnn.video import file_client
from vidcnn.video.cell_status import reading
from vidcnn.video.structure import ReadAt

_LOCAL_BUFFER_BYTES = 1 << 16
_REMOTE_BUFFER_BYTES = 1 << 20
"""Bytes asked of object storage at a time: a request costs some milliseconds whatever its size."""

_TAIL_BYTES = 64
_ASKS_SIZE = 0x10000
"""libav's AVSEEK_SIZE: return the size and stay."""

READ_TRIES = RetryPolicy(num_tries=3, first_wait_seconds=0.2)
"""How often the same bytes are asked for; a video that fails is then tried again as a whole."""


class _BadAnswerError(StorageError):
    """Bytes did not come, and are worth another try at once."""


class ObjectStream:
    """An object in object storage as a binary stream, in which bytes that did not come are others each time.

    Arrow leaves what its memory contained in the place of bytes that the storage owes, which may be those of another
    object, or even the right ones of a read before.

    Args:
        stream: Arrow's file.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._fillers = cycle((b"\x55", b"\xaa"))

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> Any:
        """Go to a place, as in any stream."""
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        """Return the current place."""
        return int(self._stream.tell())

    def read(self, size: int) -> bytes:
        """Return the next bytes."""
        buffer = bytearray(next(self._fillers) * size)
        return bytes(memoryview(buffer)[: self._stream.readinto(buffer)])

    def close(self) -> None:
        """Close it."""
        self._stream.close()


class VideoFile:
    """An open file as libav wants it, which notes what goes wrong with the storage.

    libav probes damaged files at places that do not exist, and reads on after a failure. The first is answered with an
    error number and the second with the end of the file. The failure itself is kept: what was read after it, and what
    libav made of it, means nothing (`raise_failure`).

    Args:
        location: Absolute path or URI.
        open_stream: Opens the binary stream again.
        policy: How often a read is tried.
        root: Folder that its symbolic links must not lead out of; None lets them lead anywhere.

    Attributes:
        root: The same.
        size_bytes: Size of the file when it was opened.
        buffer_bytes: How much libav should ask for at a time.

    Raises:
        VideoError: It is no regular file, or it is empty, or may not be read, or does not exist.
        StorageError: It cannot be opened now.
    """

    def __init__(
        self,
        location: str,
        open_stream: Callable[[], Any],
        policy: RetryPolicy = READ_TRIES,
        root: str | None = None,
    ) -> None:
        self._location = location
        self.root = root
        self._open_stream = open_stream
        self._policy = policy
        self._failure: VideoError | StorageError | None = None
        self._place = 0
        try:
            with reading():
                self._stream = open_stream()
                self.size_bytes = int(self._stream.seek(0, os.SEEK_END) or self._stream.tell())
                self._stream.seek(0)
        except (OSError, ValueError) as error:
            raise video_fault(error, location) from error
        self.buffer_bytes = _REMOTE_BUFFER_BYTES if is_remote(location) else _LOCAL_BUFFER_BYTES

    def read(self, size: int) -> bytes:
        """Return the next bytes; none at the end of the file, and none after a failure."""
        if self._failure is not None:
            return b""
        wanted = min(size, self.size_bytes - self._place)
        if wanted <= 0:
            return b""
        try:
            data = retrying(
                lambda: self._read_all(wanted),
                policy=self._policy,
                is_passing=lambda error: isinstance(error, _BadAnswerError),
            )
        except (StorageError, VideoError) as error:
            self._failure = error
            raise
        self._place += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place, and return it; a negative number where it does not exist."""
        if whence & _ASKS_SIZE:
            return self.size_bytes
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self.size_bytes}.get(whence)
        if base is None or not 0 <= base + offset < 2**63:
            return -errno.EINVAL
        self._place = base + offset
        return self._place

    def tell(self) -> int:
        """Return the current place."""
        return self._place

    def raise_failure(self) -> None:
        """Raise what went wrong with the storage, if anything did.

        Raises:
            StorageError: Bytes could not be read.
            VideoError: `changed`: the file became shorter.
        """
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        """Close the file."""
        with suppress(OSError):
            self._stream.close()

    def _read_all(self, wanted: int) -> bytes:
        """Read as many bytes as the file must have at the current place.

        Raises:
            StorageError: They did not come.
            VideoError: `changed`: they are no longer there.
        """
        try:
            with reading():
                self._stream.seek(self._place)
                data = bytes(self._stream.read(wanted))
                while len(data) < wanted and (more := self._stream.read(wanted - len(data))):
                    data += more
                if len(data) == wanted and (not is_remote(self._location) or self._ends_right(data)):
                    return data
                if not is_remote(self._location) and os.stat(local_path(self._location)).st_size < self.size_bytes:
                    raise VideoError("changed", "the file became shorter while it was read")
        except (OSError, ValueError) as error:
            self._reopen()
            # A client of object storage has asked several times before it raises anything.
            kind = StorageError if is_remote(self._location) else _BadAnswerError
            raise kind(str(video_fault(error, self._location))) from error
        self._reopen()
        raise _BadAnswerError(f"it cannot be read: the storage does not give the {wanted} bytes from {self._place} on")

    def _ends_right(self, data: bytes) -> bool:
        """Return whether the last bytes of an answer are those that are there.

        Where object storage answers with fewer bytes than it was asked for, Arrow says that all came. To ask for the
        end once more shows that, as `ObjectStream` has other bytes there each time.
        """
        tail = data[-_TAIL_BYTES:]
        self._stream.seek(self._place + len(data) - len(tail))
        return bool(self._stream.read(len(tail)) == tail)

    def _reopen(self) -> None:
        """Make another connection for the next try, where there can be one."""
        if is_remote(self._location):
            with suppress(OSError, ValueError, StorageError):
                stream = self._open_stream()
                self.close()
                self._stream = stream


def open_file(location: str, root: str | None = None) -> VideoFile:
    """Open a regular file for libav.

    Args:
        location: Absolute path or URI.
        root: Folder that its symbolic links must not lead out of; None lets them lead anywhere.

    Raises:
        VideoError: `unreadable`: it is no regular file, or empty, or its owner allows nobody to read it; `changed`: it
            does not exist; `unsafe`: it is out of the root.
        StorageError: It cannot be opened now.
    """
    if (opener := file_client.client()) is not None:
        file = VideoFile(location, lambda: opener.open(location), root=root)
    elif is_remote(location):
        file = VideoFile(location, partial(open_stream, location))
    else:
        file = VideoFile(location, lambda: FileIO(open_descriptor(location, root)), root=root)
    if file.size_bytes == 0:
        file.close()
        raise VideoError("unreadable", "the file is empty")
    return file


def open_descriptor(location: str, root: str | None = None) -> int:
    """Open a local file, for this process or for another one, and return its descriptor.

    Args:
        location: Absolute path.
        root: As for `open_file`.

    Raises:
        VideoError: It is no regular file, or its owner allows nobody to read it; it does not exist; or it is out of the
            root.
        StorageError: It cannot be opened now.
    """
    path = local_path(location)
    try:
        return open_inside(path, root)
    except (OSError, ValueError) as error:
        fault = video_fault(error, location)
        if isinstance(fault, VideoError) and fault.kind == "changed" and os.path.islink(path):
            raise VideoError("unreadable", "it is a broken symbolic link") from error
        raise fault from error


def open_stream(location: str) -> Any:
    """Open an object in object storage, for this process or for another one, and return its binary stream.

    Raises:
        VideoError: Its location means nothing.
        StorageError: The storage cannot be reached.
        OSError: The storage refuses it.
    """
    filesystem, path = _filesystem(location)
    return ObjectStream(filesystem.open_input_file(path))


def file_version(location: str, root: str | None = None) -> tuple[int, int]:
    """Return the size in bytes and the modification time in nanoseconds of a file.

    Args:
        location: Absolute path or URI.
        root: As for `open_file`.

    Raises:
        VideoError: `changed`: it does not exist; `unreadable`: it cannot be reached through its own fault; `unsafe`: it
            is out of the root.
        StorageError: The storage does not answer.
    """
    opener = file_client.client()
    try:
        if not is_remote(location):
            path = local_path(location)
            # A process that is confined may not look for where links lead. Who opens files for it does.
            status = status_inside(path, root) if opener is None else os.stat(path)
            return status.st_size, status.st_mtime_ns
        if opener is not None:
            with reading():
                return opener.version(location)
        filesystem, path = _filesystem(location)
        with reading():
            info = filesystem.get_file_info(path)
    except (OSError, ValueError) as error:
        if opener is not None and not is_remote(location):
            return opener.version(location)  # why, only who may look around can tell
        raise video_fault(error, location) from error
    from pyarrow.fs import FileType

    if info.type == FileType.NotFound:
        raise VideoError("changed", "the file does not exist")
    return int(info.size or 0), int(info.mtime_ns or 0)


def read_at(location: str, root: str | None = None) -> ReadAt:
    """Return a function that reads bytes of a file: ``read(offset, length)``.

    It raises what `open_file` raises, and a `StorageError` where bytes that must be there do not come.
    """

    def read(offset: int, length: int) -> bytes:
        file = open_file(location, root)
        try:
            return file.read(length) if file.seek(offset) >= 0 else b""
        finally:
            file.close()

    return read


def _filesystem(location: str) -> tuple[Any, str]:
    try:
        return open_filesystem(location)
    except ValueError as error:
        raise VideoError("unreadable", str(error)) from error
    except OSError as error:
        raise StorageError(str(video_fault(error, location))) from error
