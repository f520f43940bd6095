from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sandbox.confined import ATTEMPT, outcome
from vidcnn.sandbox import seccomp
from vidcnn.sandbox.seccomp import ALLOW, ARCHITECTURES, KILL_PROCESS, Instruction, program
from vidcnn.sandbox.syscall_numbers import CONDITIONAL, REFUSED

PID = 4711
NUMBERS = st.integers(0, 2**64 - 1)
REFUSED_BY_NAME = {name: code for code, names in REFUSED.items() for name in names}
OTHERS = {"x86_64": {"read": 0, "mmap": 9, "futex": 202, "memfd_create": 319, "recvmsg": 47, "newfstatat": 262}}
OTHERS["aarch64"] = {"read": 63, "mmap": 222, "futex": 98, "memfd_create": 279, "recvmsg": 212, "newfstatat": 79}


def judged(listing: list[Instruction], audit: int, number: int, *arguments: int) -> int:
    """Return what a filter answers, as the kernel runs it."""
    given_arguments = (*arguments, *[0] * 6)[:6]
    data = [number, audit, 0, 0]
    for value in given_arguments:
        data += [value & 0xFFFFFFFF, value >> 32]
    place, accumulator = 0, 0
    while True:
        code, if_true, if_false, value = listing[place]
        place += 1
        if code == 0x06:
            return value
        if code == 0x20:
            accumulator = data[value // 4]
            continue
        holds = {0x15: accumulator == value, 0x35: accumulator >= value, 0x45: bool(accumulator & value)}[code]
        place += if_true if holds else if_false


def ask(kind: str, name: str, *arguments: int) -> int:
    """Return the error number with which a call is refused; 0 where it is not."""
    architecture = ARCHITECTURES[kind]
    number = {**OTHERS[kind], **architecture.numbers}[name]
    answer = judged(program(architecture, PID), architecture.audit, number, *arguments)
    return 0 if answer == ALLOW else answer & 0xFFFF


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_each_name_is_refused_with_its_number_and_what_a_decoder_needs_is_not(kind: str) -> None:
    numbers = ARCHITECTURES[kind].numbers
    assert len(set(numbers.values())) == len(numbers)
    assert numbers.keys() >= {*CONDITIONAL, "seccomp", "openat", "socket", "execve", "ptrace", "unshare", "bpf"}
    for name, code in REFUSED_BY_NAME.items():
        if name in numbers:
            assert ask(kind, name) == code, name
    assert all(ask(kind, name) == 0 for name in OTHERS[kind])


@pytest.mark.parametrize("kind", ARCHITECTURES)
@given(argument=NUMBERS)
def test_arguments_decide_where_they_must(kind: str, argument: int) -> None:
    lower = argument & 0xFFFFFFFF
    assert ask(kind, "clone3", argument) == errno.ENOSYS
    assert ask(kind, "clone", argument) == (0 if argument & 0x10000 else errno.EPERM)
    assert ask(kind, "kill", argument, 9) == (0 if lower == PID else errno.EPERM)
    assert ask(kind, "tgkill", argument, 1, 6) == (0 if lower == PID else errno.EPERM)
    assert ask(kind, "prlimit64", 0, 2, argument) == (0 if argument == 0 else errno.EPERM)
    assert ask(kind, "ioctl", 0, argument) == (0 if lower in seccomp._HARMLESS_IOCTLS else errno.EPERM)
    assert ask(kind, "fcntl", 3, argument) == (errno.EPERM if lower in seccomp._BAD_FCNTLS else 0)


def test_the_process_itself_may_be_signalled() -> None:
    for kind in ARCHITECTURES:
        assert ask(kind, "kill", PID, 9) == ask(kind, "tgkill", PID, PID, 6) == ask(kind, "prlimit64", 0, 7, 0) == 0
        assert ask(kind, "ioctl", 1, 0x5401) == 0  # is it a terminal?
        assert ask(kind, "ioctl", 1, 0x5412) == errno.EPERM  # puts characters into it


def test_programs_of_another_kind_are_ended() -> None:
    intel, arm = (ARCHITECTURES[kind] for kind in ("x86_64", "aarch64"))
    assert judged(program(intel, PID), arm.audit, 0) == KILL_PROCESS
    assert judged(program(intel, PID), 0x40000003, 11) == KILL_PROCESS  # i386's execve
    assert judged(program(intel, PID), intel.audit, 0x40000000 | 2) & 0xFFFF == errno.ENOSYS  # x32's open


def test_jumps_stay_inside_and_the_kernel_takes_the_length() -> None:
    for architecture in ARCHITECTURES.values():
        listing = program(architecture, PID)
        assert len(listing) <= 4096
        for place, one in enumerate(listing):
            assert max(one.if_true, one.if_false) <= 255
            assert place + 1 + max(one.if_true, one.if_false) < len(listing) + (one.code == 0x06)


@pytest.mark.skipif(not seccomp.is_there(), reason="this kernel has no filters of system calls")
def test_the_kernel_refuses_in_all_threads_and_other_work_goes_on() -> None:
    said = outcome(
        f"{ATTEMPT}\n"
        "import os, signal, socket, threading\n"
        "from vidcnn.sandbox import seccomp\n"
        "go, done = threading.Event(), threading.Event()\n"
        "def other():\n"
        "    go.wait()\n"
        "    attempt('open elsewhere', lambda: open('/etc/hostname'))\n"
        "    done.set()\n"
        "threading.Thread(target=other).start()\n"
        "seccomp.install()\n"
        "go.set(); done.wait()\n"
        "attempt('open', lambda: open('/etc/hostname'))\n"
        "attempt('fork', os.fork)\n"
        "attempt('execve', lambda: os.execv('/bin/true', ['true']))\n"
        "attempt('socket', socket.socket)\n"
        "attempt('kill', lambda: os.kill(os.getppid(), 0))\n"
        "attempt('thread', lambda: threading.Thread(target=lambda: None).start())\n"
        "attempt('memory', lambda: os.memfd_create('x'))\n"
        "attempt('itself', lambda: os.kill(os.getpid(), 0))\n"
    )
    refused = ["open elsewhere", "open", "fork", "execve", "socket", "kill"]
    allowed = ["thread", "memory", "itself"]
    assert said.splitlines() == [*(f"{name} refused" for name in refused), *(f"{name} done" for name in allowed)]


def test_a_processor_without_numbers_has_no_filter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seccomp, "machine", lambda: "riscv64")
    seccomp.is_there.cache_clear()
    assert not seccomp.is_there()
    seccomp.is_there.cache_clear()
