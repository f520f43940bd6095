"""Class folders: the name of a video's folder is its class.

The folders in the data folder are the classes; or they are ``train``, ``val`` and ``test``, and the folders in
those are the classes. A video may be at any depth below the folder of its class.
"""

from __future__ import annotations

import posixpath
from collections import Counter, defaultdict
from collections.abc import Iterator

from vidcnn.annotations.problems import EMPTY_CLASS, LEADS_OUT_OF_DATA, LOOSE, NO_SEQUENCE, UNREADABLE, Problems
from vidcnn.annotations.rows import Entry, Row, split_named
from vidcnn.annotations.videos import check_storage, name_prefix
from vidcnn.errors import DataError
from vidcnn.sources import Listing, SourceVideo
from vidcnn.sources.arguments import Source
from vidcnn.sources.names import extension, file_name, media_kind, utf8_name
from vidcnn.sources.trees import join, merged
from vidcnn.sources.walk import is_visible


def read_class_folders(
    source: Source, problems: Problems, *, where: str | None = None, follow_links: bool = False
) -> tuple[list[Entry], Counter[str]]:
    """Read class folders.

    Args:
        source: The folder of them, or the table of a scan of it, with the videos that count.
        where: Which rows of the scan are meant; None for all.
        problems: Collects videos without a class, classes without a video, and images that are no video.
        follow_links: Whether symbolic links are followed out of the folder.

    Returns:
        The entries, and the files that are not used, counted by extension: what is neither video nor image, and
        images beside videos.

    Raises:
        SourceError: The folder cannot be listed, or contains no video.
        StorageError: The storage fails.
        DataError: There are classes beside the folders of splits.
        UsageError: `where` is no condition, or there is no scan.
    """
    location = source.tree.location(source.path)
    listing = Listing([location], where=where, follow_links=follow_links)
    inside = file_name(name_prefix(source.root or location))
    found = [(video, _parts(file_name(video.name).removeprefix(inside))) for video in listing]
    for text in listing.notices:
        problems.note(text)
    check_storage(video for video, _ in found)
    ignored = Counter(listing.ignored)
    videos = _without_lone_images(found, ignored, problems)
    tops = {parts[0] for _, parts in videos if len(parts) > 1}
    has_splits = _has_splits(tops, source.shown)
    depth = 1 if has_splits else 0
    entries: list[Entry] = []
    for video, parts in videos:
        if video.error_kind == "unsafe":
            problems.add(LEADS_OUT_OF_DATA, video.name)
        elif video.error and len(parts) <= depth + 1:
            problems.add(UNREADABLE, f"{video.name} {video.error}")
        elif len(parts) <= depth + 1:
            problems.add(LOOSE, video.name)
        else:
            split = split_named(parts[0]) if has_splits else None
            entries.append(Entry(Row("", video.name, (parts[depth],), split=split), video))
    used = {tuple(parts[: depth + 1]) for _, parts in found}
    # What a scan, or a part of it, has no video of is left out on purpose.
    for folder in _class_folders(source, tops if has_splits else None) if source.root is None else ():
        if folder not in used:
            problems.add(EMPTY_CLASS, "/".join(folder))
    return entries, ignored


def _parts(path: str) -> list[str]:
    """Return the folders and the name of a file, each written down for itself: a class has one name in all paths."""
    return [utf8_name(part) for part in path.split("/")]


def _without_lone_images(
    videos: list[tuple[SourceVideo, list[str]]], ignored: Counter[str], problems: Problems
) -> list[tuple[SourceVideo, list[str]]]:
    """Leave out images that are not frames of a folder: beside videos they are thumbnails."""
    kept: list[tuple[SourceVideo, list[str]]] = []
    lone: dict[str, list[str]] = defaultdict(list)
    folders = set()
    for video, parts in videos:
        if not video.is_frame_folder and media_kind(video.name) == "image":
            lone[posixpath.dirname(video.name)].append(video.name)
        else:
            kept.append((video, parts))
            folders.add(posixpath.dirname(video.name))
    for folder, images in lone.items():
        if folder in folders:
            ignored.update(map(extension, images))
        else:
            problems.add(NO_SEQUENCE, folder or ".")
    return kept


def _has_splits(tops: set[str], shown: str) -> bool:
    """Return whether the top folders are splits; a class may be called ``train``, too, beside ``bus``."""
    splits = {name: split for name in sorted(tops) if (split := split_named(name))}
    if "train" not in splits.values():
        return False
    if len(splits) < len(tops) and len(set(splits.values())) > 1:
        others = ", ".join(f"'{name}'" for name in sorted(tops - set(splits)))
        raise DataError(
            f"'{shown}' has the folders of splits ({', '.join(splits)}) and others beside them ({others})",
            "move the others, or give every class its folder below those of the splits",
        )
    return len(splits) == len(tops)


def _class_folders(source: Source, tops: set[str] | None) -> Iterator[tuple[str, ...]]:
    """Return the folders that stand for classes of the training samples, with those that contain nothing."""
    if tops is None:
        contents = merged(source.tree.read(source.path, _is_nothing, is_visible))
        yield from ((utf8_name(name),) for name in sorted(contents.folders + contents.links))
        return
    for top in sorted(tops):
        if split_named(top) == "train":
            contents = merged(source.tree.read(join(source.path, top), _is_nothing, is_visible))
            yield from ((top, utf8_name(name)) for name in sorted(contents.folders + contents.links))


def _is_nothing(name: str) -> bool:
    return False
