from __future__ import annotations

import os
import sys

import pytest

from vidcnn.sandbox.syscalls import call, is_linux, machine, prctl

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux's system calls")


def test_a_call_gives_what_the_kernel_returns() -> None:
    number = {"x86_64": 39, "aarch64": 172}[machine()]
    assert is_linux()
    assert call(number) == os.getpid()


def test_a_call_that_fails_is_an_error_with_its_number() -> None:
    with pytest.raises(OSError, match="not implemented") as info:
        call(100_000)
    assert info.value.errno == 38
    with pytest.raises(OSError, match="Invalid argument"):
        prctl(100_000)
