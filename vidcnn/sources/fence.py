"""Keeping to a source: symbolic links in it are followed only where they stay in it.

Takes paths; tells, while a source is listed, whether they lead out of it, and opens files so that this holds when they
are opened, too: a file may become a link between the two.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from vidcnn.errors import StorageError, VideoError

LEADS_OUT = "is a symbolic link out of the source: --follow-links reads what it leads to"
"""Continues a sentence after the path of a link."""

_LED_OUT = "a symbolic link leads out of the source: --follow-links reads what it leads to"


class Fence:
    """The folders of a source, and what is in them.

    Args:
        roots: The folders, as the user names them; a root that is a link is followed.
    """

    def __init__(self, roots: Iterable[str]) -> None:
        self._roots = {os.path.realpath(root): root for root in roots}

    def root_of(self, real: str) -> str | None:
        """Return the root that contains a path without symbolic links, as the user names it; None where none does."""
        above = real
        while above not in self._roots:
            parent = os.path.dirname(above)
            if parent == above:
                return None
            above = parent
        return self._roots[above]


def open_inside(path: str, root: str | None = None) -> int:
    """Open a regular file for reading; anything else is not opened, for to open a pipe or a device may take forever.

    Args:
        path: Where it is.
        root: Folder that its symbolic links must not lead out of; None lets them lead anywhere. Its own links are
            followed, on the machine that opens the file.

    Returns:
        A descriptor, to be closed.

    Raises:
        VideoError: `unsafe`: it is out of the root; `unreadable`: it is no regular file.
        OSError: It cannot be opened.
    """
    with _found(path, root) as (descriptor, status):
        if stat.S_ISDIR(status.st_mode):
            raise VideoError("unreadable", "it is a folder, and not one of numbered frames")
        if not stat.S_ISREG(status.st_mode):
            raise VideoError("unreadable", "it is not a regular file")
        # What was looked at is opened, whatever has its name by now.
        return os.open(_own_link(descriptor), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)


def status_inside(path: str, root: str | None = None) -> os.stat_result:
    """Return the status of a file, without opening it.

    Args:
        path: Where it is.
        root: As for `open_inside`.

    Raises:
        VideoError: `unsafe`: it is out of the root.
        OSError: It cannot be looked at.
    """
    with _found(path, root) as (_, status):
        return status


@contextmanager
def _found(path: str, root: str | None) -> Iterator[tuple[int, os.stat_result]]:
    """Find a file, without opening it for reading, and yield a descriptor that stands for it, and its status."""
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if root is not None:
            _check_inside(descriptor, root)
        yield descriptor, os.fstat(descriptor)
    finally:
        os.close(descriptor)


def _check_inside(descriptor: int, root: str) -> None:
    try:
        real = os.readlink(_own_link(descriptor))
    except OSError as error:
        raise StorageError("it cannot be told where its links lead", "mount /proc, or give --follow-links") from error
    inside = os.path.join(os.path.realpath(root), "")
    if not real.startswith(inside):
        raise VideoError("unsafe", _LED_OUT)


def _own_link(descriptor: int) -> str:
    """Return the path under which the system knows what a descriptor of this process stands for."""
    return f"/proc/self/fd/{descriptor}"
