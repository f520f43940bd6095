"""What a decoding process cannot do, tried from inside one."""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.video import cell_work, hostile_work
from tests.video.hostile import fragmented_mp4
from tests.videos import write_video
from vidcnn.errors import VideoError
from vidcnn.sampling.segments import ClipSpec, Sampling
from vidcnn.sandbox import confinement
from vidcnn.sources import SourceVideo
from vidcnn.video.attempts import plan_in_cell
from vidcnn.video.cell import Cell, CellError
from vidcnn.video.container import MAX_PIXELS
from vidcnn.video.grants import NOTHING, Grant
from vidcnn.video.planning import PlanSettings

pytestmark = pytest.mark.skipif(bool(confinement.missing()), reason="this kernel cannot confine")

OPENING, CALLING = f"refused with {errno.EACCES}", f"refused with {errno.EPERM}"


@pytest.fixture
def cell() -> Iterator[Cell]:
    cell = Cell()
    yield cell
    cell.close()


def patient(_: object) -> float:
    return 120.0


def tried(cell: Cell, deeds: list[tuple[str, Any]], grant: Grant = NOTHING) -> dict[str, str]:
    return dict(cell.run(hostile_work.try_all, deeds, seconds=patient, grant=grant, sandbox="require"))


def source_video(path: Path, *, is_frame_folder: bool = False) -> SourceVideo:
    status = path.stat()
    return SourceVideo(path.name, str(path), is_frame_folder, status.st_size, status.st_mtime_ns, None, None)


def test_it_opens_and_changes_no_file(cell: Cell, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.write_bytes(b"content")
    deeds = [(name, str(mine)) for name in ("read", "write", "append", "remove", "rename", "permit")]
    found = tried(cell, [*deeds, ("list", str(tmp_path))])
    assert found == dict.fromkeys(found, OPENING)
    assert len(found) == 7
    assert mine.read_bytes() == b"content"
    assert tried(cell, [("read", "/etc/passwd")]) == {"read": OPENING}
    assert tried(cell, [("read", "/proc/self/mem")]) == {"read": OPENING}


def test_it_connects_nowhere(cell: Cell, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert tried(cell, [("connect", listener.getsockname())]) == {"connect": CALLING}
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        listener.listen()
        assert tried(cell, [("connect", str(tmp_path / "socket"))]) == {"connect": CALLING}


def test_it_starts_nothing(cell: Cell) -> None:
    found = tried(cell, [("execve", "/bin/true"), ("run", "/bin/true"), ("fork", None)])
    assert found.pop("run").startswith(("refused", "OSError", "BlockingIOError"))
    assert found == {"execve": CALLING, "fork": CALLING}


def test_it_reaches_no_other_process(cell: Cell) -> None:
    parent = os.getpid()
    assert tried(cell, [(name, parent) for name in ("ptrace", "peek", "kill")]) == {
        "ptrace": CALLING,
        "peek": CALLING,
        "kill": CALLING,
    }


def test_its_parent_opens_for_it_only_what_it_works_on(cell: Cell, tmp_path: Path) -> None:
    granted, other = (write_video(tmp_path / name, 3) for name in ("a.mp4", "b.mp4"))
    folder = tmp_path / "frames"
    (folder / "deeper").mkdir(parents=True)
    for path in (folder / "1.png", folder / "deeper" / "2.png"):
        path.write_bytes(b"content")
    grant = Grant.of([source_video(granted), source_video(folder, is_frame_folder=True)])
    refusal = "StorageError: the decoding process asked for a file that is not one of its videos"
    asked = [granted, other, folder / "1.png", folder / "deeper" / "2.png", folder / ".." / "b.mp4", folder / ".."]
    found = [tried(cell, [("ask", str(path))], grant)["ask"] for path in asked]
    assert found == ["done", refusal, "done", refusal, refusal, refusal]
    assert tried(cell, [("ask to list", str(folder))], grant) == {"ask to list": "done"}
    assert tried(cell, [("ask to list", str(tmp_path))], grant) == {"ask to list": refusal}
    assert tried(cell, [("ask", str(granted))]) == {"ask": refusal}


def test_without_a_sandbox_all_that_is_done(cell: Cell, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"content")
    deeds = [("read", str(tmp_path / "a")), ("write", str(tmp_path / "a")), ("fork", None)]
    found = dict(cell.run(hostile_work.try_all, deeds, seconds=patient, sandbox="off"))
    assert found == dict.fromkeys(found, "done")


def test_a_pickle_that_it_sends_does_not_run(cell: Cell, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    with pytest.raises(CellError, match="it sent what is no value") as info:
        list(cell.run(hostile_work.send_pickle, [str(mark)], seconds=patient))
    assert info.value.kind == "crash"
    assert not mark.exists()
    assert list(cell.run(cell_work.double, [4], seconds=patient)) == [8]


@pytest.mark.parametrize(
    "message",
    [
        struct.pack("<QIB", 2**40, 0, 0),
        struct.pack("<QIB", 2, 2**31, 0),
        struct.pack("<QIB", 2, 0, 1) + b"[]",
        struct.pack("<QIB", 2, 1, 0) + struct.pack("<Q", 2**62) + b"[]",
        struct.pack("<QIB", 4, 0, 0) + b"null",
        struct.pack("<QIB", 9, 0, 0) + b'["t",1,2]',
        struct.pack("<QIB", 15, 0, 0) + b'["t","ready",2]',
        struct.pack("<QIB", 15, 0, 0) + b'["t","error",2]',
        struct.pack("<QIB", 100_000, 0, 0) + b"[" * 100_000,
    ],
)
def test_nonsense_is_a_crash(cell: Cell, message: bytes) -> None:
    with pytest.raises(CellError, match="it sent ") as info:
        list(cell.run(hostile_work.send_raw, [message], seconds=patient))
    assert info.value.kind == "crash"


def test_memory_that_it_could_take_back_is_not_read(cell: Cell) -> None:
    with pytest.raises(CellError, match="memory that may change"):
        list(cell.run(hostile_work.send_changing_memory, [1 << 20], seconds=patient))


def test_what_confines_it_is_known(cell: Cell) -> None:
    assert cell.strength is None
    list(cell.run(cell_work.double, [4], seconds=patient))
    assert cell.strength is not None
    assert cell.strength.seccomp
    assert cell.strength.landlock > 0
    list(cell.run(cell_work.double, [4], seconds=patient, sandbox="off"))
    assert not cell.strength.is_closed


@pytest.mark.slow
def test_a_file_that_takes_all_memory_gets_no_more_than_the_limit_and_costs_no_other(
    cell: Cell, tmp_path: Path
) -> None:
    """Four tracks of eighty million frames each: libav's lists of two of them are larger than the limit."""
    (tmp_path / "a.mp4").write_bytes(fragmented_mp4(80_000_000, num_tracks=4))
    write_video(tmp_path / "b.mp4", 20)
    videos = [source_video(tmp_path / name) for name in ("a.mp4", "b.mp4")]
    settings = PlanSettings(ClipSpec(Sampling(4, stride=1)), 25.0, MAX_PIXELS, sandbox="require")
    (_, bomb), (_, good) = plan_in_cell(videos, settings, cell)
    assert isinstance(bomb, VideoError)
    assert (bomb.kind, bomb.message) == ("too_large", "decoding it takes more memory than there is")
    assert isinstance(good, tuple)
    assert good[0].segment.num_clips > 0
