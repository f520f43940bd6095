"""Privileges of root that a process gives up: of all, only that to read what is on a disk is left for a while."""

from __future__ import annotations

import ctypes

from vidcnn.sandbox.syscalls import call, machine

_NUMBERS = {"x86_64": 126, "aarch64": 91}
"""capset(2)."""
_VERSION = 0x20080522
_READ_ANYTHING = 1 << 2
"""CAP_DAC_READ_SEARCH: libraries may belong to somebody else."""


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def drop_privileges(*, may_read: bool) -> bool:
    """Give up the privileges of this thread, and of those that it starts, for good.

    Args:
        may_read: Keep the one to read any file, where there is one.

    Returns:
        Whether none is left but that; for a process that has none, this is always so.
    """
    if machine() not in _NUMBERS:
        return False
    header = _Header(_VERSION, 0)
    for kept in (_READ_ANYTHING, 0) if may_read else (0,):
        data = (_Data * 2)(_Data(kept, kept, 0))
        try:
            call(_NUMBERS[machine()], ctypes.byref(header), ctypes.byref(data))
        except OSError:
            continue
        return True
    return False
