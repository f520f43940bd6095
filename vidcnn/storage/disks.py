"""Disks: where caches are, and whether a path is on a file system that many machines share."""

from __future__ import annotations

import os
import re
from pathlib import Path

_SHARED = frozenset(
    (
        *("9p", "afs", "beegfs", "ceph", "cifs", "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4"),
        *("ocfs2", "orangefs", "panfs", "pvfs2", "smb3", "smbfs", "virtiofs", "wekafs"),
    )
)
"""File systems that exist to be shared; so do all in user space (`fuse.sshfs`, `fuse.gcsfuse`, `fuse.juicefs`)."""

_MOUNTS = "/proc/self/mountinfo"
_BOOT = "/proc/sys/kernel/random/boot_id"


def cache_directory() -> Path:
    """Return the folder for what can be made again: ``$XDG_CACHE_HOME/vidcnn``, by default ``~/.cache/vidcnn``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "vidcnn")


def is_shared(path: str) -> bool:
    """Return whether a path is, or would be, on a file system that other machines may have, too.

    Args:
        path: A local path; it need not exist.
    """
    kind = file_system(nearest_folder(path))
    return kind in _SHARED or kind.startswith("fuse.")


def fingerprint(path: str) -> str:
    """Return a text that distinguishes the folder of a path from all other folders, of this machine and of others.

    Two processes that get the same see the same folder, be they in containers or not.

    Args:
        path: A local path; where it does not exist, its nearest folder that does is taken.
    """
    state = os.stat(nearest_folder(path))
    return f"{_read(_BOOT).strip()}:{state.st_dev}:{state.st_ino}"


def nearest_folder(path: str) -> str:
    """Return the folder that a path is in or would be made in: the nearest one above it that exists."""
    folder = os.path.dirname(os.path.abspath(path))
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    return folder


def file_system(folder: str) -> str:
    """Return the type of the file system of a folder, as the kernel names it; empty where that is not known."""
    folder, best, kind = os.path.realpath(folder), "", ""
    for line in filter(None, _read(_MOUNTS).split("\n")):
        before, _, after = line.partition(" - ")
        mounted = re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), before.split(" ")[4])
        is_above = mounted == "/" or folder == mounted or folder.startswith(mounted + "/")
        if is_above and len(mounted) >= len(best):  # a later mount hides an earlier one
            best, kind = mounted, after.split()[0]
    return kind


def _read(path: str) -> str:
    try:
        return Path(path).read_text(errors="surrogateescape")
    except OSError:
        return ""
