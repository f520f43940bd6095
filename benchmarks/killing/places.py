"""Where the table is written, and what can be seen of it from outside: on a disk, or in object storage.

A `Place` tells events in the order in which they happen. On a disk the kernel tells them (inotify(7)), and the command
has to be stopped at once; a server of object storage can let its client wait. `hold` does either::

    event           a file output               a folder output
    writing         a part is being written     the same
    aside           it is written, not renamed  the same (on a disk)
    written         a part is there             the same
    merging         the file is being written   -
    merged          the file is there           -
    clearing        a part is deleted           -
"""

from __future__ import annotations

import ctypes
import os
import select
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from killing.server import BUCKET, Server

_IN_CLOSE_WRITE, _IN_MOVED_FROM, _IN_MOVED_TO, _IN_CREATE, _IN_DELETE = 0x8, 0x40, 0x80, 0x100, 0x200
_EVENT = struct.Struct("iIII")


class Place(Protocol):
    """The output of some runs.

    Attributes:
        out: What ``--out`` names.
        storage: ``local`` or ``s3``.
        is_file: Whether the table is a single file.
    """

    out: str
    storage: str
    is_file: bool

    def prepare(self) -> None:
        """Take note of what earlier runs left, before another one starts."""

    def is_begun(self) -> bool:
        """Tell whether the run that was started since has taken hold of the output."""

    def events(self, seconds: float) -> list[str]:
        """Wait for events, and return them; those of object storage wait for `let_on`."""

    def let_on(self) -> None:
        """Let what waits happen."""

    def read(self) -> pa.Table:
        """Return all rows that are committed, as a later run would find them."""

    def close(self) -> None:
        """Watch no longer."""


def read_table(path: str, filesystem: Any = None) -> pa.Table:
    """Read a file of predictions, with kinds of errors by name: their numbers depend on which came first."""
    table = pq.read_table(path, filesystem=filesystem, partitioning=None)
    index = table.schema.get_field_index("error_kind")
    table = table.set_column(index, "error_kind", table["error_kind"].cast(pa.string()))
    return table.replace_schema_metadata(None)


def on_disk(folder: Path, name: str) -> Place:
    """Return a table in a folder; a name in ``.parquet`` makes it a single file."""
    return _Disk(folder, name)


def in_bucket(server: Server, name: str) -> Place:
    """Return a table in the bucket of a server; a name in ``.parquet`` makes it a single file."""
    return _Bucket(server, name)


class _Disk(Place):
    storage = "local"

    def __init__(self, folder: Path, name: str) -> None:
        self._path = folder / name
        self.out = str(self._path)
        self.is_file = name.endswith(".parquet")
        self._hidden = folder / f".{name}.vidcnn"
        self._hidden.mkdir()  # as a killed run leaves it: it can be watched from the start
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._inotify = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        self._watched: int | None = None
        self._lock: bytes = b""

    def prepare(self) -> None:
        self._lock = self._read_lock()
        self.events(0)

    def is_begun(self) -> bool:
        return self._read_lock() not in (b"", self._lock)

    def events(self, seconds: float) -> list[str]:
        self._watch()
        if not select.select([self._inotify], [], [], seconds)[0]:
            return []
        data = os.read(self._inotify, 1 << 16)
        found, offset = [], 0
        while offset < len(data):
            _, mask, _, size = _EVENT.unpack_from(data, offset)
            name = data[offset + _EVENT.size : offset + _EVENT.size + size].rstrip(b"\0").decode()
            offset += _EVENT.size + size
            if (event := self._event(name, mask)) is not None:
                found.append(event)
        return found

    def let_on(self) -> None:
        pass

    def read(self) -> pa.Table:
        parts = [path for folder in self._part_folders() for path in folder.glob("part-*.parquet")]
        return _read_files([str(path) for path in parts], self.out if self.is_file else None, fs.LocalFileSystem())

    def close(self) -> None:
        os.close(self._inotify)

    def _read_lock(self) -> bytes:
        with suppress(OSError):
            return (self._hidden / "lock").read_bytes()
        return b""

    def _part_folders(self) -> list[Path]:
        return [folder for folder in (self._hidden if self.is_file else self._path,) if folder.is_dir()]

    def _watch(self) -> None:
        """Watch the hidden directory, which a run that ends well takes away."""
        with suppress(OSError):
            inode = self._hidden.stat().st_ino
            if inode != self._watched:
                mask = _IN_CLOSE_WRITE | _IN_MOVED_FROM | _IN_MOVED_TO | _IN_CREATE | _IN_DELETE
                self._libc.inotify_add_watch(self._inotify, os.fsencode(self._hidden), mask)
                self._watched = inode

    def _event(self, name: str, mask: int) -> str | None:
        """Say what it means that a name appeared in, or went from, the hidden directory."""
        is_final = self.is_file and self._path.name in name
        if name.startswith("tmp-") and (is_final or "part-" in name):
            if mask & _IN_CREATE:
                return "merging" if is_final else "writing"
            if mask & _IN_CLOSE_WRITE:
                return None if is_final else "aside"
            if mask & _IN_MOVED_FROM:
                return "merged" if is_final else "written"
        if name.startswith("part-") and mask & _IN_DELETE:
            return "clearing"
        return None


class _Bucket(Place):
    storage = "s3"

    def __init__(self, server: Server, name: str) -> None:
        self._server = server
        self._name = name
        self.out = f"s3://{BUCKET}/{name}?endpoint_override={server.host}&scheme=http&region=us-east-1"
        self.is_file = name.endswith(".parquet")
        self._filesystem, _ = fs.FileSystem.from_uri(self.out)
        self._parts = f"{BUCKET}/.{name}.vidcnn" if self.is_file else f"{BUCKET}/{name}"
        self._locks: set[str] = set()
        server.watch(self._event)

    def prepare(self) -> None:
        self._locks = self._find_locks()

    def is_begun(self) -> bool:
        return not self._find_locks() <= self._locks

    def events(self, seconds: float) -> list[str]:
        event = self._server.wait(seconds)
        return [] if event is None else [event]

    def let_on(self) -> None:
        self._server.let_on()

    def read(self) -> pa.Table:
        parts = [path for path in self._list(self._parts) if "/part-" in path]
        final = f"{BUCKET}/{self._name}"
        has_final = self.is_file and self._filesystem.get_file_info(final).is_file
        return _read_files(parts, final if has_final else None, self._filesystem)

    def close(self) -> None:
        self._server.watch(None)

    def _find_locks(self) -> set[str]:
        return {path for path in self._list(f"{BUCKET}/.{self._name}.vidcnn") if "/lock" in path}

    def _list(self, folder: str) -> list[str]:
        return [info.path for info in self._filesystem.get_file_info(fs.FileSelector(folder, allow_not_found=True))]

    def _event(self, method: str, path: str, is_answered: bool) -> str | None:
        key = path.strip("/").removeprefix(f"{BUCKET}/")
        if method == "PUT" and "part-" in key:
            return "written" if is_answered else "writing"
        if method == "PUT" and self.is_file and key == self._name:
            return "merged" if is_answered else "merging"
        if self.is_file and "part-" in key and method == "DELETE" and is_answered:
            return "clearing"
        return None


def _read_files(parts: list[str], final: str | None, filesystem: Any) -> pa.Table:
    """Return the rows of the final file, or of the parts until there is one."""
    if final is not None and filesystem.get_file_info(final).is_file:
        parts = [final]
    pieces = [read_table(path, filesystem) for path in sorted(parts)]
    return pa.concat_tables(pieces) if pieces else pa.table({"video": pa.array([], pa.string()), "clip": []})
