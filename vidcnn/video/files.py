"""The bytes of a video, wherever it lies.

In goes a location, out come a file's size and version, some of its bytes, or an object through which libav can read it.
"""

from __future__ import annotations

import errno
import os
import stat
from io import FileIO
from typing import Any

from vidcnn.errors import VideoError
from vidcnn.storage import is_remote, local_path, open_filesystem
from vidcnn.video.structure import ReadAt


class ReadFile:
    """A Python file as libav wants it.

    libav probes damaged files at places that do not exist, and reads on after a failure. The first is answered with an
    error number and the second with the end of the file; the failure itself is raised once.

    Args:
        file: A binary file that can seek; it is closed with this object.
    """

    def __init__(self, file: Any) -> None:
        self._file = file
        self._has_failed = False

    def read(self, size: int) -> bytes:
        """Return the next bytes, none at the end of the file."""
        if self._has_failed:
            return b""
        try:
            return bytes(self._file.read(size))
        except Exception:
            self._has_failed = True
            raise

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place, and return it; a negative number where it does not exist."""
        try:
            return int(self._file.seek(offset, whence))
        except (OSError, ValueError, OverflowError):
            return -errno.EINVAL

    def tell(self) -> int:
        """Return the current place."""
        return int(self._file.tell())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def open_for_libav(location: str) -> tuple[int, ReadFile | None]:
    """Look whether a location is a regular file that can be read.

    Returns:
        The file's size in bytes; the open file where libav cannot open the location itself, else None.

    Raises:
        VideoError: `unreadable`: it is no regular file, or empty.
        OSError: It cannot be opened.
    """
    if is_remote(location):
        filesystem, path = open_filesystem(location)
        remote = filesystem.open_input_file(path)
        size_bytes = remote.size()
        if size_bytes == 0:
            remote.close()
            raise VideoError("unreadable", "the file is empty")
        return size_bytes, ReadFile(remote)
    path = local_path(location)
    status = os.stat(path)
    if stat.S_ISDIR(status.st_mode):
        raise VideoError("unreadable", "it is a folder, and not one of numbered frames")
    if not stat.S_ISREG(status.st_mode):
        raise VideoError("unreadable", "it is not a regular file")
    if status.st_size == 0:
        raise VideoError("unreadable", "the file is empty")
    # Paths that are not UTF-8 cannot be handed to libav, and in some it would expand patterns such as %d.
    if "%" in path or not _is_utf8(path):
        return status.st_size, open_local(path)
    with open(path, "rb"):  # a permission that is lacking is told better by Python than by libav
        return status.st_size, None


def open_local(path: str) -> ReadFile:
    """Open a local file for libav."""
    return ReadFile(FileIO(path))


def file_version(location: str) -> tuple[int, int]:
    """Return the size in bytes and the modification time in nanoseconds of a file.

    Raises:
        OSError: It does not exist or cannot be reached.
    """
    if not is_remote(location):
        status = os.stat(local_path(location))
        return status.st_size, status.st_mtime_ns
    from pyarrow.fs import FileType

    filesystem, path = open_filesystem(location)
    info = filesystem.get_file_info(path)
    if info.type == FileType.NotFound:
        raise FileNotFoundError(location)
    return int(info.size or 0), int(info.mtime_ns or 0)


def read_at(location: str) -> ReadAt:
    """Return a function that reads bytes of a file: ``read(offset, length)``."""

    def read(offset: int, length: int) -> bytes:
        if is_remote(location):
            filesystem, path = open_filesystem(location)
            with filesystem.open_input_file(path) as file:
                file.seek(offset)
                return bytes(file.read(length))
        with open(local_path(location), "rb") as file:
            file.seek(offset)
            return file.read(length)

    return read


def _is_utf8(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
