"""An output in object storage: each file is made here, read back, and put in one piece, under a lease."""

from __future__ import annotations

import mmap
import posixpath
import tempfile
from contextlib import suppress
from typing import Any

import pyarrow as pa
from pyarrow import fs as pafs

from vidcnn.errors import OutputError
from vidcnn.predictions.output_layout import Check, Fill, explained, is_single_file, part_names, public_line
from vidcnn.storage.locks.heartbeat import LeaseTiming
from vidcnn.storage.locks.lease import Lease
from vidcnn.storage.uris import open_filesystem, public_location, split_uri


class Objects:
    """An output in object storage that is only looked at; an `OutputStorage`."""

    is_view = True

    def __init__(self, out: str) -> None:
        try:
            self.filesystem, path = open_filesystem(out)
            self.out = split_uri(out).public
        except (ValueError, OSError) as error:
            raise OutputError(
                f"{public_location(out)} cannot be an output: {public_line(error)}", "check the URI"
            ) from error
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

    def open(self, path: str) -> Any:
        """Open a file for random access."""
        return self.filesystem.open_input_file(path)

    def write(self, path: str, fill: Fill, check: Check) -> None:
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
            self._lock = Lease.acquire(self.filesystem, self.hidden, self.out, timing)

    def write(self, path: str, fill: Fill, check: Check) -> None:
        """Write a file as a whole or not at all."""
        # Closing an upload publishes it, even on the way out of an exception: fill a local file first.
        with explained(self.out), tempfile.NamedTemporaryFile() as spool:
            fill(spool)
            spool.flush()
            check(pa.OSFile, spool.name)
            self._lock.check()
            with mmap.mmap(spool.fileno(), 0, access=mmap.ACCESS_READ) as content:
                sink = self.filesystem.open_output_stream(path)
                sink.write(content)
                sink.close()
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
            with suppress(FileNotFoundError):
                self.filesystem.delete_file(path)

    def close(self) -> None:
        """Give the lock back."""
        self._lock.release()
