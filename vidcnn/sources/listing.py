"""What to read: from the SOURCE arguments of a command to a stream of videos.

From folders, files, globs, lists and URIs to `SourceVideo`s, in an order and under names that depend
neither on the order of the arguments nor on how a file system sorts. Nothing is decoded. What cannot be read
is listed with its error, so that it is accounted for; only what is wrong with a source itself is raised.
"""

from __future__ import annotations

import os
import posixpath
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice

from vidcnn.errors import ErrorKind, SourceError, StorageError, UsageError
from vidcnn.sources.arguments import Source, list_on_stdin, look_up, resolve
from vidcnn.sources.fence import Fence
from vidcnn.sources.filters import Filter
from vidcnn.sources.lists import read_list, read_stdin
from vidcnn.sources.names import left_out_text, shown_name, utf8_name
from vidcnn.sources.seen import Seen
from vidcnn.sources.trees import LocalTree, Status, Tree, join, open_tree
from vidcnn.sources.walk import Found, expand, keep_inside, walk
from vidcnn.storage.uris import failure_text, is_remote, public_location
from vidcnn.streams import STDIN

_NUM_LOOKUPS = 16
"""Entries of a list that are looked up at the same time in object storage: each takes a round trip."""

_LOOKUP_BATCH = 256
_LOCAL = LocalTree()
_NO_VIDEO = Status(error="is a folder without a video", error_kind="no_video")
_NUM_IGNORED_SHOWN = 5
_MAX_FAULTS = 100
"""Files in a row that cannot be looked at, after which listing ends."""


@dataclass(frozen=True, slots=True)
class SourceVideo:
    r"""A video of the source, or what is in the place of one.

    Attributes:
        name: The column `video` of the predictions table: the path relative to the source's root, with ``/``
            between its parts, or the URI without its options. Always valid UTF-8: bytes that do not decode
            are written ``\xNN``.
        location: Absolute path (bytes that do not decode are surrogates, as in `os`) or URI with its options.
        is_frame_folder: Whether `location` is a folder of numbered images, which are one video.
        size_bytes: Size of the file, or of all frames of a frame folder.
        mtime_ns: Time of the last modification, in nanoseconds since 1970; of a frame folder, that of its
            newest frame.
        error_kind: Set if it is known already that it cannot be read, through its own fault.
        error: What is wrong, in plain words; also where the storage or this machine failed, so that nothing is known.
        root: Folder that symbolic links on the way to it must not lead out of, when it is opened; None where they may
            lead anywhere.
    """

    name: str
    location: str
    is_frame_folder: bool
    size_bytes: int
    mtime_ns: int
    error_kind: ErrorKind | None
    error: str | None
    root: str | None = field(default=None, compare=False, repr=False)


class Listing:
    """The videos of some sources, each listed once. Every iteration reads the folders again.

    Names are relative to the folder given, to the folder of a file or list, or to the last folder before a
    glob's first wildcard, or for a list on standard input to the current folder; with several sources to the deepest
    folder that has all of these. What is elsewhere has its absolute path.

    Args:
        sources: Folders, files, globs, lists and URIs, as a user writes them; ``-`` is a list on standard input, which
            is read once. What exists under its literal name is not taken for a glob.
        where: Which rows of lists in Parquet are meant (`vidcnn.sources.filters`); None for all.
        follow_links: Whether symbolic links in folders, and those that a glob matches, are followed out of these
            folders, and out of that from which the glob goes down. Files and folders that are named are read in any
            case, also those that a list names.

    Attributes:
        ignored: What was left out of folders: files that are neither videos nor images, by lower-case extension, and
            what is hidden or repeats a folder, by the headings of `vidcnn.sources.names`; of the latest iteration.
        empty_sources: Those of several folders that contain no video; of the latest iteration.
        unused_columns: Columns of each list that are not used, by its name; of the latest iteration.
        notices: What the user should know of the sources, in plain words; of the latest iteration.

    Raises:
        ValueError: There are no sources.
        SourceError: A source does not exist, cannot be listed, or is a glob that matches nothing. From
            iterating: a list is malformed or empty, or there is no video at all.
        UsageError: `where` is no condition, or there is no list to which it applies. From iterating: standard input is
            a terminal.
        StorageError: From iterating: the storage fails again and again.
    """

    def __init__(self, sources: Sequence[str], *, where: str | None = None, follow_links: bool = False) -> None:
        if not sources:
            raise ValueError("sources is empty")
        self._where = None if where is None else Filter(where)
        looked_up = (list_on_stdin() if source == STDIN else look_up(source) for source in sources)
        found = {source.key: source for source in looked_up}
        self._sources = [found[key] for key in sorted(found)]
        if where is not None and not any(source.kind == "list" for source in self._sources):
            raise UsageError("--where is for lists in Parquet, and no source is one", "name a table of `vidcnn scan`")
        self._named = [source for source in self._sources if source.kind != "folder"]
        self._folders = [source for source in self._sources if source.kind == "folder"]
        bases = [source.base for source in self._sources if isinstance(source.tree, LocalTree) or source.root]
        self._root = os.path.commonpath(bases) if bases else None
        self._below_root = None if self._root is None else join(self._root, "")
        self.ignored: Counter[str] = Counter()
        self.empty_sources: list[str] = []
        self.unused_columns: dict[str, tuple[str, ...]] = {}
        self.notices: list[str] = []
        self._num_faults = 0
        self._follow_links = follow_links

    @property
    def root(self) -> str | None:
        """The folder that names of local videos are relative to; None where all sources are in object storage."""
        return self._root

    @property
    def is_local(self) -> bool:
        """Whether all sources are on this machine, where looking for the first video costs next to nothing."""
        return all(isinstance(source.tree, LocalTree) for source in self._sources)

    def __iter__(self) -> Iterator[SourceVideo]:
        """List the videos: first those that are named one by one, then those of folders."""
        self.ignored.clear()
        self.empty_sources.clear()
        self.unused_columns.clear()
        self.notices.clear()
        # Neither one glob nor any folders repeat themselves; only what can repeat has to be remembered.
        may_repeat = len(self._sources) > 1 or self._sources[0].kind in ("list", "stdin")
        listed = Seen()
        is_empty = True
        self._num_faults = 0
        for source in self._named:
            for tree, found in self._find(source):
                video = self._video(tree, found)
                if may_repeat and not listed.add(video.location):
                    continue
                is_empty = False
                yield video
        for tree, found in self._find_in_folders():
            video = self._video(tree, found)
            if video.location not in listed:
                is_empty = False
                yield video
        if is_empty:
            raise self._no_video()

    def _find(self, source: Source) -> Iterator[tuple[Tree, Found]]:
        if source.kind in ("list", "stdin"):
            yield from self._find_in_list(source)
        elif source.pattern is None:
            yield source.tree, Found(source.path, source.tree.status(source.path))
        else:
            fence = self._fence(source.tree, [source.path])
            for match in expand(source.tree, source.path, source.pattern, fence):
                is_folder = match.status.is_folder
                inside = walk(source.tree, [match.path], self.ignored, fence) if is_folder else [match]
                yield from ((source.tree, found) for found in inside)

    def _find_in_list(self, source: Source) -> Iterator[tuple[Tree, Found]]:
        location = source.tree.location(source.path)
        folder = source.root or source.tree.location(posixpath.dirname(source.path))

        def note_unused(columns: Sequence[str]) -> None:
            if columns:
                self.unused_columns[source.shown] = tuple(map(shown_name, columns))

        written = read_stdin() if source.kind == "stdin" else read_list(location, note_unused, self._where)
        entries = ((_located(entry.text, folder, source.root), entry.version) for entry in written)
        fence = self._fence(source.tree, [source.root]) if source.root else None
        is_empty = True
        num_stale, first_stale = 0, ""
        with ThreadPoolExecutor(_NUM_LOOKUPS) as pool:
            while batch := list(islice(entries, _LOOKUP_BATCH)):
                is_empty = False
                locations = [location for location, _ in batch]
                apply = pool.map if any(map(is_remote, locations)) else map
                looked_up = apply(_entry_status, locations)
                for (tree, path, status), (location, version) in zip(looked_up, batch, strict=True):
                    if status.error is not None and source.root is None and _has_label(location):
                        raise _labelled(source.shown, location)
                    for found in self._find_entry(tree, Found(path, status), fence, is_scan=source.root is not None):
                        if version is not None and _is_another(found, path, version):
                            num_stale += 1
                            first_stale = first_stale or self._name(tree.location(path))
                        yield tree, found
        if num_stale and self._where is not None:
            self.notices.append(_stale_text(source.shown, num_stale, first_stale))
        if is_empty:
            name = f"'{source.shown}'" if source.kind == "list" else "on standard input"
            if self._where is not None:
                raise SourceError(f"no row of the list {name} meets --where '{self._where.text}'", "widen it")
            raise SourceError(f"the list {name} has no entries", "it takes one path or URI a line")

    def _find_entry(self, tree: Tree, entry: Found, fence: Fence | None, *, is_scan: bool) -> Iterator[Found]:
        """Find what an entry of a list stands for.

        Args:
            tree: Where it is.
            entry: What it names.
            fence: What symbolic links must not lead out of; None for a list that is no scan.
            is_scan: Whether what is below a folder of images has entries of its own.
        """
        if not entry.status.is_folder:
            yield keep_inside(fence, entry) if fence is not None and isinstance(tree, LocalTree) else entry
            return
        holds_video = False
        for found in walk(tree, [entry.path], self.ignored, fence or self._fence(tree, [entry.path])):
            holds_video = True
            yield found
            if is_scan and found.path == entry.path:
                return
        if not holds_video:
            yield Found(entry.path, _NO_VIDEO)

    def _find_in_folders(self) -> Iterator[tuple[Tree, Found]]:
        for root in sorted({source.tree.root for source in self._folders}):
            sources = [source for source in self._folders if source.tree.root == root]
            tree = sources[0].tree
            empty = {source.path: source.shown for source in sources}
            for found in walk(tree, list(empty), self.ignored, self._fence(tree, list(empty))):
                shown = empty.get(found.path)
                if shown and found.status.error and not found.is_frame_folder and len(self._sources) == 1:
                    raise SourceError(f"'{shown}' {found.status.error}", "check that you may list it")
                if empty:
                    empty = {path: empty[path] for path in empty if not _is_in(found.path, path)}
                yield tree, found
            self.empty_sources += empty.values()

    def _fence(self, tree: Tree, folders: Sequence[str]) -> Fence | None:
        return None if self._follow_links or not isinstance(tree, LocalTree) else Fence(folders)

    def _video(self, tree: Tree, found: Found) -> SourceVideo:
        location = tree.location(found.path)
        status = found.status
        self._num_faults = self._num_faults + 1 if status.error and status.error_kind is None else 0
        if self._num_faults >= _MAX_FAULTS:
            raise StorageError(
                f"the storage fails: the last {self._num_faults} files could not be looked at, such as "
                f"{shown_name(self._name(location))}, which {status.error}",
                "run the same command again when it is back",
            )
        return SourceVideo(
            name=self._name(location),
            location=location,
            is_frame_folder=found.is_frame_folder,
            size_bytes=status.size_bytes,
            mtime_ns=status.mtime_ns,
            error_kind=status.error_kind if status.error else None,
            error=status.error,
            root=found.root,
        )

    def _name(self, location: str) -> str:
        if self._below_root is not None and location.startswith(self._below_root) and location != self._root:
            return utf8_name(location[len(self._below_root) :])
        if is_remote(location):
            return utf8_name(public_location(location))
        if location != self._root:
            return utf8_name(location)
        # The root itself is a video: it has its own name, unless something in it is called the same.
        name = os.path.basename(location)
        return "." if os.path.lexists(join(location, name)) else utf8_name(name)

    def _no_video(self) -> SourceError:
        num_sources = len(self._sources)
        where = f"the {num_sources} sources contain" if num_sources > 1 else f"'{self._sources[0].shown}' contains"
        others = left_out_text(self.ignored, _NUM_IGNORED_SHOWN)
        hint = "files named directly or by a glob are read whatever their extension"
        return SourceError(f"{where} no video{f', only {others}' if others else ' (nor any other file)'}", hint)


def _is_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(join(folder, ""))


def _located(text: str, folder: str, root: str | None) -> str:
    """Return the location of an entry of a list; where all of a scanned source is one video, that has its own name."""
    location = resolve(text, folder)
    if root is not None and text == os.path.basename(root) and not os.path.lexists(location):
        return root
    return location


def _has_label(location: str) -> bool:
    """Return whether the location of an entry that cannot be read is that of a file and a number behind it."""
    path, _, number = location.rpartition(" ")
    return number.isdecimal() and not is_remote(location) and os.path.isfile(path) and not os.path.lexists(location)


def _labelled(shown: str, location: str) -> SourceError:
    return SourceError(
        f"the list '{shown}' has labels behind its paths, such as '{shown_name(os.path.basename(location))}'",
        "lists with labels are for training; name the folder of the videos, or a list of their paths alone",
    )


def _is_another(found: Found, path: str, version: tuple[int, int]) -> bool:
    """Return whether what is at a path now, and can be read, is something else than what was scanned there."""
    status = found.status
    now = status.size_bytes, status.mtime_ns // 1000
    return status.error is None and (found.path != path or now != version)


def _stale_text(shown: str, number: int, example: str) -> str:
    videos = "1 video has" if number == 1 else f"{number:,} videos have"
    return (
        f"{videos} changed since '{shown}' was written, such as {shown_name(example)}: --where goes by what was there "
        "then; the same scan again looks at what has changed"
    )


def _entry_status(location: str) -> tuple[Tree, str, Status]:
    if not is_remote(location):
        return _LOCAL, location, _LOCAL.status(location)
    try:
        tree, path = open_tree(location)
    except (OSError, ValueError) as failure:
        kind: ErrorKind | None = "unreadable" if isinstance(failure, ValueError) else None
        return _LOCAL, location, Status(error=failure_text(failure), error_kind=kind)
    return tree, path, tree.status(path)
