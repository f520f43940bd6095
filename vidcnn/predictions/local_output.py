"""An output in a file system: files are written aside, read back and renamed, under a lock."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import Any

import pyarrow as pa

from vidcnn.errors import OutputError
from vidcnn.predictions.output_layout import ASIDE, Check, Fill, explained, is_single_file, part_names
from vidcnn.storage.atomic import open_new, sync_directory
from vidcnn.storage.locks.file_lock import FileLock
from vidcnn.storage.locks.heartbeat import LeaseTiming


class LocalFiles:
    """An output on this machine that is only looked at; an `OutputStorage`."""

    is_view = True

    def __init__(self, out: str) -> None:
        self.out = out
        path = os.path.realpath(out)  # two names of one output must meet in one lock
        parent, name = os.path.split(path)
        if not name:
            raise OutputError(f"{out} cannot be an output", "name a file or directory inside it")
        self.hidden = os.path.join(parent, f".{name}.vidcnn")
        self.final_path = path if is_single_file(name) else None
        self._parts = self.hidden if self.final_path else path
        with explained(self.out):
            if os.path.exists(path):
                self._check_existing(path, parent)

    def has_final(self) -> bool:
        """Return whether the single file exists."""
        return self.final_path is not None and os.path.exists(self.final_path)

    def list_parts(self) -> list[str]:
        """Return the paths of the part files, sorted."""
        with explained(self.out):
            entries = os.listdir(self._parts) if os.path.isdir(self._parts) else []
        return [os.path.join(self._parts, name) for name in part_names(entries, self.out)]

    def part_path(self, name: str) -> str:
        """Return where the part file of a name belongs."""
        return os.path.join(self._parts, name)

    def new_part(self, digest: str) -> str:
        """Return where the part file of some segments belongs."""
        return self.part_path(f"part-{digest}.parquet")

    def open(self, path: str) -> Any:
        """Open a file for random access."""
        return pa.OSFile(os.fsencode(path))

    def write(self, path: str, fill: Fill, check: Check, empty: Fill | None = None) -> None:
        """Never happen: a view changes nothing."""
        raise AssertionError("a view changes nothing")

    def delete(self, path: str) -> None:
        """Never happen: a view changes nothing."""
        raise AssertionError("a view changes nothing")

    def close(self) -> None:
        """Do nothing: there is nothing to release."""

    def _check_existing(self, path: str, parent: str) -> None:
        if self.final_path:
            if not os.path.isfile(path):
                raise OutputError(
                    f"{self.out} is no regular file, but a name in .parquet is to be one",
                    "choose another --out; for a dataset of part files, a name without .parquet",
                )
            return
        if not os.path.isdir(path):
            raise OutputError(
                f"{self.out} is a file, but a name without .parquet is to be a directory",
                "choose another --out; for a single file, a name in .parquet",
            )
        if not os.access(path, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        if os.stat(path).st_dev != os.stat(parent).st_dev:
            raise OutputError(f"{self.out} is a mount point", "name a directory inside it")


class LocalStorage(LocalFiles):
    """An output on this machine that is held and written; an `OutputStorage`."""

    is_view = False

    def __init__(self, out: str, timing: LeaseTiming) -> None:
        super().__init__(out)
        with explained(self.out):
            self._lock = FileLock.acquire(self.hidden, out, timing)
        try:
            self._clear()
        except BaseException:
            self.close()
            raise

    def write(self, path: str, fill: Fill, check: Check, empty: Fill | None = None) -> None:
        """Write a file as a whole or not at all; the kernel keeps the lock of a process that stands still."""
        aside = os.path.join(self.hidden, ASIDE + os.path.basename(path))
        with explained(self.out):
            self._lock.check()
            try:
                with open_new(aside) as file:
                    fill(file)
                    file.flush()
                    os.fsync(file.fileno())
                check(self.open, aside)
                directory = os.path.dirname(path)
                if not os.path.isdir(directory):
                    os.mkdir(directory)
                    sync_directory(os.path.dirname(directory))
                os.replace(aside, path)
                sync_directory(directory)
            except BaseException:
                with suppress(OSError):
                    os.unlink(aside)
                raise

    def delete(self, path: str) -> None:
        """Delete a file, if it is there."""
        with explained(self.out):
            self._lock.check()
            with suppress(FileNotFoundError):
                os.unlink(path)

    def close(self) -> None:
        """Give the lock back."""
        self._lock.release()

    def _clear(self) -> None:
        with explained(self.out):
            for entry in os.listdir(self.hidden):
                if entry.startswith(ASIDE):
                    os.unlink(os.path.join(self.hidden, entry))
