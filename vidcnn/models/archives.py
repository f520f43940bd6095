"""Zip archives whose members are stored as they are, which is how torch writes its checkpoints.

A member that is compressed can be a thousand times as large as the file; so none is taken.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO
from zipfile import ZIP_STORED, BadZipFile, ZipFile

from vidcnn.bounds import MAX_PICKLE_BYTES
from vidcnn.models.pickles import MalformedError


@contextmanager
def open_stored(file: BinaryIO) -> Iterator[ZipFile]:
    """Open a zip archive whose members are as large as they are in it, so that reading one takes no more.

    Raises:
        MalformedError: It is none, a member is compressed, or the members are more than the file.
    """
    size_bytes = file.seek(0, os.SEEK_END)
    with called_malformed():
        _check_directory(file, size_bytes)
        archive = ZipFile(file)
    with archive:
        members = archive.infolist()
        if any(one.compress_type != ZIP_STORED or one.file_size != one.compress_size for one in members):
            raise MalformedError("its members are compressed, which torch does not do")
        if sum(one.file_size for one in members) > size_bytes:
            raise MalformedError("its members are larger than the file")
        yield archive


@contextmanager
def called_malformed() -> Iterator[None]:
    """Raise `MalformedError` for all that a damaged archive makes `zipfile` raise."""
    try:
        yield
    except (BadZipFile, EOFError, NotImplementedError, RuntimeError, struct.error, ValueError, OverflowError) as error:
        raise MalformedError(str(error) or type(error).__name__) from error
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise MalformedError("it refers to what is before its beginning") from error


def _check_directory(file: BinaryIO, size_bytes: int) -> None:
    """Refuse an archive whose table of contents alone would take much memory."""
    file.seek(max(0, size_bytes - 2**16 - 22))
    tail = file.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) < at + 22:
        raise MalformedError("it is not a whole zip archive")
    # The last 8 bytes are where the table begins, and the length of a comment. It ends before `at`.
    start = int.from_bytes(tail[at + 16 : at + 20], "little")
    length = int.from_bytes(tail[at + 12 : at + 16], "little")
    if start == 2**32 - 1 or length == 2**32 - 1:
        length = _length64(file, tail, at)
    if length > MAX_PICKLE_BYTES:
        raise MalformedError(f"its table of contents has {length:,} bytes")
    file.seek(0)


def _length64(file: BinaryIO, tail: bytes, at: int) -> int:
    """Return the length of the table of contents of an archive of more than 4 GiB."""
    if at < 20 or tail[at - 20 : at - 16] != b"PK\x06\x07":
        raise MalformedError("it is not a whole zip archive")
    file.seek(int.from_bytes(tail[at - 12 : at - 4], "little"))
    return int.from_bytes(file.read(56)[40:48], "little")
