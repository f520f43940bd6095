"""Finding videos: below folders, by a pattern, and as folders of numbered images.

`walk` and `expand` go down a `Tree` as generators, in an order that depends on names alone (but that empty objects come
last in their folder), and keep no more than the names of the folders that they are in.
"""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Generator, Iterable, Iterator
from functools import partial
from typing import NamedTuple

from vidcnn.errors import StorageError, VideoError
from vidcnn.sources.fence import LEADS_OUT, Fence
from vidcnn.sources.names import (
    HIDDEN_FILES,
    HIDDEN_FOLDERS,
    KNOWN_FOLDERS,
    extension,
    media_kind,
    numbered_frames,
    utf8_name,
)
from vidcnn.sources.patterns import Pattern, States
from vidcnn.sources.trees import Contents, Status, Tree, join, merged, open_tree
from vidcnn.storage.faults import video_fault

_OUTSIDE = Status(error=LEADS_OUT, error_kind="unsafe")


class Found(NamedTuple):
    """A video, what is in the place of one, or (from `expand`) a folder.

    Attributes:
        path: Path in the tree that was searched.
        status: Of the file; of a frame folder the sum of the sizes and the newest of the times of its frames.
        is_frame_folder: Whether the path is a folder whose images are one video.
        root: Folder that the symbolic links on the way to it must not lead out of; None where they may lead anywhere.
    """

    path: str
    status: Status
    is_frame_folder: bool = False
    root: str | None = None


def walk(tree: Tree, tops: Iterable[str], ignored: Counter[str], fence: Fence | None = None) -> Iterator[Found]:
    """Find the videos in and below folders, entering each real folder once.

    Symbolic links to folders come after everything else, and are followed only if they lead somewhere new. So
    a folder has its own path rather than that of a link, and circles of links end.

    Args:
        tree: Where the folders are.
        tops: Folders to start from; one that is below an earlier one adds nothing.
        ignored: Counts what is left out: files that are neither videos nor images, by extension; hidden files and
            folders; and links to folders that are listed without them.
        fence: What symbolic links must not lead out of; None follows all.

    Yields:
        Of each folder, its files by name, then what its sub-folders contain. What is hidden (a leading dot) is
        left out. A folder that cannot be read is found in place of what it contains, with an error; so is a link out of
        the fence.
    """
    starts: set[str] = set()  # real paths of folders below which everything is listed but what is hidden
    pending = deque((top, False) for top in tops)
    while pending:
        top, is_link = pending.popleft()
        real_top = tree.resolve(top)
        root = None if fence is None else fence.root_of(real_top)
        if fence is not None and root is None:
            yield Found(top, _OUTSIDE)
            continue
        if _is_listed(real_top, starts):
            ignored.update([KNOWN_FOLDERS] if is_link else [])
            continue
        starts.add(real_top)
        levels = [iter([(top, real_top)])]
        while levels:
            folder, real = next(levels[-1], ("", ""))
            if not folder:
                levels.pop()
                continue
            parts = tree.read(folder, partial(_keep_media, ignored), partial(_keep_visible, ignored))
            contents = yield from _videos_in(tree, folder, parts, fence, root)
            pending.extend((join(folder, name), True) for name in contents.links)
            levels.append(_new_folders(folder, real, contents.folders, starts))


def expand(tree: Tree, base: str, pattern: Pattern, fence: Fence | None = None) -> Iterator[Found]:
    """Find the files and folders that a pattern matches, each once.

    Args:
        tree: Where to look.
        base: Folder that the pattern is relative to.
        pattern: What to match.
        fence: What symbolic links must not lead out of; None follows all.

    Yields:
        Files of any kind, and folders (``status.is_folder``); a folder that matches is not entered. A folder
        that cannot be read is found with an error, if there could be matches in it; so is a link out of the fence.
    """
    root = None if fence is None else fence.root_of(tree.resolve(base))
    levels = [iter([(base, pattern.start())])]
    while levels:
        folder, states = next(levels[-1], ("", pattern.start()))
        if not folder:
            levels.pop()
        elif fence is not None and (root := fence.root_of(tree.resolve(folder))) is None:
            yield Found(folder, _OUTSIDE)
        elif pattern.matches_folder(states):
            yield Found(folder, Status(is_folder=True))
        else:
            keep_file, keep_folder = partial(pattern.matches_file, states), partial(pattern.enter, states)
            folders: set[str] = set()
            links: set[str] = set()
            for part in tree.read(folder, keep_file, keep_folder):
                yield from _files_in(tree, folder, part, fence, root)
                folders.update(part.folders)
                links.update(part.links)
            levels.append(_matching_folders(folder, states, folders, links, pattern))


def keep_inside(fence: Fence, found: Found) -> Found:
    """Return a file of this machine with the root that its links must not lead out of, or with an error if they do."""
    root = fence.root_of(os.path.realpath(found.path))
    return Found(found.path, _OUTSIDE) if root is None else found._replace(root=root)


def list_frames(location: str) -> list[str]:
    """Return the locations of the images of a frame folder, in the order of their numbers.

    Raises:
        VideoError: `unreadable`: the folder cannot be read; `changed`: it no longer contains one sequence of
            images.
        StorageError: The storage fails.
    """
    try:
        tree, folder = open_tree(location)
    except (OSError, ValueError) as failure:
        raise video_fault(failure, location) from failure
    contents = merged(tree.read(folder, partial(_keep_media, Counter()), is_visible))
    if contents.error and contents.error_kind is None:
        raise StorageError(f"it {contents.error}")
    if contents.error:
        raise VideoError("unreadable", contents.error)
    frames = _frames_in(contents)
    if frames is None:
        raise VideoError("changed", "it no longer is a folder of one sequence of numbered images")
    return [tree.location(join(folder, name)) for name in frames]


def _keep_media(ignored: Counter[str], name: str) -> bool:
    """Keep videos and images that are not hidden, and count what else there is."""
    if name.startswith("."):
        ignored[HIDDEN_FILES] += 1
        return False
    if media_kind(name) is None:
        ignored[utf8_name(extension(name))] += 1
        return False
    return True


def _keep_visible(ignored: Counter[str], name: str) -> bool:
    """Keep folders that are not hidden, and count the others but for those in which runs of vidcnn work."""
    if is_visible(name):
        return True
    if not name.endswith(".vidcnn"):
        ignored[HIDDEN_FOLDERS] += 1
    return False


def is_visible(name: str) -> bool:
    """Return whether a name is not that of a hidden file or folder."""
    return not name.startswith(".")


def _is_listed(real: str, starts: set[str]) -> bool:
    """Return whether a folder is in or below one of `starts`, with nothing hidden in between."""
    above = real
    while above not in starts:
        parent = os.path.dirname(above)
        if parent == above:
            return False
        above = parent
    return all(map(is_visible, real[len(above) :].split("/")))


def _new_folders(folder: str, real: str, names: list[str], starts: set[str]) -> Iterator[tuple[str, str]]:
    for name in names:
        real_path = join(real, name)
        if real_path not in starts:
            yield join(folder, name), real_path


def _matching_folders(
    folder: str, states: States, folders: set[str], links: set[str], pattern: Pattern
) -> Iterator[tuple[str, States]]:
    for name in sorted(folders | links):
        if inside := pattern.enter(states, name, is_link=name in links):
            yield join(folder, name), inside


def _frames_in(contents: Contents) -> list[str] | None:
    """Return the ordered frames if what a folder contains is one video, else None."""
    if contents.error or any(media_kind(name) == "video" for name in contents.files):
        return None
    return numbered_frames(contents.files)


def _videos_in(
    tree: Tree, folder: str, parts: Iterable[Contents], fence: Fence | None, root: str | None
) -> Generator[Found, None, Contents]:
    """Yield the videos in a folder, and return its folders and links.

    Images are held back until there is a video among them, or the folder is at its end: they may all be one video. If
    the folder cannot be read to its end before that is known, only this is found.
    """
    inside = Contents([], [], [])
    held: list[Contents] | None = []
    for part in parts:
        inside.folders.extend(part.folders)
        inside.links.extend(part.links)
        if held is not None:
            held.append(part)
            if part.error and len(held) > 1:
                held = [part]
            elif part.error is None and not any(media_kind(name) == "video" for name in part.files):
                continue
        for known in [part] if held is None else held:
            yield from _files_in(tree, folder, known, fence, root)
        held = None
    if held:
        contents = merged(held)
        frames = _frames_in(contents)
        if frames is None:
            yield from _files_in(tree, folder, contents, fence, root)
        else:
            yield Found(folder, _frames_status(tree, folder, contents, frames, fence), is_frame_folder=True, root=root)
    return Contents([], sorted(inside.folders), sorted(inside.links))


def _files_in(tree: Tree, folder: str, contents: Contents, fence: Fence | None, root: str | None) -> Iterator[Found]:
    for name in contents.files:
        path = join(folder, name)
        root_of_file = root
        if fence is not None and name in contents.linked:
            root_of_file = fence.root_of(tree.resolve(path))
            if root_of_file is None:
                yield Found(path, _OUTSIDE)
                continue
        status = contents.statuses.get(name) or tree.status(path)
        yield Found(path, Status(error="became a folder") if status.is_folder else status, root=root_of_file)
    if contents.error:
        yield Found(folder, Status(error=contents.error, error_kind=contents.error_kind))


def _frames_status(tree: Tree, folder: str, contents: Contents, frames: list[str], fence: Fence | None) -> Status:
    size_bytes = mtime_ns = 0
    error, kind = None, Status().error_kind
    for name in frames:
        path = join(folder, name)
        if fence is not None and name in contents.linked and fence.root_of(tree.resolve(path)) is None:
            return Status(error=f"has a frame, {utf8_name(name)}, that {LEADS_OUT}", error_kind="unsafe")
        status = contents.statuses.get(name) or tree.status(path)
        size_bytes += status.size_bytes
        mtime_ns = max(mtime_ns, status.mtime_ns)
        if status.error and error is None:
            error, kind = f"its frame {utf8_name(name)} {status.error}", status.error_kind
    return Status(False, size_bytes, mtime_ns, error, kind)
