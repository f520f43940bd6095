"""Disks that are full, and memory that cannot be written, in a mount namespace of their own."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import PROJECT, environment
from vidcnn.cluster.room import check_room, start_error

# Starts a Ray in a folder, or fails as a command does.
START = """
import sys
from vidcnn.cli import _tell
from vidcnn.cluster.embedded import local_ray
try:
    with local_ray(num_gpus=0):
        print("started", file=sys.__stdout__)
except Exception as error:
    sys.exit(_tell(error, is_debug=False))
"""


def can_mount(folder: Path) -> bool:
    mount = f"mount -t tmpfs -o size=1m tmpfs {shlex.quote(str(folder))}"
    return subprocess.run(["unshare", "-m", "sh", "-c", mount], capture_output=True, check=False).returncode == 0


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """A folder on which a small disk can be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        possible = can_mount(folder)
    except FileNotFoundError:
        possible = False
    if not possible:
        pytest.skip("mounting takes root, and unshare")
    return folder


def start_with(mounting: str, code: str = START, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run Python where something else is mounted, which nobody else sees."""
    script = f"{mounting} && exec {shlex.join([sys.executable, '-c', code])}"
    return subprocess.run(
        ["unshare", "-m", "sh", "-c", script],
        env=environment() | variables,
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_a_full_disk_under_rays_files_is_named_at_once(disk: Path) -> None:
    full = f"mount -t tmpfs -o size=64k tmpfs {disk}; head -c 1m /dev/zero >{disk}/x 2>/dev/null; true"
    done = start_with(full, RAY_TMPDIR=str(disk))
    assert done.returncode == 1
    assert done.stderr == (
        f"vidcnn: Ray's temporary folder {disk} cannot be written: no space left on device (0.0 MiB free)\n"
        "        make room there, or name a folder on another disk in RAY_TMPDIR\n"
    )


def test_shared_memory_that_cannot_be_written_is_named_at_once(disk: Path) -> None:
    done = start_with("mount -t tmpfs -o ro tmpfs /dev/shm")
    assert done.returncode == 1
    assert done.stderr.startswith("vidcnn: Ray's shared memory /dev/shm cannot be written: read-only file system (")
    assert done.stderr.endswith("containers take --shm-size 2g\n")


@pytest.mark.ray
@pytest.mark.slow
def test_shared_memory_that_is_full_is_no_matter() -> None:
    done = start_with("mount -t tmpfs -o size=64k tmpfs /dev/shm; head -c 1m /dev/zero >/dev/shm/x 2>/dev/null; true")
    if "mount" in done.stderr or "unshare" in done.stderr:
        pytest.skip("mounting takes root, and unshare")
    assert (done.returncode, done.stdout, done.stderr) == (0, "started\n", "")


def test_a_start_that_fails_where_there_is_little_room_says_so(disk: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from vidcnn.cluster.room import start_error;"
        "error = start_error('it timed out', Path(sys.argv[1])); print(error.message, error.hint, sep=chr(10))"
    )
    script = f"mount -t tmpfs -o size=1m tmpfs {disk} && exec {shlex.join([sys.executable, '-c', code, str(disk)])}"
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script],
        env=environment(),
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == [
        f"Ray does not start on this machine, and its temporary folder {disk} has little room (1.0 MiB free): it timed "
        "out",
        "make room there, or name a folder on another disk in RAY_TMPDIR",
    ]


def test_where_there_is_room_nothing_is_said_of_it(tmp_path: Path) -> None:
    check_room(tmp_path)
    check_room(tmp_path, tmp_path / "none")
    assert list(tmp_path.iterdir()) == []
    error = start_error("it timed out", tmp_path)
    assert (error.message, error.hint) == ("Ray does not start on this machine: it timed out", "--debug shows more")
