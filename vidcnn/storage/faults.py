"""Distinguishes a file's own faults from those of the storage, the network and this machine.

A video that does not exist, that its owner locked away, or that is no video will be so tomorrow: that is a row of the
table. Storage that does not answer, a connection that breaks, a stale mount, or too many open files are no property of
the video: it is read again, and then left to the next run.
"""

from __future__ import annotations

import errno
import os
import stat

from vidcnn.errors import StorageError, VideoError
from vidcnn.storage.uris import failure_text, is_remote, local_path

_OWN_FAULTS = frozenset(
    {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL, errno.ENXIO}
)
"""Error numbers that are due to a path's content or name. All others are those of the storage."""


def is_own_fault(error: Exception, location: str) -> bool:
    """Return whether a location itself is the reason why it cannot be read.

    Args:
        error: What opening, listing or reading it raised.
        location: Path or URI.

    Returns:
        False where the storage, the network or this machine is the reason, or may be.
    """
    if isinstance(error, ValueError) and not isinstance(error, OSError):
        return True  # a name or URI that means nothing
    if is_remote(location):
        return isinstance(error, FileNotFoundError | NotADirectoryError)
    if isinstance(error, PermissionError):
        return _is_locked(local_path(location))
    if isinstance(error, FileNotFoundError):
        return not _is_unmounted(local_path(location))
    return getattr(error, "errno", None) in _OWN_FAULTS


def video_fault(error: Exception, location: str) -> VideoError | StorageError:
    """Return the error of a video that could not be read.

    Args:
        error: What opening or reading it raised.
        location: Its path or URI.
    """
    reason = failure_text(error)
    if not is_own_fault(error, location):
        if isinstance(error, FileNotFoundError):
            return StorageError("it is missing, with all that was beside it: its storage may not be mounted")
        return StorageError(f"it {reason}")
    if isinstance(error, FileNotFoundError):
        return VideoError("changed", "the file does not exist")
    return VideoError("unreadable", reason.removeprefix("cannot be read: "))


def _is_locked(path: str) -> bool:
    """Return whether a file's own mode bits keep this process from reading it.

    Where they do not, a permission that is refused is the server's, whose ticket for this machine may have expired.
    """
    try:
        status = os.stat(path)
    except OSError:
        return False
    if status.st_uid == os.geteuid():
        return not status.st_mode & stat.S_IRUSR
    if status.st_gid in {os.getegid(), *os.getgroups()}:
        return not status.st_mode & stat.S_IRGRP
    return not status.st_mode & stat.S_IROTH


def _is_unmounted(path: str) -> bool:
    """Return whether a missing file is missing with all that was beside it, as where a share is no longer mounted."""
    try:
        return not os.listdir(os.path.dirname(path) or os.curdir)
    except OSError:
        return True
