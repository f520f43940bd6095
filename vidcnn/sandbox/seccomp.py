"""A filter of system calls: what a process that decodes has no business with is refused in all its threads.

`program` makes a filter in classic BPF, as the kernel takes it (seccomp(2)); `install` gives it to the kernel, for
good. Everything that is not refused is allowed, so that libraries of other versions still work. Refused are opening and
changing files by name, sockets, programs and processes, other processes' memory and signals to them, and what asks
rarely used parts of the kernel, through which processes have broken out before.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from vidcnn.sandbox.syscall_numbers import AARCH64, CONDITIONAL, REFUSED, X86_64
from vidcnn.sandbox.syscalls import call, is_linux, machine, prctl

_SET_FILTER, _ACTION_AVAILABLE = 1, 2
_ALL_THREADS = 1
_NO_NEW_PRIVILEGES = 38

ALLOW, KILL_PROCESS, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000

_LOAD, _IF_EQUAL, _IF_AT_LEAST, _IF_BITS, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
"""Where `struct seccomp_data` has what is asked, and by what kind of program."""
_X32 = 0x40000000
_THREAD = 0x00010000
"""CLONE_THREAD: what is started is a thread, not a process."""

_HARMLESS_IOCTLS = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
"""TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX. Others put characters into terminals, or change files."""
_BAD_FCNTLS = (8, 10, 15, 1024, 1026)
"""F_SETOWN, F_SETSIG, F_SETOWN_EX, F_SETLEASE, F_NOTIFY: they let the kernel send signals."""


class Instruction(NamedTuple):
    """One instruction of a filter.

    Attributes:
        code: What is done.
        if_true: How many instructions are skipped where a comparison holds.
        if_false: And where it does not.
        value: What is compared, loaded or returned.
    """

    code: int
    if_true: int
    if_false: int
    value: int


class Architecture(NamedTuple):
    """How a kind of processor calls the kernel.

    Attributes:
        audit: The kernel's number for it.
        numbers: Those of its system calls, by name.
    """

    audit: int
    numbers: dict[str, int]


ARCHITECTURES = {
    "x86_64": Architecture(0xC000003E, X86_64),
    "aarch64": Architecture(0xC00000B7, AARCH64),
}


class _Instruction(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint16), ("jt", ctypes.c_uint8), ("jf", ctypes.c_uint8), ("k", ctypes.c_uint32))


class _Program(ctypes.Structure):
    _fields_ = (("len", ctypes.c_uint16), ("filter", ctypes.POINTER(_Instruction)))


@cache
def is_there() -> bool:
    """Return whether this kernel takes such filters, for this kind of processor."""
    if not is_linux() or machine() not in ARCHITECTURES:
        return False
    action = ctypes.c_uint32(_ERRNO)
    try:
        return call(_own_number("seccomp"), _ACTION_AVAILABLE, 0, ctypes.byref(action)) == 0
    except OSError:
        return False


def install() -> None:
    """Refuse from now on, in all threads of this process.

    Raises:
        OSError: The kernel does not take the filter.
    """
    instructions = program(ARCHITECTURES[machine()], os.getpid())
    array = (_Instruction * len(instructions))(*(_Instruction(*one) for one in instructions))
    filter_program = _Program(len(instructions), array)
    prctl(_NO_NEW_PRIVILEGES, 1)
    failed = call(_own_number("seccomp"), _SET_FILTER, _ALL_THREADS, ctypes.byref(filter_program))
    if failed:
        raise OSError(errno.EBUSY, f"the thread {failed} cannot be given the filter")


def program(architecture: Architecture, pid: int) -> list[Instruction]:
    """Return the filter.

    Args:
        architecture: The kind of processor.
        pid: The process, which may send signals to itself.
    """
    numbers = architecture.numbers
    listing = [
        Instruction(_LOAD, 0, 0, _ARCHITECTURE),
        Instruction(_IF_EQUAL, 1, 0, architecture.audit),
        _answer(KILL_PROCESS),
        Instruction(_LOAD, 0, 0, _NUMBER),
    ]
    if architecture.audit == ARCHITECTURES["x86_64"].audit:
        listing += [Instruction(_IF_AT_LEAST, 0, 1, _X32), _answer(_ERRNO | errno.ENOSYS)]
    for name in CONDITIONAL:
        block = list(_conditional(name, pid))
        listing += [Instruction(_IF_EQUAL, 0, len(block), numbers[name]), *block]
    for code, names in REFUSED.items():
        for name in names:
            if name in numbers:
                listing += [Instruction(_IF_EQUAL, 0, 1, numbers[name]), _answer(_ERRNO | code)]
    return [*listing, _answer(ALLOW)]


def _conditional(name: str, pid: int) -> Iterator[Instruction]:
    """Yield what decides on a call by its arguments, and answers."""
    refused, allowed = _answer(_ERRNO | errno.EPERM), _answer(ALLOW)
    match name:
        case "clone3":  # what it starts is in memory, where no filter looks; the C library then asks for a clone
            yield _answer(_ERRNO | errno.ENOSYS)
        case "clone":
            yield from (_argument(0), Instruction(_IF_BITS, 1, 0, _THREAD), refused, allowed)
        case "kill" | "tgkill":
            yield from (_argument(0), Instruction(_IF_EQUAL, 1, 0, pid), refused, allowed)
        case "prlimit64":  # to read limits is harmless
            yield from (_argument(2), Instruction(_IF_EQUAL, 1, 0, 0), refused)
            yield from (_argument(2, upper=True), Instruction(_IF_EQUAL, 1, 0, 0), refused, allowed)
        case "ioctl":
            yield _argument(1)
            for value in _HARMLESS_IOCTLS:
                yield from (Instruction(_IF_EQUAL, 0, 1, value), allowed)
            yield refused
        case "fcntl":
            yield _argument(1)
            for value in _BAD_FCNTLS:
                yield from (Instruction(_IF_EQUAL, 0, 1, value), refused)
            yield allowed


def _answer(value: int) -> Instruction:
    return Instruction(_RETURN, 0, 0, value)


def _argument(index: int, *, upper: bool = False) -> Instruction:
    """Load the lower half of an argument, or the upper one."""
    return Instruction(_LOAD, 0, 0, _ARGUMENTS + 8 * index + 4 * upper)


def _own_number(name: str) -> int:
    return ARCHITECTURES[machine()].numbers[name]
