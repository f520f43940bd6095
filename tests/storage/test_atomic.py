from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

from vidcnn.storage.atomic import write_whole


def test_a_file_is_replaced_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_whole(path, b"first")

    def fail(file: Any) -> None:
        file.write(b"second")
        raise OSError(errno.ENOSPC, "full")

    with pytest.raises(OSError, match="full"):
        write_whole(path, fail)
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]
    write_whole(path, b"third")
    assert path.read_bytes() == b"third"
