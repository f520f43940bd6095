"""Tables of videos in a file, so that very many take no place in memory, and other processes can read along.

One thread appends tables; any number of readers yield all of them from the first on, each as soon as it is there, here
or in another process of this machine. Tables are compressed, for names of videos are alike: some 20 bytes a video::

    length | table | length | table | ... | 0

Each length is of 8 bytes, little-endian; a length of 0 is the end. What is appended is never changed, so a reader that
begins again reads the same tables in the same order.

Locations of videos may have logins, which are not to be on any disk. So tables are encrypted there, with a key that is
in memory alone: each is XORed with what SHAKE-256 makes of the key and the table's number (FIPS 202, 6.2).
"""

from __future__ import annotations

import hashlib
import os
import secrets
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa

from vidcnn.errors import StorageError, describe_reason

_LENGTH = struct.Struct("<Q")
_OPTIONS = pa.ipc.IpcWriteOptions(compression="zstd")
_POLL_SECONDS = 0.02
_FEW_TABLES = 128
_KEY_BYTES = 32


class Spool:
    """A file of tables that is being written.

    Args:
        path: The file; it must not be there yet.

    Attributes:
        path: The file.
        key: What readers need besides.
        num_tables: Tables that were appended.

    Raises:
        StorageError: It cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.key = secrets.token_bytes(_KEY_BYTES)
        self.num_tables = 0
        self._has_ended = self._is_broken = False
        try:
            self._file = open(path, "xb", buffering=0)  # noqa: SIM115 - it is kept open
        except OSError as error:
            raise _unwritten(error) from error

    def append(self, table: pa.Table) -> None:
        """Add a table.

        Raises:
            StorageError: It cannot be written.
        """
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema, options=_OPTIONS) as writer:
            writer.write_table(table)
        content = _masked(sink.getvalue().to_pybytes(), self.key, self.num_tables)
        self._write(_LENGTH.pack(len(content)) + content)
        self.num_tables += 1

    @property
    def is_short(self) -> bool:
        """Whether all tables are there, and they are few."""
        return self._has_ended and self.num_tables <= _FEW_TABLES

    def end(self) -> None:
        """Tell readers that there are no more tables.

        Raises:
            StorageError: It cannot be written.
        """
        if not self._has_ended and not self._is_broken:
            self._write(_LENGTH.pack(0))
            self._has_ended = True

    def close(self) -> None:
        """End it if it has not, and close it; what was written can still be read."""
        try:
            self.end()
        finally:
            self._file.close()

    def __iter__(self) -> Iterator[pa.Table]:
        """Yield the tables, each when it is there, until the end."""
        return map(load_table, read_spool(self.path, self.key))

    def _write(self, content: bytes) -> None:
        view = memoryview(content)
        try:
            while view:
                view = view[self._file.write(view) :]
        except OSError as error:
            self._is_broken = True
            with suppress(OSError):
                self.path.unlink()  # so readers learn that no more will come
            raise _unwritten(error) from error


def read_spool(path: Path, key: bytes) -> Iterator[bytes]:
    """Yield the tables of a spool as they are written, each when it is there, until its end or until it is removed.

    Args:
        path: Its file.
        key: Its key.

    Raises:
        OSError: It cannot be read.
    """
    with open(path, "rb", buffering=0) as file:
        for number in count():
            head = _read(file, _LENGTH.size)
            length = _LENGTH.unpack(head)[0] if head else 0
            content = _read(file, length) if length else b""
            if not content:
                return
            yield _masked(content, key, number)


def load_table(content: bytes) -> pa.Table:
    """Return a table that `read_spool` yielded."""
    with pa.ipc.open_stream(content) as reader:
        return reader.read_all()


def _masked(content: bytes, key: bytes, number: int) -> bytes:
    """Encrypt a table, or decrypt it: to do it twice gives the table again."""
    mask = hashlib.shake_256(key + number.to_bytes(8, "little")).digest(len(content))
    return (np.frombuffer(content, np.uint8) ^ np.frombuffer(mask, np.uint8)).tobytes()


def _read(file: IO[bytes], size: int) -> bytes:
    """Read a number of bytes, and wait for those that are not there yet; return none where the file was removed."""
    content = file.read(size)
    while len(content) < size:
        is_removed = not os.fstat(file.fileno()).st_nlink
        time.sleep(_POLL_SECONDS)
        more = file.read(size - len(content))
        if is_removed and not more:
            return b""
        content += more
    return content


def _unwritten(error: OSError) -> StorageError:
    return StorageError(
        f"the list of videos to do cannot be kept: {describe_reason(error)}",
        "it is kept in the folder of temporary files: make room there, or name another in TMPDIR",
    )
