"""Decoded frames that are kept, for videos that a run sees again and again.

An entry contains all frames that clips of one video can take, resized but not cropped, as uint8 ``(F, H, W, 3)`` that
is mapped into memory: reading a clip out of it costs a copy. Entries are named after the file's version and all that
its pixels depend on. Where they are, and who may read them there, is for `vidcnn.training.cache_folder`.

    bytes    16     8  8  8  F x H x W x 3
    content  magic  F  H  W  frames
"""

from __future__ import annotations

import mmap
import os
import struct
import time
from hashlib import sha256
from math import prod

import numpy as np

from vidcnn.video.grants import EntryStore
from vidcnn.video.pixels import UInt8Array

_HEADER = struct.Struct("<16sQQQ")
_MAGIC = b"vidcnn frames 1\n"
_MAX_SIDE = 2**32
"""More of anything is a damaged header."""

_MAX_MAPPED = 256
"""Entries that a process keeps open: opening one takes longer than reading a clip out of it."""
_MAPPED_SECONDS = 60.0
"""After this time it is opened again, so that other processes see that it is used."""


def entry_name(key: str) -> str:
    """Return the name of the entry of what a key says."""
    return sha256(key.encode(errors="surrogateescape")).hexdigest()[:40]


class FrameCache:
    """Decoded frames of videos.

    Args:
        store: Where they are kept.
    """

    def __init__(self, store: EntryStore) -> None:
        self._store = store
        self._mapped: dict[str, tuple[UInt8Array, float]] = {}  # those used last come last

    def get(self, name: str) -> UInt8Array | None:
        """Return the frames of an entry, (F, H, W, 3), mapped read-only; None if there are none."""
        now = time.monotonic()
        frames, opened = self._mapped.pop(name, (None, now))
        if frames is None or now - opened > _MAPPED_SECONDS:
            try:
                descriptor = self._store.open(name)
            except OSError:
                return None
            try:
                frames, opened = _mapped(descriptor), now
            except (OSError, ValueError):
                return None
            finally:
                os.close(descriptor)
        self._mapped[name] = frames, opened
        if len(self._mapped) > _MAX_MAPPED:
            del self._mapped[next(iter(self._mapped))]
        return frames

    def put(self, name: str, frames: UInt8Array) -> bool:
        """Keep frames (F, H, W, 3) as an entry.

        Returns:
            Whether there was room, and they could be written.
        """
        header = _HEADER.pack(_MAGIC, *frames.shape[:3])
        content = np.ascontiguousarray(frames).data.cast("B")
        size = len(header) + len(content)
        try:
            return self._store.has_room(size) and self._store.keep(name, size, (header, content))
        except OSError:
            return False


def _mapped(descriptor: int) -> UInt8Array:
    """Map an entry into memory, which takes none before it is looked at.

    Raises:
        OSError: It cannot be read.
        ValueError: It does not contain frames, or is damaged.
    """
    size = os.fstat(descriptor).st_size
    if size < _HEADER.size:
        raise ValueError("it is too short")
    content = mmap.mmap(descriptor, size, prot=mmap.PROT_READ)
    magic, *shape = _HEADER.unpack_from(content)
    if magic != _MAGIC or max(shape) > _MAX_SIDE or size != _HEADER.size + 3 * prod(shape):
        raise ValueError("it does not contain frames")
    return np.frombuffer(content, np.uint8, 3 * prod(shape), _HEADER.size).reshape(*shape, 3)
