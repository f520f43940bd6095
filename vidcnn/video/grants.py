"""Which files a decoding process may be given: those of the videos that it works on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Protocol

from vidcnn.storage.uris import is_remote


class Readable(Protocol):
    """A video, as far as it is read."""

    @property
    def location(self) -> str:
        """Absolute path or URI."""

    @property
    def is_frame_folder(self) -> bool:
        """Whether it is a folder of numbered images."""


class Grant(NamedTuple):
    """What may be read.

    Attributes:
        files: Locations of files.
        folders: Locations of folders, which may be listed; what lies in them, but not deeper, may be read.
    """

    files: frozenset[str] = frozenset()
    folders: frozenset[str] = frozenset()

    @classmethod
    def of(cls, videos: Iterable[Readable]) -> Grant:
        """Return what reading some videos takes."""
        files, folders = set(), set()
        for video in videos:
            if video.is_frame_folder:
                folders.add(_plain_folder(video.location))
            else:
                files.add(video.location)
        return cls(frozenset(files), frozenset(folders))

    def allows(self, location: str) -> bool:
        """Return whether a file may be read."""
        if location in self.files:
            return True
        base, rest = _split(location)
        folder, _, name = base.rpartition("/")
        return name not in ("", ".", "..") and f"{folder}{rest}" in self.folders

    def allows_listing(self, location: str) -> bool:
        """Return whether a folder may be listed."""
        return _plain_folder(location) in self.folders


NOTHING = Grant()


def _plain_folder(location: str) -> str:
    base, rest = _split(location)
    return f"{base.rstrip('/')}{rest}"


def _split(location: str) -> tuple[str, str]:
    """Return a location without the options of object storage, and these."""
    if not is_remote(location):
        return location, ""
    base, mark, query = location.partition("?")
    return base, mark + query
