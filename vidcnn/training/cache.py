"""Decoded frames on disk, for videos that a run sees again and again.

An entry contains all frames that clips of one video can take, resized but not cropped, as uint8 ``(F, H, W, 3)`` that
is mapped into memory: reading a clip out of it costs a copy. Entries are named after the file's version and all that
its pixels depend on, written aside and renamed, so that any number of processes and runs share one directory, and what
an interrupted run wrote is whole.

An entry counts only if it belongs to this user or root and nobody else can write to it. What is not an entry of this
user is never removed: the directory may be one that contains other files.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import numpy as np

from vidcnn.storage.ownership import is_own, open_regular, why_foreign
from vidcnn.storage.private import make_private
from vidcnn.video.pixels import UInt8Array

_SCAN_SECONDS = 10.0
_ROOM_SHARE = 64
"""How often the size of the whole directory is taken again, as other processes write to it too: after this time, and
whenever this process has used up one part in so many of the room that it saw."""

_ENTRY = re.compile(r"[0-9a-f]{40}\.npy")
_ASIDE = ".vidcnn-"
_NAME = re.compile(rf"{_ENTRY.pattern}|{re.escape(_ASIDE)}\w+")
"""Files of a cache: entries, and those that are being written, or were when a process was killed."""

_MAX_MAPPED = 256
"""Entries that a process keeps open: opening one takes longer than reading a clip out of it."""


class FrameCache:
    """A bounded directory of decoded frames.

    When it is full, entries that nobody has used since this run began make room, the longest unused first. If there are
    none, frames are not kept: where a run's videos do not all fit, those that do stay, instead of each pushing out
    another before it is seen again.

    Args:
        directory: Where entries are kept; made if it is not there. One that cannot be made keeps nothing.
        max_bytes: Size of all entries together.
        began: When the run began, in seconds since 1970.
    """

    def __init__(self, directory: Path, max_bytes: int, began: float) -> None:
        self._directory = directory
        self._max_bytes = max_bytes
        self._began = began
        self._size_bytes = 0
        self._scan_at_bytes = 0
        self._scanned = -_SCAN_SECONDS
        self._entries: list[tuple[float, int, str]] = []
        self._mapped: dict[str, UInt8Array] = {}  # those used last come last
        with suppress(OSError):
            if not directory.exists():
                make_private(directory)

    def get(self, key: str) -> UInt8Array | None:
        """Return the frames under a key, (F, H, W, 3), mapped read-only; None if there are none."""
        path = self._path(key)
        frames = self._mapped.pop(key, None)
        try:
            if frames is None:
                frames = _mapped(path)
            with suppress(PermissionError):
                os.utime(path)
        except (OSError, ValueError, EOFError):
            return None
        self._mapped[key] = frames
        if len(self._mapped) > _MAX_MAPPED:
            del self._mapped[next(iter(self._mapped))]
        return frames

    def put(self, key: str, frames: UInt8Array) -> bool:
        """Keep frames under a key.

        Returns:
            Whether there was room, and they could be written.
        """
        try:
            if not self._make_room(frames.nbytes):
                return False
            with tempfile.NamedTemporaryFile(dir=self._directory, prefix=_ASIDE, delete=False) as file:
                try:
                    np.save(file, frames, allow_pickle=False)
                    file.flush()
                    os.rename(file.name, self._path(key))
                except BaseException:
                    os.unlink(file.name)
                    raise
        except OSError:
            return False
        self._size_bytes += frames.nbytes
        return True

    def _path(self, key: str) -> Path:
        return self._directory / f"{sha256(key.encode(errors='surrogateescape')).hexdigest()[:40]}.npy"

    def _make_room(self, num_bytes: int) -> bool:
        is_old = time.monotonic() - self._scanned >= _SCAN_SECONDS
        if is_old or self._size_bytes + num_bytes > self._scan_at_bytes:
            self._scan()
        if self._size_bytes + num_bytes > self._max_bytes:
            self._remove_unused(self._size_bytes + num_bytes - self._max_bytes)
        fits = self._size_bytes + num_bytes <= self._max_bytes
        return fits and shutil.disk_usage(self._directory).free > 2 * num_bytes

    def _scan(self) -> None:
        self._scanned = time.monotonic()
        self._entries = []
        with suppress(OSError), os.scandir(self._directory) as files:
            for file in files:
                with suppress(OSError):
                    status = file.stat(follow_symlinks=False)
                    if not (_NAME.fullmatch(file.name) and is_own(status)):
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


def _mapped(path: Path) -> UInt8Array:
    """Map an entry into memory, which takes none before it is looked at.

    Raises:
        OSError: It cannot be read, or is not a regular file of this user or root alone.
        ValueError: It does not contain frames, or is damaged.
    """
    with open_regular(path) as file:
        reason = why_foreign(os.fstat(file.fileno()))
        if reason is not None:
            raise PermissionError(reason)
        version = np.lib.format.read_magic(file)
        if version != (1, 0):
            raise ValueError(f"format {version}")
        shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(file)
        if dtype != np.uint8 or is_fortran or len(shape) != 4 or shape[3] != 3:
            raise ValueError("it does not contain frames")
        # As a plain array: slices of numpy's own type for mapped ones take longer than copying what is in them.
        return np.asarray(np.memmap(file, np.uint8, "r", file.tell(), shape))
