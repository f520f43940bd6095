from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from vidcnn.errors import StorageError, VideoError
from vidcnn.storage.faults import is_own_fault, video_fault


@pytest.mark.parametrize(
    "code",
    [errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENFILE, errno.ENOTCONN, errno.ETIMEDOUT, errno.ENOMEM,
     errno.EREMOTEIO, errno.ECONNRESET, errno.EHOSTDOWN, errno.EAGAIN, errno.EKEYEXPIRED],
)  # fmt: skip
def test_what_the_storage_or_this_machine_does_is_no_fault_of_a_file(code: int, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    said = video_fault(OSError(code, os.strerror(code)), str(tmp_path / "a.mp4"))
    assert isinstance(said, StorageError)
    assert os.strerror(code).lower() in said.message


def test_a_file_that_is_gone_was_changed_and_a_share_that_is_gone_is_storage(tmp_path: Path) -> None:
    gone = FileNotFoundError(errno.ENOENT, "No such file or directory")
    (tmp_path / "other.mp4").touch()
    said = video_fault(gone, str(tmp_path / "a.mp4"))
    assert isinstance(said, VideoError)
    assert said.kind == "changed"
    (tmp_path / "other.mp4").unlink()  # an empty mount point
    assert isinstance(video_fault(gone, str(tmp_path / "a.mp4")), StorageError)
    assert isinstance(video_fault(gone, str(tmp_path / "camera7" / "a.mp4")), StorageError)


def test_permission_is_the_files_fault_only_where_its_own_bits_say_so(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.touch()
    refused = PermissionError(errno.EACCES, "Permission denied")
    path.chmod(0o644)
    assert not is_own_fault(refused, str(path))  # a server's ticket expired
    path.chmod(0o000)
    assert is_own_fault(refused, str(path))


@pytest.mark.parametrize(
    "error",
    [OSError("When reading information for key 'a.mp4': AWS Error ACCESS_DENIED during HeadObject operation"),
     OSError("AWS Error UNKNOWN (HTTP status 500)"), OSError("curlCode: 28, Timeout was reached")],
)  # fmt: skip
def test_object_storage_says_of_no_object_but_that_it_is_not_there(error: Exception) -> None:
    assert isinstance(video_fault(error, "s3://bucket/a.mp4"), StorageError)
    assert isinstance(video_fault(FileNotFoundError("a.mp4"), "s3://bucket/a.mp4"), VideoError)


def test_names_that_no_file_can_have_are_the_names_own_fault() -> None:
    long, null = OSError(errno.ENAMETOOLONG, "File name too long"), ValueError("embedded null byte")
    for error, location in ((long, "/a.mp4"), (null, "/a.mp4"), (ValueError("it names no bucket"), "s3://")):
        said = video_fault(error, location)
        assert isinstance(said, VideoError)
        assert said.kind == "unreadable"
