"""Landlock: a thread gives up the right to open files, to connect and to send signals (landlock(7)).

What was opened before stays open. A rule can be added, never taken back, and threads that are started later have it
too. The numbers are those of ``linux/landlock.h``; each version of the kernel's interface (ABI) knows some more.
"""

from __future__ import annotations

import ctypes
import os
from functools import cache
from pathlib import Path
from typing import NamedTuple

from vidcnn.sandbox.syscalls import call, is_linux, prctl

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION = 1
_PATH_BENEATH = 1
_NO_NEW_PRIVILEGES = 38

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_FILE_RIGHTS_BY_VERSION = {1: 13, 2: 14, 3: 15, 5: 16}
"""From which version on how many rights over files are known: each is one bit."""
_TCP_VERSION, _SCOPE_VERSION = 4, 6
_BIND_AND_CONNECT = 0b11
_SOCKETS_AND_SIGNALS = 0b11

READING = EXECUTE | READ_FILE | READ_DIR
"""What loading a program and its libraries takes."""


class _Ruleset(ctypes.Structure):
    _fields_ = (
        ("handled_access_fs", ctypes.c_uint64),
        ("handled_access_net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


class Handled(NamedTuple):
    """What a set of rules is about: whatever of it no rule allows is refused.

    Attributes:
        files: Rights over files, as bits.
        tcp: Binding and connecting TCP sockets, as bits.
        scopes: Reaching sockets and processes outside, as bits.
    """

    files: int
    tcp: int
    scopes: int

    @classmethod
    def by(cls, version: int) -> Handled:
        """Return all that a version of the interface knows."""
        rights = max(number for since, number in _FILE_RIGHTS_BY_VERSION.items() if since <= version)
        return cls(
            (1 << rights) - 1,
            _BIND_AND_CONNECT if version >= _TCP_VERSION else 0,
            _SOCKETS_AND_SIGNALS if version >= _SCOPE_VERSION else 0,
        )


@cache
def version() -> int:
    """Return the version of the kernel's interface; 0 where it has none."""
    if not is_linux():
        return 0
    try:
        return call(_CREATE_RULESET, None, 0, _VERSION)
    except OSError:
        return 0


def refuses_tcp(abi: int) -> bool:
    """Return whether a version of the interface can refuse TCP."""
    return abi >= _TCP_VERSION


def refuse(files: int, allowed: dict[Path, int] | None = None) -> None:
    """Refuse this thread, and those that it starts, rights over files, all TCP, and signals to processes outside.

    Args:
        files: Rights over files that are refused, as bits; those that this kernel does not know are left out.
        allowed: Rights over single files, or over all beneath a folder, that are kept. One that does not exist counts
            for nothing.

    Raises:
        OSError: The kernel has no Landlock, or refuses this.
    """
    known = Handled.by(version()) if version() else Handled(0, 0, 0)
    ruleset = _Ruleset(known.files & files, known.tcp, known.scopes)
    number = call(_CREATE_RULESET, ctypes.byref(ruleset), ctypes.sizeof(ruleset), 0)
    try:
        for path, rights in (allowed or {}).items():
            _allow(number, path, rights & ruleset.handled_access_fs)
        prctl(_NO_NEW_PRIVILEGES, 1)
        call(_RESTRICT_SELF, number, 0)
    finally:
        os.close(number)


def all_rights() -> int:
    """Return all rights over files, whatever this kernel knows of them."""
    return (1 << max(_FILE_RIGHTS_BY_VERSION.values())) - 1


def _allow(ruleset: int, path: Path, rights: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        rule = _PathBeneath(rights, place)
        call(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(rule), 0)
    finally:
        os.close(place)
