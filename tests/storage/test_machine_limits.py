from __future__ import annotations

import errno

import pytest

from vidcnn.errors import CONTINUES
from vidcnn.storage.machine_limits import machine_limit


def test_a_limit_is_told_with_what_to_do_about_it() -> None:
    found = machine_limit(OSError(errno.ENOSPC, "whatever", "/a"), "decoding")
    assert found is not None
    assert found.message == "this machine is at a limit while decoding: No space left on device"
    assert found.hint == f"make room in its temporary folder and in /dev/shm; {CONTINUES}"


@pytest.mark.parametrize("error", [OSError(errno.EACCES, "no"), OSError("no number"), ValueError(errno.EMFILE)])
def test_anything_else_is_none(error: Exception) -> None:
    assert machine_limit(error, "decoding") is None
