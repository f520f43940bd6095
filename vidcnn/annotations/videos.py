"""From paths as annotations write them to videos.

From rows to entries, whose videos have an error where there is nothing to read. Nothing is decoded.
"""

from __future__ import annotations

import os
import posixpath
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from vidcnn.annotations.index_lists import class_fields
from vidcnn.annotations.problems import printable
from vidcnn.annotations.rows import Entry, Row
from vidcnn.errors import SourceError, StorageError
from vidcnn.sources import Listing, SourceVideo
from vidcnn.sources.arguments import resolve
from vidcnn.sources.fence import Fence
from vidcnn.sources.names import media_kind, utf8_name
from vidcnn.sources.trees import Status, join, open_tree
from vidcnn.sources.walk import walk
from vidcnn.storage.faults import is_own_fault
from vidcnn.storage.patience import patiently
from vidcnn.storage.uris import failure_text, is_remote, public_location

MISSING_ERROR = "does not exist"

_NUM_LOOKUPS = 16
"""Paths that are looked up at the same time: each takes a round trip where the storage is not in this machine."""

_LOOKUP_BATCH = 256


def find_videos(rows: Sequence[Row], base: str, *, follow_links: bool = False) -> list[Entry]:
    """Look up the videos of rows.

    Args:
        rows: The rows of one or several files.
        base: Location of the folder that their paths, and the names of their videos, are relative to.
        follow_links: Whether symbolic links in folders are followed out of these; what a row names is read in any case.

    Raises:
        SourceError: There are tables of Kinetics, and `base`, or a folder in it, cannot be listed or contains no video.
        StorageError: The storage fails.
    """
    # A path that is not there is a mistake in the annotations; storage that does not answer is not.
    locations = {row.path: resolve(row.path, base) for row in rows if not row.is_stem}
    videos = _look_up(list(dict.fromkeys(locations.values())), base, follow_links=follow_links)
    check_storage(videos.values())
    stems = {row.path for row in rows if row.is_stem}
    files = _files_by_stem(base, stems, follow_links=follow_links) if stems else {}
    entries: list[Entry] = []
    for row in rows:
        if row.is_stem:
            entries.append(Entry(row, _kinetics_video(row, files.get(row.path, []), base)))
            continue
        video = videos[locations[row.path]]
        if row.is_indexed and len(row.labels) > 1:
            is_folder = video.is_frame_folder or (video.error is not None and media_kind(row.path) != "video")
            row = replace(row, labels=class_fields(row, is_folder=is_folder))
        entries.append(Entry(row, video))
    return entries


def check_storage(videos: Iterable[SourceVideo]) -> None:
    """Make sure that no video, or folder of videos, has an error that only a failing storage causes.

    Raises:
        StorageError: It does so for some.
    """
    failed = [video for video in videos if video.error is not None and video.error_kind is None]
    if failed:
        more = f", and so for {len(failed) - 1:,} more" if len(failed) > 1 else ""
        raise StorageError(
            f"'{printable(failed[0].name)}' {failed[0].error}{more}",
            "this is no fault of the data: try again when the storage answers",
        )


class RealFiles:
    """Recognises files that have several names: through symbolic links, or URIs with different options."""

    def __init__(self) -> None:
        self._folders: dict[str, str] = {}

    def of(self, location: str) -> str:
        """Return the same for two locations of one file."""
        if is_remote(location):
            return public_location(location)
        if os.path.islink(location):
            return os.path.realpath(location)
        folder, name = os.path.split(location)
        if folder not in self._folders:
            self._folders[folder] = os.path.realpath(folder)
        return join(self._folders[folder], name)


def _look_up(locations: Sequence[str], base: str, *, follow_links: bool) -> dict[str, SourceVideo]:
    size = max(1, min(_LOOKUP_BATCH, len(locations) // _NUM_LOOKUPS))
    batches = [locations[first : first + size] for first in range(0, len(locations), size)]
    with ThreadPoolExecutor(_NUM_LOOKUPS) as pool:
        found = pool.map(
            lambda batch: [_video(location, base, follow_links=follow_links) for location in batch], batches
        )
        return {video.location: video for videos in found for video in videos}


def _video(location: str, base: str, *, follow_links: bool) -> SourceVideo:
    is_frame_folder = False
    root = None
    try:
        tree, path = patiently(lambda: open_tree(location))
    except (OSError, ValueError) as failure:
        own = is_own_fault(failure, location)
        status = Status(error=failure_text(failure), error_kind="unreadable" if own else None)
    else:
        status = tree.status(path)
        if status.is_folder:
            fence = None if follow_links or is_remote(location) else Fence([path])
            inside = next(walk(tree, [path], Counter(), fence), None)
            if inside is not None and inside.path == path:  # its images, or why it cannot be read
                status, is_frame_folder, root = inside.status, inside.is_frame_folder, inside.root
            else:
                status = Status(error="is a folder, but not of one sequence of numbered images", error_kind="no_video")
    return SourceVideo(
        name=_name(location, base),
        location=location,
        is_frame_folder=is_frame_folder,
        size_bytes=status.size_bytes,
        mtime_ns=status.mtime_ns,
        error_kind=status.error_kind if status.error else None,
        error=status.error,
        root=root,
    )


def name_prefix(base: str) -> str:
    """Return what the names of videos in a folder begin with: nothing, or the URI of a remote folder.

    Args:
        base: Location of the folder.
    """
    return join(utf8_name(public_location(base)), "") if is_remote(base) else ""


def _name(location: str, base: str) -> str:
    """Name a video as `Listing` does."""
    if is_remote(location):
        return utf8_name(public_location(location))
    inside = join(base, "")
    return utf8_name(location.removeprefix(inside) if location.startswith(inside) else location)


def _files_by_stem(base: str, stems: set[str], *, follow_links: bool) -> dict[str, list[SourceVideo]]:
    files: dict[str, list[SourceVideo]] = {}
    listed = list(Listing([base], follow_links=follow_links))
    check_storage(listed)
    for video in listed:
        if video.error is not None and media_kind(video.name) is None:  # a folder: what it contains is not missing
            raise SourceError(f"'{printable(video.name)}' {video.error}", "look at what keeps it from being read")
        name = posixpath.basename(video.name)
        stem = name.rpartition(".")[0] if media_kind(name) else name
        if stem in stems:
            files.setdefault(stem, []).append(video)
    return files


def _kinetics_video(row: Row, files: Iterable[SourceVideo], base: str) -> SourceVideo:
    """Choose a file: best one in a folder named like the label, with blanks or underscores, else the first by name."""
    folders = {text for label in row.labels for text in (label, label.replace(" ", "_"))}

    def order(video: SourceVideo) -> tuple[bool, str]:
        return posixpath.basename(posixpath.dirname(video.name)) not in folders, video.name

    missing = SourceVideo(row.path, resolve(row.path, base), False, 0, 0, "unreadable", MISSING_ERROR)
    return min(files, key=order, default=missing)
