"""Numbers of system calls beside those of this machine's own headers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from vidcnn.sandbox.syscall_numbers import AARCH64, CONDITIONAL, REFUSED, X86_64

HEADERS = {
    "x86_64": (Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"), X86_64),
    "aarch64": (Path("/usr/include/asm-generic/unistd.h"), AARCH64),
}
"""The kernel's numbers for aarch64 are those that all newer kinds of processors share."""


@pytest.mark.parametrize("kind", HEADERS)
def test_numbers_are_those_of_the_headers(kind: str) -> None:
    header, numbers = HEADERS[kind]
    if not header.exists():
        pytest.skip("the headers are not installed")
    found = {name: int(n) for name, n in re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)\b", header.read_text())}
    assert len(found) > 250
    for name, number in numbers.items():
        assert found.get(name, number) == number, name


def test_nothing_is_listed_twice() -> None:
    names = [*CONDITIONAL, *(name for listed in REFUSED.values() for name in listed)]
    assert len(set(names)) == len(names)
    assert set(names) <= X86_64.keys()
    assert set(CONDITIONAL) <= AARCH64.keys()
