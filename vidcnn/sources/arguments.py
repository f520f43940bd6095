"""What one SOURCE argument is: a folder, a file, a list, or a glob; here or in object storage.

From what a user wrote to a `Source`, with one look at the storage that it names.
"""

from __future__ import annotations

import os
import posixpath
from dataclasses import dataclass
from typing import Literal

from vidcnn.errors import SourceError
from vidcnn.sources.lists import is_list, read_scan_root
from vidcnn.sources.names import shown_name
from vidcnn.sources.patterns import Pattern, has_magic, split_glob
from vidcnn.sources.trees import LocalTree, Tree, open_tree
from vidcnn.sources.walk import expand
from vidcnn.storage.uris import failure_text, is_remote, local_path, public_location, split_uri
from vidcnn.streams import STDIN


@dataclass(frozen=True)
class Source:
    """A source after a first look.

    Attributes:
        kind: How `path` is read.
        tree: The storage that it is in.
        path: Its path there; for a glob, that of the folder from which the pattern goes down; for a list on standard
            input, that which it would have in the current folder.
        shown: The source as messages name it.
        pattern: Only for a glob.
        root: Only for a list that is a scan: the folder that its entries are relative to.
    """

    kind: Literal["file", "list", "stdin", "glob", "folder"]
    tree: Tree
    path: str
    shown: str
    pattern: Pattern | None = None
    root: str | None = None

    @property
    def key(self) -> tuple[str, str, str, str]:
        """The same for the same source written twice; sorts sources in an order of their own."""
        return self.kind, self.tree.root, self.path, self.shown if self.pattern else ""

    @property
    def base(self) -> str:
        """The folder that names are relative to, where this is the only source."""
        return self.root or (self.path if self.kind in ("folder", "glob") else os.path.dirname(self.path))


def look_up(text: str) -> Source:
    """Find out what a source is. What exists under its literal name is not taken for a glob.

    Raises:
        SourceError: It does not exist, cannot be listed, or is a glob that matches nothing.
    """
    shown = shown_name(public_location(text))
    if not text:
        raise SourceError("a source is the empty string", "name a folder, a file, a glob, a list or a URI")
    try:
        tree, path = open_tree(text) if is_remote(text) else (LocalTree(), absolute_path(local_path(text)))
    except (OSError, ValueError) as failure:
        hint = "check the URI, and that your credentials are for this storage"
        raise SourceError(f"'{shown}' {failure_text(failure)}", hint) from failure
    status = tree.status(path)
    if status.is_folder:
        _check_listable(tree, path, shown)
        return Source("folder", tree, path, shown)
    if status.error is None:
        if is_list(path):
            return Source("list", tree, path, shown, root=read_scan_root(tree.location(path)) or None)
        return Source("file", tree, path, shown)
    if isinstance(tree, LocalTree) and os.path.lexists(path):
        return Source("file", tree, path, shown)  # a broken link or the like is one bad video
    written = split_uri(text).path if is_remote(text) else local_path(text)
    if not has_magic(written):
        hint = "check the URI" if is_remote(text) else f"check the path; relative ones start from {os.getcwd()}"
        raise SourceError(f"'{shown}' {status.error}", hint)
    base, parts = split_glob(written)
    base = base if is_remote(text) else absolute_path(base)
    pattern = Pattern(parts)
    if not tree.status(base).is_folder or next(expand(tree, base, pattern), None) is None:
        raise SourceError(f"nothing matches '{shown}'", "case counts, and only ** goes down into sub-folders")
    return Source("glob", tree, base, shown, pattern)


def list_on_stdin() -> Source:
    """Return the source that is a list on standard input; its paths are relative to the current folder."""
    return Source("stdin", LocalTree(), os.path.abspath(STDIN), "standard input")


def resolve(path: str, base: str) -> str:
    """Return the location that a path of a list means, relative to the location of a folder."""
    if is_remote(path):
        return path
    if path.startswith(("file://", "/")) or not is_remote(base):
        return absolute_path(os.path.join(base, local_path(path)))
    uri = split_uri(base)
    return uri.location_of(posixpath.normpath(posixpath.join(uri.path, path)))


def absolute_path(path: str) -> str:
    """Make a local path absolute; its symbolic links stay, but for those before a ``..``.

    The folder above a link is not the folder above what the link leads to.
    """
    parts = path.split("/") if ".." in path else []
    if ".." in parts:
        num_above = len(parts) - parts[::-1].index("..")
        path = "/".join([os.path.realpath("/".join(parts[:num_above])), *parts[num_above:]])
    path = os.path.abspath(path)
    return path.removeprefix("/") if path.startswith("//") else path


def _check_listable(tree: Tree, folder: str, shown: str) -> None:
    if not isinstance(tree, LocalTree):
        return  # listing costs requests there; iterating shows it
    try:
        os.scandir(folder).close()
    except OSError as failure:
        raise SourceError(f"'{shown}' {failure_text(failure)}", "check that you may list it") from failure
