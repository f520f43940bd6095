from __future__ import annotations

import errno
import os
import resource
from pathlib import Path

import pytest

from vidcnn.errors import DataError
from vidcnn.storage.patience import USUAL, is_passing, patiently


class Act:
    """Fails with some errors, one after the other, and then works."""

    def __init__(self, *errors: BaseException) -> None:
        self._errors = list(errors)
        self.num_calls = 0

    def __call__(self) -> str:
        self.num_calls += 1
        if self._errors:
            raise self._errors.pop(0)
        return "done"


def test_what_passes_is_tried_again_after_longer_and_longer_pauses() -> None:
    pauses: list[float] = []
    act = Act(OSError(errno.EIO, "I/O"), OSError(errno.ESTALE, "stale"), OSError("AWS Error SLOW_DOWN"))
    assert patiently(act, pauses.append) == "done"
    assert len(pauses) == 3
    assert pauses == sorted(pauses)


def test_what_does_not_pass_is_raised_in_the_end() -> None:
    pauses: list[float] = []
    with pytest.raises(ConnectionResetError):
        patiently(Act(*[ConnectionResetError(errno.ECONNRESET, "reset")] * 20), pauses.append)
    assert len(pauses) == USUAL.num_tries - 1
    assert 20 < sum(pauses) < 60


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(errno.ENOENT, "not there"), FileNotFoundError("by Arrow"), ValueError("wrong"),
        OSError(errno.ENOSPC, "full"), PermissionError(errno.EACCES, "no"), OSError(errno.EROFS, "read-only"),
        OSError("AWS Error NO_SUCH_BUCKET during HeadObject"), KeyError("bug"),
    ],
)  # fmt: skip
def test_what_is_asked_for_in_vain_is_asked_once(error: Exception) -> None:
    act = Act(error)
    with pytest.raises(type(error)):
        patiently(act, lambda seconds: pytest.fail("it is asked again"))
    assert act.num_calls == 1


def test_an_error_is_known_by_what_it_comes_from() -> None:
    hidden = DataError("torch hides it")
    hidden.__cause__ = OSError(errno.EIO, "I/O")
    assert is_passing(hidden)
    assert not is_passing(DataError("alone"))


def test_too_many_open_files_are_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("content")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.open(path, os.O_RDONLY)
    os.close(lowest)

    def free(seconds: float) -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)

    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, before[1]))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            path.read_text()
        assert patiently(path.read_text, free) == "content"
    finally:
        free(0)
