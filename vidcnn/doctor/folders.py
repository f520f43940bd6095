"""The folders that a run writes to: whether there is room in them, and whether Ray's names fit into a socket's."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from vidcnn.errors import describe_reason
from vidcnn.reporting.findings import Finding, Level, plain

TOPIC = "disk"
_PROBE_BYTES = 64 * 2**10
_LEAST_BYTES = 64 * 2**20
_USUAL_BYTES = 2 * 2**30
_LEAST_FILES = 10_000
_FULL_SHARE = 0.95
"""Ray refuses to spill objects to a disk that is fuller."""
_SOCKET_BYTES = 107
"""The longest path of a socket: `sun_path` of unix(7), without its end."""
_GB = 10**9


def check_folder(name: str, folder: Path, *, is_needed: bool = True) -> Finding:
    """Look whether a folder can be written, and how much fits into it.

    Args:
        name: What it is for.
        folder: The folder.
        is_needed: Whether runs fail without it.
    """
    name, shown = f"{name} folder", plain(str(folder))
    bad: Level = "failure" if is_needed else "warning"
    try:
        status = os.statvfs(folder)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(_PROBE_BYTES))
            file.flush()
    except OSError as error:
        problem = f"the {name} {shown} cannot be written: {describe_reason(error)}"
        return Finding(TOPIC, name, shown, bad, problem, _remedy(name))
    size, free = status.f_blocks * status.f_frsize, status.f_bavail * status.f_frsize
    value = f"{shown}, {_size(free)} of {_size(size)} free"
    facts = {"path": str(folder), "free_bytes": free, "size_bytes": size, "free_files": status.f_favail}
    if free < _LEAST_BYTES:
        problem = f"the {name} {shown} is full ({free / 2**20:.0f} MiB free)"
        return Finding(TOPIC, name, value, bad, problem, _remedy(name), facts)
    if status.f_files and status.f_favail < _LEAST_FILES:
        problem = f"the {name} {shown} has room for {status.f_favail:,} more files only"
        return Finding(TOPIC, name, value, "warning", problem, "remove small files there, or use another disk", facts)
    if free < _USUAL_BYTES or free < (1 - _FULL_SHARE) * size:
        problem = f"the {name} {shown} has little room: {_size(free)} of {_size(size)} free"
        return Finding(TOPIC, name, value, "warning", problem, _remedy(name), facts)
    return Finding(TOPIC, name, value, facts=facts)


def check_socket_path(base: Path) -> Finding:
    """Look whether the names of the sockets of an embedded Ray stay as short as the system wants them.

    Args:
        base: The folder in which Ray's files go.
    """
    length = len(os.fsencode(base / _longest_socket()))
    left = _SOCKET_BYTES - length
    facts = {"path": str(base), "longest_bytes": length, "allowed_bytes": _SOCKET_BYTES}
    shown = plain(str(base))
    if left < 0:
        problem = (
            f"the path of Ray's folder {shown} is {-left} bytes too long for the sockets in it: Ray does not start"
        )
        return Finding(
            "limits", "Ray's sockets", shown, "failure", problem, "name a short folder: RAY_TMPDIR=/tmp", facts
        )
    return Finding("limits", "Ray's sockets", f"in {shown}, {length} of {_SOCKET_BYTES} bytes of a path", facts=facts)


def _longest_socket() -> str:
    """Return the longest path that Ray makes in its folder: as in ``ray._private.node``, for the largest number."""
    try:
        most = int(Path("/proc/sys/kernel/pid_max").read_text())
    except (OSError, ValueError):
        most = 2**22
    session = f"session_2026-01-31_23-59-59_000000_{most}"
    return f"vidcnn-ray-12345678/r/{session}/sockets/plasma_store"


def _remedy(name: str) -> str:
    if name.startswith("working"):
        return "go to another folder, or name a full path with --out"
    return "make room there, or name a folder on another disk in TMPDIR (and in RAY_TMPDIR, if short)"


def _size(number: float) -> str:
    return f"{number / _GB:.0f} GB" if number >= 10 * _GB else f"{number / _GB:.1f} GB"
