"""Folders that nobody but their owner may enter: scratch and caches, never what users share."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

PRIVATE_MODE = 0o700
_OTHERS = 0o077


def make_private(path: Path) -> None:
    """Make a folder that only this user may enter; one of this user's that is there is closed to others.

    Folders above it that are missing are made in the same way; those that are there stay as they are.

    Args:
        path: The folder.

    Raises:
        OSError: It cannot be made; or it is a symbolic link, a file, or the folder of another user.
    """
    for folder in reversed([parent for parent in path.parents if not os.path.lexists(parent)]):
        _make(folder)
    _make(path)
    try:
        opened = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        if path.is_symlink():
            raise OSError(errno.ELOOP, "it is a symbolic link, where a folder is expected", str(path)) from None
        raise
    try:
        status = os.fstat(opened)
        if status.st_uid != os.geteuid():
            raise PermissionError(errno.EPERM, f"it belongs to another user (uid {status.st_uid})", str(path))
        if stat.S_IMODE(status.st_mode) & _OTHERS:
            os.fchmod(opened, PRIVATE_MODE)
    finally:
        os.close(opened)


def _make(folder: Path) -> None:
    try:
        os.mkdir(folder, PRIVATE_MODE)
    except FileExistsError:
        return
    os.chmod(folder, PRIVATE_MODE)  # the umask may have taken rights of the owner
