"""Reading one folder at a time, of local disks and of object storage alike.

From paths to names, and what is known of each without opening it. What cannot be read is reported in the
results rather than raised: one bad folder among thousands is not the end of a listing.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

from vidcnn.errors import ErrorKind
from vidcnn.storage.faults import is_own_fault
from vidcnn.storage.retrying import RetryPolicy
from vidcnn.storage.s3_pages import NANOSECONDS, Listed, paged_listing
from vidcnn.storage.uris import Uri, failure_text, is_remote, local_path, open_filesystem, split_uri

if TYPE_CHECKING:
    from pyarrow.fs import FileInfo

Keep = Callable[[str], object]
"""Returns a true value for a name that is wanted."""

LOOK_TRIES = RetryPolicy(num_tries=3, first_wait_seconds=0.2)
"""How often a folder or file is looked at while the storage fails."""

_EMPTY_PART = "//*"
"""Replaces what is below the folder ``a`` in keys such as ``a//b``: valid ones, but pyarrow opens none of them."""


class Status(NamedTuple):
    """What is known of one path.

    `error` continues a sentence after the path. `error_kind` goes along with it, and is None where the storage or this
    machine fails, which is no property of the path.
    """

    is_folder: bool = False
    size_bytes: int = 0
    mtime_ns: int = 0
    error: str | None = None
    error_kind: ErrorKind | None = "unreadable"


class Contents(NamedTuple):
    """The wanted names in one folder, each list sorted; `links` are symbolic links to folders.

    `error` is why reading the folder ended early, or None; `error_kind` is as in `Status`. `statuses` has what the
    storage told of files along with their names. `linked` are those of the files that are symbolic links.
    """

    files: list[str]
    folders: list[str]
    links: list[str]
    error: str | None = None
    error_kind: ErrorKind | None = "unreadable"
    statuses: Mapping[str, Status] = MappingProxyType({})
    linked: frozenset[str] = frozenset()


def merged(parts: Iterable[Contents]) -> Contents:
    """Return what several parts of a folder contain, of which the last may have an error."""
    whole = Contents([], [], [])
    statuses: dict[str, Status] = {}
    for part in parts:
        for names, more in zip(whole[:3], part[:3], strict=True):
            names += more
        statuses |= part.statuses
        whole = whole._replace(error=part.error, error_kind=part.error_kind, linked=whole.linked | part.linked)
    for names in whole[:3]:
        names.sort()
    return whole._replace(statuses=statuses)


Looked = TypeVar("Looked", Status, Contents)


class Tree(Protocol):
    """One kind of storage. The parts of a path are separated by ``/``."""

    @property
    def root(self) -> str:
        """Trees with the same root read the same storage."""

    def location(self, path: str) -> str:
        """Return the location (see `vidcnn.storage.uris`) of a path."""

    def read(self, folder: str, keep_file: Keep, keep_folder: Keep) -> Iterator[Contents]:
        """Read one folder, part by part as the storage hands it over, and retain the names that are wanted."""

    def status(self, path: str) -> Status:
        """Look at one path, following symbolic links."""

    def resolve(self, folder: str) -> str:
        """Return the path of a folder without symbolic links."""


class LocalTree:
    """The file systems of this machine."""

    root = ""

    def location(self, path: str) -> str:
        """Return the path itself."""
        return path

    def read(self, folder: str, keep_file: Keep, keep_folder: Keep) -> Iterator[Contents]:
        """Read one folder; its files are not looked at yet."""
        yield _tried(lambda: self._read(folder, keep_file, keep_folder))

    def _read(self, folder: str, keep_file: Keep, keep_folder: Keep) -> Contents:
        files: list[str] = []
        folders: list[str] = []
        links: list[str] = []
        linked: list[str] = []
        error: str | None = None
        kind: ErrorKind | None = "unreadable"
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        names, keep = folders, keep_folder
                    elif entry.is_symlink() and os.path.isdir(entry.path):
                        names, keep = links, keep_folder
                    else:
                        names, keep = files, keep_file
                    if keep(entry.name):
                        names.append(entry.name)
                        if names is files and entry.is_symlink():
                            linked.append(entry.name)
        except OSError as failure:
            error, kind = failure_text(failure), _kind(failure, folder)
        return Contents(sorted(files), sorted(folders), sorted(links), error, kind, linked=frozenset(linked))

    def status(self, path: str) -> Status:
        """Look at one path; only folders and regular files are without error."""
        return _tried(lambda: self._status(path))

    def _status(self, path: str) -> Status:
        try:
            status = os.stat(path)
        except (OSError, ValueError) as failure:
            if isinstance(failure, FileNotFoundError) and os.path.islink(path):
                return Status(error="is a broken symbolic link")
            return Status(error=failure_text(failure), error_kind=_kind(failure, path))
        if stat.S_ISDIR(status.st_mode):
            return Status(is_folder=True, mtime_ns=status.st_mtime_ns)
        if not stat.S_ISREG(status.st_mode):
            return Status(mtime_ns=status.st_mtime_ns, error="is not a regular file")
        return Status(size_bytes=status.st_size, mtime_ns=status.st_mtime_ns)

    def resolve(self, folder: str) -> str:
        """Return the real path."""
        return os.path.realpath(folder)


class RemoteTree:
    """Object storage, as one client reads it.

    Args:
        uri: Any location in it.

    Raises:
        OSError: The storage cannot be reached.
    """

    def __init__(self, uri: Uri) -> None:
        self.root = uri.root
        self._uri = uri
        self._filesystem, _ = open_filesystem(uri.root)
        self._paged = paged_listing(uri.root)

    def location(self, path: str) -> str:
        """Return the URI, with the options that this client was made with."""
        return self._uri.location_of(path)

    def read(self, folder: str, keep_file: Keep, keep_folder: Keep) -> Iterator[Contents]:
        """Read one level of the hierarchy, with the status of its files; that of S3 in pages."""
        pages = None if folder.endswith(_EMPTY_PART) else self._paged.open(folder)
        if pages is None:
            yield _tried(lambda: self._read(folder, keep_file, keep_folder))
        else:
            yield from _read_pages(pages, keep_file, keep_folder)

    def _read(self, folder: str, keep_file: Keep, keep_folder: Keep) -> Contents:
        from pyarrow.fs import FileSelector, FileType

        if folder.endswith(_EMPTY_PART):
            return Contents([], [], [], "cannot be read: these keys have an empty part")
        try:
            infos = self._filesystem.get_file_info(FileSelector(folder))
        except (OSError, ValueError) as failure:
            return Contents([], [], [], failure_text(failure), _kind(failure, self.location(folder)))
        # The answer names the folder itself where a key below it has an empty part.
        folders = {
            info.base_name if info.path != folder else _EMPTY_PART for info in infos if info.type == FileType.Directory
        }
        statuses = {
            info.base_name: self._object_status(info)
            for info in infos
            if info.type == FileType.File
            and not (info.path.endswith("/") or _marks_folder(info.base_name, info.size, folders))
            and keep_file(info.base_name)
        }
        return Contents(sorted(statuses), sorted(filter(keep_folder, folders)), [], statuses=statuses)

    def status(self, path: str) -> Status:
        """Look at one path."""
        return _tried(lambda: self._status(path))

    def _status(self, path: str) -> Status:
        from pyarrow.fs import FileType

        try:
            info = self._filesystem.get_file_info(path)
        except (OSError, ValueError) as failure:
            return Status(error=failure_text(failure), error_kind=_kind(failure, self.location(path)))
        if info.type == FileType.NotFound:
            return Status(error="does not exist")
        return self._object_status(info)

    def _object_status(self, info: FileInfo) -> Status:
        from pyarrow.fs import FileType

        mtime_ns = int(info.mtime_ns or 0)
        if self._uri.scheme == "s3":  # as `vidcnn.storage.s3_pages` has it
            mtime_ns -= mtime_ns % NANOSECONDS
        return Status(info.type == FileType.Directory, int(info.size or 0), mtime_ns)

    def resolve(self, folder: str) -> str:
        """Return the folder itself: there are no links."""
        return folder


def open_tree(location: str) -> tuple[Tree, str]:
    """Return the tree that contains a location, and the path inside it.

    Raises:
        ValueError: The URI is malformed.
        OSError: The storage cannot be reached.
    """
    if not is_remote(location):
        return LocalTree(), local_path(location)
    uri = split_uri(location)
    return RemoteTree(uri), uri.path


def join(folder: str, name: str) -> str:
    """Return the path of a name in a folder."""
    return folder + name if folder.endswith("/") or name.startswith("/") else f"{folder}/{name}"


def _kind(failure: Exception, location: str) -> ErrorKind | None:
    """Return the kind of error of a path that cannot be read; None where that is no fault of its own."""
    own = isinstance(failure, FileNotFoundError) or is_own_fault(failure, location)
    return "unreadable" if own else None


def _tried(look: Callable[[], Looked]) -> Looked:
    """Look at something, and again where the storage fails."""
    for wait in LOOK_TRIES.waits():
        seen = look()
        if seen.error is None or seen.error_kind is not None:
            return seen
        time.sleep(wait)
    return look()


def _marks_folder(name: str, size_bytes: int | None, folders: set[str]) -> bool:
    """Return whether an object is one of those that tools write, empty, to make a folder show."""
    return not size_bytes and (name in folders or name.endswith("_$folder$"))


def _read_pages(pages: Iterable[Sequence[Listed]], keep_file: Keep, keep_folder: Keep) -> Iterator[Contents]:
    """Retain the names that are wanted of each page. Empty files come last: then it is known which mark a folder."""
    folders: set[str] = set()
    empty: list[Listed] = []
    try:
        for page in pages:
            new = {item.name or _EMPTY_PART for item in page if item.is_folder} - folders
            folders |= new
            empty += [item for item in page if not (item.is_folder or item.size_bytes)]
            files = [item for item in page if item.size_bytes and keep_file(item.name)]
            yield _contents(files, sorted(filter(keep_folder, new)))
        files = [item for item in empty if not _marks_folder(item.name, 0, folders) and keep_file(item.name)]
        yield _contents(files, [])
    except OSError as failure:
        yield Contents([], [], [], failure_text(failure), None)


def _contents(files: Iterable[Listed], folders: list[str]) -> Contents:
    statuses = {file.name: Status(False, file.size_bytes, file.mtime_ns) for file in files}
    return Contents(sorted(statuses), folders, [], statuses=statuses)
