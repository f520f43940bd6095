"""The folder that decoded frames are kept in: what is there, what has room, and what makes room.

Entries are written aside and renamed, so that any number of processes and runs share one folder, and what an
interrupted run wrote is whole. One counts only if it belongs to this user or root and nobody else can write to it. What
is not an entry of this user is never removed: the folder may be one that contains other files.

A process that decodes is confined, and opens no file itself: its parent has the folder (`vidcnn.video.file_server`).
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from vidcnn.storage.ownership import is_own, open_regular, why_foreign
from vidcnn.storage.private import make_private
from vidcnn.video.grants import EntryStore

_SCAN_SECONDS = 10.0
_ROOM_SHARE = 64
"""How often the size of the whole folder is taken again, as other processes write to it too: after this time, and
whenever this process has used up one part in so many of the room that it saw."""

_ENTRY = re.compile(r"[0-9a-f]{40}")
_SUFFIX = ".frames"
_ASIDE = ".vidcnn-"
_FILE = re.compile(rf"{_ENTRY.pattern}(\{_SUFFIX}|\.npy)|{re.escape(_ASIDE)}\w+")
"""Files of a cache: entries, also of versions before this one, and those that are being written, or were when a process
was killed."""


class CacheFolder:
    """A bounded folder of entries.

    When it is full, entries that nobody has used since this run began make room, the longest unused first. If there are
    none, nothing is kept: where a run's videos do not all fit, those that do stay, instead of each pushing out another
    before it is seen again.

    Args:
        path: Where entries are kept; made if it is not there. One that cannot be made keeps nothing.
        max_bytes: Size of all entries together.
        began: When the run began, in seconds since 1970.
    """

    def __init__(self, path: Path, max_bytes: int, began: float) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._began = began
        self._size_bytes = 0
        self._scan_at_bytes = 0
        self._scanned = -_SCAN_SECONDS
        self._entries: list[tuple[float, int, str]] = []
        with suppress(OSError):
            if not path.exists():
                make_private(path)

    def open(self, name: str) -> int:
        """Open an entry for reading, and note that it is used.

        Returns:
            A descriptor, to be closed.

        Raises:
            OSError: There is none, or it is not a regular file of this user or root alone.
        """
        path = self.path_of(name)
        with open_regular(path) as file:
            reason = why_foreign(os.fstat(file.fileno()))
            if reason is not None:
                raise PermissionError(reason)
            with suppress(PermissionError):
                os.utime(path)
            return os.dup(file.fileno())

    def has_room(self, num_bytes: int) -> bool:
        """Return whether an entry of a size can be kept, and make room for it if that is possible."""
        try:
            return self._make_room(num_bytes)
        except OSError:
            return False

    def keep(self, name: str, num_bytes: int, content: Iterable[bytes | memoryview]) -> bool:
        """Keep an entry.

        Args:
            name: Its name, 40 hexadecimal digits.
            num_bytes: Its size.
            content: What it contains, piece by piece.

        Returns:
            Whether there was room, and it could be written.
        """
        path = self.path_of(name)
        try:
            if not self._make_room(num_bytes):
                return False
            with tempfile.NamedTemporaryFile(dir=self._path, prefix=_ASIDE, delete=False) as file:
                try:
                    file.writelines(content)
                    file.flush()
                    os.rename(file.name, path)
                except BaseException:
                    os.unlink(file.name)
                    raise
        except OSError:
            return False
        self._size_bytes += num_bytes
        return True

    def path_of(self, name: str) -> Path:
        """Return the file of an entry.

        Raises:
            ValueError: It is not the name of one.
        """
        if not _ENTRY.fullmatch(name):
            raise ValueError(f"no entry of a cache has the name {name!r}")
        return self._path / f"{name}{_SUFFIX}"

    def _make_room(self, num_bytes: int) -> bool:
        is_old = time.monotonic() - self._scanned >= _SCAN_SECONDS
        if is_old or self._size_bytes + num_bytes > self._scan_at_bytes:
            self._scan()
        if self._size_bytes + num_bytes > self._max_bytes:
            self._remove_unused(self._size_bytes + num_bytes - self._max_bytes)
        fits = self._size_bytes + num_bytes <= self._max_bytes
        return fits and shutil.disk_usage(self._path).free > 2 * num_bytes

    def _scan(self) -> None:
        self._scanned = time.monotonic()
        self._entries = []
        with suppress(OSError), os.scandir(self._path) as files:
            for file in files:
                with suppress(OSError):
                    status = file.stat(follow_symlinks=False)
                    if not (_FILE.fullmatch(file.name) and is_own(status)):
                        continue
                    self._entries.append((status.st_mtime, status.st_size, file.path))
        self._size_bytes = sum(size for _, size, _ in self._entries)
        self._scan_at_bytes = self._size_bytes + (self._max_bytes - self._size_bytes) // _ROOM_SHARE

    def _remove_unused(self, num_bytes: int) -> None:
        for used, size, path in sorted(self._entries):
            if num_bytes <= 0 or used >= self._began:
                return
            with suppress(OSError):
                os.unlink(path)
                num_bytes -= size
                self._size_bytes -= size


class OwnEntries:
    """The entries of some videos: who is given this reads and changes no others.

    A process that decodes may have been taken over by what it read. What it keeps then is wrong for the videos of its
    own run, which it decodes anyway, and for no others.

    Args:
        store: Where they are.
        names: Returns their names. It is called when the first is wanted, as there may be many.
    """

    def __init__(self, store: EntryStore, names: Callable[[], frozenset[str]]) -> None:
        self._store = store
        self._find_names = names
        self._names: frozenset[str] | None = None

    def open(self, name: str) -> int:
        """Open an entry as `CacheFolder.open` does.

        Raises:
            OSError: It does not, or it is none of these videos.
        """
        self._check(name)
        return self._store.open(name)

    def has_room(self, num_bytes: int) -> bool:
        """Return whether an entry of a size can be kept."""
        return self._store.has_room(num_bytes)

    def keep(self, name: str, num_bytes: int, content: Iterable[bytes | memoryview]) -> bool:
        """Keep an entry as `CacheFolder.keep` does.

        Raises:
            OSError: It is none of these videos.
        """
        self._check(name)
        return self._store.keep(name, num_bytes, content)

    def _check(self, name: str) -> None:
        if self._names is None:
            self._names = self._find_names()
        if name not in self._names:
            raise PermissionError("an entry of another video")
