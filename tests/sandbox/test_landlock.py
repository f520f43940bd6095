from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from tests.sandbox.confined import ATTEMPT, outcome
from vidcnn.sandbox import landlock
from vidcnn.sandbox.landlock import Handled

needs_landlock = pytest.mark.skipif(not landlock.version(), reason="this kernel has no Landlock")


def test_each_version_knows_all_that_the_one_before_knew_and_no_more_than_the_kernel_takes() -> None:
    versions = [Handled.by(version) for version in range(1, 9)]
    for before, after in pairwise(versions):
        assert before.files & after.files == before.files
    assert [handled.files.bit_length() for handled in versions] == [13, 14, 15, 15, 16, 16, 16, 16]
    assert [bool(handled.tcp) for handled in versions] == [False] * 3 + [True] * 5
    assert [bool(handled.scopes) for handled in versions] == [False] * 5 + [True] * 3


def test_where_the_kernel_has_none_that_is_known_and_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(number: int, *_: object) -> int:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(landlock, "call", refuse)
    landlock.version.cache_clear()
    try:
        assert landlock.version() == 0
        with pytest.raises(OSError, match="Function not implemented"):
            landlock.refuse(landlock.all_rights())
    finally:
        landlock.version.cache_clear()


@needs_landlock
def test_what_was_open_stays_and_nothing_else_can_be_opened(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("content")
    said = outcome(
        f"{ATTEMPT}\n"
        "from vidcnn.sandbox import landlock\n"
        f"path = {str(tmp_path / 'a')!r}\n"
        "file = open(path)\n"
        "landlock.refuse(landlock.all_rights())\n"
        "attempt('read', lambda: open(path))\n"
        "attempt('write', lambda: open(path, 'w'))\n"
        "print(file.read())\n"
    )
    assert said.splitlines() == ["read refused", "write refused", "content"]


@needs_landlock
def test_changing_can_be_refused_but_for_a_file_while_reading_is_not(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("content")
    said = outcome(
        f"{ATTEMPT}\n"
        "from pathlib import Path\n"
        "from vidcnn.sandbox import landlock\n"
        f"folder = Path({str(tmp_path)!r})\n"
        "allowed = {Path('/dev/null'): landlock.WRITE_FILE, folder / 'gone': landlock.WRITE_FILE}\n"
        "landlock.refuse(landlock.all_rights() & ~landlock.READING, allowed)\n"
        "attempt('read', (folder / 'a').read_text)\n"
        "attempt('null', lambda: Path('/dev/null').write_text('x'))\n"
        "attempt('write', lambda: (folder / 'a').write_text('x'))\n"
        "attempt('make', lambda: (folder / 'b').touch())\n"
        "attempt('remove', (folder / 'a').unlink)\n"
    )
    assert said.splitlines() == ["read done", "null done", "write refused", "make refused", "remove refused"]
    assert (tmp_path / "a").read_text() == "content"


@pytest.mark.skipif(not landlock.refuses_tcp(landlock.version()), reason="this kernel's Landlock knows no TCP")
def test_tcp_is_refused() -> None:
    said = outcome(
        f"{ATTEMPT}\n"
        "import socket\n"
        "from vidcnn.sandbox import landlock\n"
        "listener = socket.create_server(('127.0.0.1', 0))\n"
        "landlock.refuse(landlock.all_rights())\n"
        "attempt('connect', lambda: socket.create_connection(listener.getsockname()))\n"
        "attempt('bind', lambda: socket.create_server(('127.0.0.1', 0)))\n"
    )
    assert said.splitlines() == ["connect refused", "bind refused"]
