"""Where the files of an output are: a local file system or object storage, behind one interface.

``--out`` names a single file (``X.parquet``) or a dataset, a directory of part files. While a run
needs it, there is a hidden directory beside it, ``.NAME.vidcnn``: the lock, files being written and, for a single file,
the parts::

    preds.parquet            .preds.parquet.vidcnn/{lock, tmp-*, part-*.parquet}
    preds/part-*.parquet     .preds.vidcnn/{lock, tmp-*}

So a reader of the output never meets a file that is not whole. In object storage, the locks are ``lock-*``, and nothing
has to be written aside. Before each change it is checked that the lock is still held.
"""

from __future__ import annotations

import errno
import mmap
import os
import posixpath
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any, Protocol

import pyarrow as pa
from pyarrow import fs as pafs

from vidcnn.errors import OutputError, first_line
from vidcnn.logins import hide_logins
from vidcnn.storage.atomic import open_new
from vidcnn.storage.locks.file_lock import FileLock
from vidcnn.storage.locks.file_lock import look as look_at_lock
from vidcnn.storage.locks.heartbeat import USUAL, LeaseTiming
from vidcnn.storage.locks.lease import Lease
from vidcnn.storage.locks.lease import look as look_at_lease
from vidcnn.storage.uris import is_remote, local_path, open_filesystem, public_location, split_uri

_HINTS = {
    errno.ENOSPC: "free some space and run the same command again: what was committed stays",
    errno.EDQUOT: "free some of the quota and run the same command again: what was committed stays",
    errno.EACCES: "its folder must be writable: choose another --out, or change the permissions",
    errno.EPERM: "its folder must be writable: choose another --out, or change the permissions",
    errno.EROFS: "choose an --out on a file system that can be written",
    errno.ENOTDIR: "a part of the path is a file: choose another --out",
    errno.ENOLCK: "its file system has no locks: choose an --out on another",
    errno.ENOSYS: "its file system has no locks: choose an --out on another",
    errno.EOPNOTSUPP: "its file system has no locks: choose an --out on another",
}

_ASIDE = "tmp-"

Fill = Callable[[IO[bytes]], object]
"""Writes a file's bytes into the stream it is given."""

Check = Callable[[Callable[[str], Any], str], object]
"""Reads a file back, given what opens it and its path; raises if it is not as it was written."""


class OutputStorage(Protocol):
    """The files of one output. Every failure is an `OutputError` in one line.

    Attributes:
        out: The output, as messages name it.
        final_path: The single file; None for a dataset.
        is_view: Whether nothing may be changed.
    """

    out: str
    final_path: str | None
    is_view: bool

    def has_final(self) -> bool:
        """Return whether the single file exists."""

    def list_parts(self) -> list[str]:
        """Return the paths of the part files, sorted.

        Raises:
            OutputError: Something else is where the parts should be.
        """

    def part_path(self, name: str) -> str:
        """Return where the part file of a name belongs."""

    def open(self, path: str) -> Any:
        """Open a file for random access, as a context manager.

        Raises:
            OSError: It cannot be opened.
        """

    def write(self, path: str, fill: Fill, check: Check) -> None:
        """Write a file that appears, or replaces the old one, as a whole or not at all, once it was read back."""

    def delete(self, path: str) -> None:
        """Delete a file, if it is there."""

    def close(self) -> None:
        """Give the lock back, and remove the hidden directory unless parts are left in it."""


def open_storage(out: str, timing: LeaseTiming = USUAL) -> OutputStorage:
    """Open an output for writing: lock it, check that it can be written, remove half-written files.

    Args:
        out: What ``--out`` names.
        timing: When the holder of a lock is dead.

    Raises:
        OutputBusyError: Another run holds it.
        OutputError: It cannot be written.
    """
    return _ObjectStorage(out, timing) if is_remote(out) else _LocalStorage(local_path(out), timing)


def look_at(out: str, timing: LeaseTiming = USUAL) -> OutputStorage:
    """Look at an output without changing anything: it is neither locked nor made, and nothing is cleared away.

    Args:
        out: What ``--out`` names.
        timing: When the holder of a lock is dead.

    Raises:
        OutputBusyError: Another run holds it.
        OutputError: It cannot be an output.
    """
    if is_remote(out):
        objects = _Objects(out)
        with _explained(objects.out):
            look_at_lease(objects.filesystem, objects.hidden, objects.out, timing)
        return objects
    files = _LocalFiles(local_path(out))
    with _explained(files.out):
        look_at_lock(files.hidden, files.out, timing)
    return files


def check_free(out: str) -> None:
    """Refuse an output on this machine that another run holds, at little cost and without locking it.

    Raises:
        OutputBusyError: Another run holds it.
        OutputError: It is something else than an output.
    """
    if not is_remote(out):
        look_at(out).close()


class _LocalFiles:
    is_view = True

    def __init__(self, out: str) -> None:
        self.out = out
        path = os.path.realpath(out)  # two names of one output must meet in one lock
        parent, name = os.path.split(path)
        if not name:
            raise OutputError(f"{out} cannot be an output", "name a file or directory inside it")
        self.hidden = os.path.join(parent, f".{name}.vidcnn")
        self.final_path = path if _is_single_file(name) else None
        self._parts = self.hidden if self.final_path else path
        with _explained(self.out):
            if os.path.exists(path):
                self._check_existing(path, parent)

    def has_final(self) -> bool:
        return self.final_path is not None and os.path.exists(self.final_path)

    def list_parts(self) -> list[str]:
        with _explained(self.out):
            entries = os.listdir(self._parts) if os.path.isdir(self._parts) else []
        return [os.path.join(self._parts, name) for name in _part_names(entries, self.out)]

    def part_path(self, name: str) -> str:
        return os.path.join(self._parts, name)

    def open(self, path: str) -> Any:
        return pa.OSFile(os.fsencode(path))

    def write(self, path: str, fill: Fill, check: Check) -> None:
        raise AssertionError("a view changes nothing")

    def delete(self, path: str) -> None:
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


class _LocalStorage(_LocalFiles):
    is_view = False

    def __init__(self, out: str, timing: LeaseTiming) -> None:
        super().__init__(out)
        with _explained(self.out):
            self._lock = FileLock.acquire(self.hidden, out, timing)
        try:
            self._clear()
        except BaseException:
            self.close()
            raise

    def write(self, path: str, fill: Fill, check: Check) -> None:
        aside = os.path.join(self.hidden, _ASIDE + os.path.basename(path))
        with _explained(self.out):
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
                    _sync_directory(os.path.dirname(directory))
                os.replace(aside, path)
                _sync_directory(directory)
            except BaseException:
                with suppress(OSError):
                    os.unlink(aside)
                raise

    def delete(self, path: str) -> None:
        with _explained(self.out):
            self._lock.check()
            with suppress(FileNotFoundError):
                os.unlink(path)

    def close(self) -> None:
        self._lock.release()

    def _clear(self) -> None:
        with _explained(self.out):
            for entry in os.listdir(self.hidden):
                if entry.startswith(_ASIDE):
                    os.unlink(os.path.join(self.hidden, entry))


class _Objects:
    is_view = True

    def __init__(self, out: str) -> None:
        try:
            self.filesystem, path = open_filesystem(out)
            self.out = split_uri(out).public
        except (ValueError, OSError) as error:
            raise OutputError(
                f"{public_location(out)} cannot be an output: {hide_logins(first_line(error))}", "check the URI"
            ) from error
        parent, name = posixpath.split(path)
        if not parent or not name:
            raise OutputError(f"{self.out} names a bucket", "name an object or a prefix inside it")
        self.hidden = f"{parent}/.{name}.vidcnn"
        self.final_path = f"{parent}/{name}" if _is_single_file(name) else None
        self._parts = self.hidden if self.final_path else f"{parent}/{name}"

    def has_final(self) -> bool:
        with _explained(self.out):
            return self.final_path is not None and self.filesystem.get_file_info(self.final_path).is_file

    def list_parts(self) -> list[str]:
        with _explained(self.out):
            infos = self.filesystem.get_file_info(pafs.FileSelector(self._parts, allow_not_found=True))
        names = _part_names([info.base_name for info in infos], self.out)
        return [self.part_path(name) for name in names]

    def part_path(self, name: str) -> str:
        return f"{self._parts}/{name}"

    def open(self, path: str) -> Any:
        return self.filesystem.open_input_file(path)

    def write(self, path: str, fill: Fill, check: Check) -> None:
        raise AssertionError("a view changes nothing")

    def delete(self, path: str) -> None:
        raise AssertionError("a view changes nothing")

    def close(self) -> None:
        """Do nothing: there is nothing to release."""


class _ObjectStorage(_Objects):
    is_view = False

    def __init__(self, out: str, timing: LeaseTiming) -> None:
        super().__init__(out)
        with _explained(self.out):
            self._lock = Lease.acquire(self.filesystem, self.hidden, self.out, timing)

    def write(self, path: str, fill: Fill, check: Check) -> None:
        # Closing an upload publishes it, even on the way out of an exception: fill a local file first.
        with _explained(self.out), tempfile.NamedTemporaryFile() as spool:
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
        with _explained(self.out):
            self._lock.check()
            with suppress(FileNotFoundError):
                self.filesystem.delete_file(path)

    def close(self) -> None:
        self._lock.release()


def _is_single_file(name: str) -> bool:
    return name.lower().endswith(".parquet")


def _part_names(entries: list[str], out: str) -> list[str]:
    """Pick the part files; other files are foreign unless their names mark them as hidden."""
    names = sorted(name for name in entries if name.startswith("part-") and name.endswith(".parquet"))
    hidden = {name for name in entries if name.startswith((".", "_", _ASIDE, "lock"))}
    foreign = sorted(set(entries) - hidden - set(names))
    if foreign:
        raise OutputError(
            f"{out} contains files that vidcnn did not write ({', '.join(foreign[:3])})",
            "choose another --out, or an empty directory",
        )
    return names


def _sync_directory(path: str) -> None:
    """Make a rename last through a power failure."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


@contextmanager
def _explained(out: str) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        code = getattr(error, "errno", None)
        reason = os.strerror(code) if code else hide_logins(first_line(error))
        raise OutputError(f"cannot write {out}: {reason}", _HINTS.get(code or 0, "")) from error
