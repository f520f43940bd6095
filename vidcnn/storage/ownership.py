"""Whose a file is: what lies in a folder of vidcnn's is not trusted because it lies there.

Whoever can write to a folder can put a file of any name there, or a symbolic link, or a named pipe, at which a reader
waits for ever. So what is read again (caches, checkpoints, records) is opened without following a link, as a regular
file, and looked at when it is open: from then on nobody can change which file it is.
"""

from __future__ import annotations

import errno
import grp
import os
import pwd
import stat
from io import BufferedReader
from pathlib import Path


def open_regular(path: str | Path, *, follow_links: bool = False) -> BufferedReader:
    """Open a regular file to read it; neither a link nor a pipe nor a device, and without waiting.

    Args:
        path: The file.
        follow_links: Whether the name may be a symbolic link, as it may where a user gave it.

    Raises:
        OSError: It cannot be read, or is not a regular file.
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY | (0 if follow_links else os.O_NOFOLLOW)
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        if error.errno == errno.ELOOP and not follow_links:
            raise OSError(errno.ELOOP, "it is a symbolic link, which is not followed here", str(path)) from error
        raise
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_small(path: str | Path, max_bytes: int) -> bytes:
    """Read a regular file that is no link, of at most `max_bytes`.

    Raises:
        OSError: It cannot be read, is not a regular file, or is larger.
    """
    with open_regular(path) as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise OSError(errno.EFBIG, f"it is larger than {max_bytes:,} bytes", str(path))
    return content


def why_foreign(status: os.stat_result) -> str | None:
    """Return in words why someone else may have made a file or folder, or may change it; None if nobody can.

    Only this user and root count as trusted, and a group that has no one but this user. A folder that others can write
    to may be one in which nobody can replace what belongs to others (mode 1777), as the files in it are looked at
    themselves.

    Args:
        status: Of a file that is open, or of a folder.
    """
    if status.st_uid not in (0, os.geteuid()):
        return f"it belongs to another user (uid {status.st_uid})"
    is_sticky = stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX
    writers = 0o002 if _is_group_of_one(status.st_gid) else 0o022
    if status.st_mode & writers and not is_sticky:
        return f"others can write to it (mode {stat.S_IMODE(status.st_mode):04o})"
    return None


def is_own(status: os.stat_result) -> bool:
    """Return whether a file is a regular one of this user, which may be removed."""
    return stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid()


def _is_group_of_one(gid: int) -> bool:
    """Return whether a group is this user's own, as many systems make one for each user, with a umask of 002."""
    try:
        user, group = pwd.getpwuid(os.geteuid()), grp.getgrgid(gid)
    except KeyError:
        return False
    return gid == user.pw_gid and group.gr_name == user.pw_name and set(group.gr_mem) <= {user.pw_name}
