"""Which files a decoding process may be given: those of the videos that it works on, and what is kept of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol

from vidcnn.storage.uris import split_options


class Readable(Protocol):
    """A video, as far as it is read."""

    @property
    def location(self) -> str:
        """Absolute path or URI."""

    @property
    def is_frame_folder(self) -> bool:
        """Whether it is a folder of numbered images."""

    @property
    def root(self) -> str | None:
        """Folder that its symbolic links must not lead out of; None lets them lead anywhere."""


class EntryStore(Protocol):
    """Keeps what was made of videos, as entries with names."""

    def open(self, name: str) -> int:
        """Open an entry for reading, and return a descriptor, to be closed.

        Raises:
            OSError: There is none.
        """

    def has_room(self, num_bytes: int) -> bool:
        """Return whether an entry of a size can be kept."""

    def keep(self, name: str, num_bytes: int, content: Iterable[bytes | memoryview]) -> bool:
        """Keep an entry of `num_bytes`, given piece by piece, and return whether that could be done."""


class Grant(NamedTuple):
    """What may be read, and kept.

    Attributes:
        files: Locations of files, each with the folder that its symbolic links must not lead out of, or None.
        folders: Locations of folders, with the same; they may be listed, and what lies in them, but not deeper, may be
            read.
        entries: Where it may read and keep what it made of videos.
    """

    files: Mapping[str, str | None]
    folders: Mapping[str, str | None]
    entries: EntryStore | None = None

    @classmethod
    def of(cls, videos: Iterable[Readable], entries: EntryStore | None = None) -> Grant:
        """Return what reading some videos takes, and keeping what is made of them."""
        files, folders = {}, {}
        for video in videos:
            if video.is_frame_folder:
                folders[_plain_folder(video.location)] = video.root
            else:
                files[video.location] = video.root
        return cls(files, folders, entries)

    def allows(self, location: str) -> bool:
        """Return whether a file may be read."""
        return location in self.files or self._folder_of(location) in self.folders

    def root_of(self, location: str) -> str | None:
        """Return the folder that a file's symbolic links must not lead out of; None lets them lead anywhere."""
        if location in self.files:
            return self.files[location]
        return self.folders.get(self._folder_of(location) or _plain_folder(location))

    def allows_listing(self, location: str) -> bool:
        """Return whether a folder may be listed."""
        return _plain_folder(location) in self.folders

    @staticmethod
    def _folder_of(location: str) -> str | None:
        """Return the folder of a file, or None where the last part of a location is no name."""
        base, rest = split_options(location)
        folder, _, name = base.rpartition("/")
        return None if name in ("", ".", "..") else f"{folder}{rest}"


NOTHING = Grant({}, {})


def _plain_folder(location: str) -> str:
    base, rest = split_options(location)
    return f"{base.rstrip('/')}{rest}"
