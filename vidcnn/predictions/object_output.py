"""An output in object storage: each file is made here, read back, and put in one piece, under a lease.

A run may stand still after it has seen that the lease is its own, and go on when another run has it. So what it then
sends is refused (`vidcnn.storage.versions`). The name of a part is taken beforehand, by a part without rows: a run that
takes the lease over finds that, and deletes it, so there is nothing left that the old run could replace.
"""

from __future__ import annotations

import io
import mmap
import posixpath
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
from pyarrow import fs as pafs

from vidcnn.errors import CONTINUES, OutputBusyError, OutputError
from vidcnn.predictions.output_layout import Check, Fill, explained, is_single_file, part_names, public_line
from vidcnn.storage.locks.heartbeat import LeaseTiming
from vidcnn.storage.locks.lease import Lease
from vidcnn.storage.uris import public_location, split_uri
from vidcnn.storage.versions import OutdatedError, VersionedStore

_MARK_DIGITS = 8


class Objects:
    """An output in object storage that is only looked at; an `OutputStorage`."""

    is_view = True

    def __init__(self, out: str) -> None:
        try:
            self.store, path = VersionedStore.open(out)
            self.out = split_uri(out).public
        except (ValueError, OSError) as error:
            raise OutputError(
                f"{public_location(out)} cannot be an output: {public_line(error)}", "check the URI"
            ) from error
        self.filesystem = self.store.filesystem
        parent, name = posixpath.split(path)
        if not parent or not name:
            raise OutputError(f"{self.out} names a bucket", "name an object or a prefix inside it")
        self.hidden = f"{parent}/.{name}.vidcnn"
        self.final_path = f"{parent}/{name}" if is_single_file(name) else None
        self._parts = self.hidden if self.final_path else f"{parent}/{name}"

    def has_final(self) -> bool:
        """Return whether the single file exists."""
        with explained(self.out):
            return self.final_path is not None and self.filesystem.get_file_info(self.final_path).is_file

    def list_parts(self) -> list[str]:
        """Return the paths of the part files, sorted."""
        with explained(self.out):
            infos = self.filesystem.get_file_info(pafs.FileSelector(self._parts, allow_not_found=True))
        names = part_names([info.base_name for info in infos], self.out)
        return [self.part_path(name) for name in names]

    def part_path(self, name: str) -> str:
        """Return where the part file of a name belongs."""
        return f"{self._parts}/{name}"

    def new_part(self, digest: str) -> str:
        """Never happen: a view changes nothing."""
        raise AssertionError("a view changes nothing")

    def open(self, path: str) -> Any:
        """Open a file for random access."""
        return self.filesystem.open_input_file(path)

    def write(self, path: str, fill: Fill, check: Check, empty: Fill | None = None) -> None:
        """Never happen: a view changes nothing."""
        raise AssertionError("a view changes nothing")

    def delete(self, path: str) -> None:
        """Never happen: a view changes nothing."""
        raise AssertionError("a view changes nothing")

    def close(self) -> None:
        """Do nothing: there is nothing to release."""


class ObjectStorage(Objects):
    """An output in object storage that is held and written; an `OutputStorage`."""

    is_view = False

    def __init__(self, out: str, timing: LeaseTiming) -> None:
        super().__init__(out)
        with explained(self.out):
            self._lock = Lease.acquire(self.store, self.hidden, self.out, timing)

    def new_part(self, digest: str) -> str:
        """Return where a part file belongs, under a name that no other run gives to one of its own."""
        return self.part_path(f"part-{digest}-{self._lock.path[-_MARK_DIGITS:]}.parquet")

    def write(self, path: str, fill: Fill, check: Check, empty: Fill | None = None) -> None:
        """Write a file as a whole or not at all."""
        with self._writing(path), tempfile.NamedTemporaryFile() as spool:
            fill(spool)
            spool.flush()
            check(pa.OSFile, spool.name)
            version = self.store.version(path)
            if version is None and empty is not None and self.store.is_strict:
                version = self._take_name(path, empty)
            self._lock.check()  # in this order: who takes the lease over after this changes the version
            with mmap.mmap(spool.fileno(), 0, access=mmap.ACCESS_READ) as content:
                with memoryview(content) as view:
                    self.store.put(path, view, version)
                written = self.filesystem.get_file_info(path).size
                if written != len(content):
                    raise OutputError(
                        f"cannot write {self.out}: of {path}, {written} of {len(content)} bytes have arrived",
                        "nothing was deleted; check the storage, and run the same command again",
                    )

    def delete(self, path: str) -> None:
        """Delete a file, if it is there."""
        with explained(self.out):
            self._lock.check()
            self.store.delete(path)

    def close(self) -> None:
        """Give the lock back."""
        self._lock.release()

    def _take_name(self, path: str, empty: Fill) -> str:
        self._lock.check()
        with io.BytesIO() as sink:
            empty(sink)
            return self.store.put(path, sink.getvalue(), None)

    @contextmanager
    def _writing(self, path: str) -> Iterator[None]:
        with explained(self.out):
            try:
                yield
            except OutdatedError as error:
                text = f"the lock on {self.out} was lost: another run has written {path}"
                raise OutputBusyError(text, CONTINUES) from error
