"""Disks that are full, out of inodes, read-only, slow, or lose their power: real file systems in mounts of our own."""

from __future__ import annotations

import fcntl
import os
import random
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from killing.victims import let_go

from failing.stage import LocalTrial, Run, Stage, UnfitError

_SHUTDOWN, _NO_FLUSH = 0x8004587D, 2
"""EXT4_IOC_SHUTDOWN: nothing is written any more, not even the journal."""
_FREEZE, _THAW = 0xC0045877, 0xC0045878
"""FIFREEZE and FITHAW: what writes waits."""
_IMAGE_BYTES = 48 * 2**20


def full(stage: Stage, rng: random.Random) -> None:
    """Fill the disk of the output."""
    with mounted(stage, "tmpfs", "size=8m") as folder:
        trial = LocalTrial(stage, folder, rng)
        run = trial.start()
        trial.reach(run)
        with open(folder / "ballast", "wb", buffering=0) as ballast, suppress(OSError):
            while ballast.write(bytes(4096)):
                pass
        let_go(run.process.pid)
        code = stage.end(run)
        (folder / "ballast").unlink()
        trial.conclude(is_whole=code == 0)


def no_inodes(stage: Stage, rng: random.Random) -> None:
    """Use up the inodes of the disk."""
    with mounted(stage, "tmpfs", "size=32m,nr_inodes=64") as folder:
        trial = LocalTrial(stage, folder, rng)
        run = trial.start()
        trial.reach(run)
        (folder / "ballast").mkdir()
        with suppress(OSError):
            for number in range(1000):
                (folder / "ballast" / f"{number}").touch()
        let_go(run.process.pid)
        code = stage.end(run)
        for path in (folder / "ballast").iterdir():
            path.unlink()
        (folder / "ballast").rmdir()
        trial.conclude(is_whole=code == 0)


def scratch_full(stage: Stage, rng: random.Random) -> None:
    """Fill the disk of the temporary files."""
    with mounted(stage, "tmpfs", "size=64m") as folder:
        trial = LocalTrial(stage, stage.new_folder(), rng)
        run = trial.start(variables={"TMPDIR": str(folder), "RAY_TMPDIR": str(folder)})
        trial.reach(run)
        with open(folder / "ballast", "wb", buffering=0) as ballast, suppress(OSError):
            while ballast.write(bytes(4096)):
                pass
        trial.finish(run)


def read_only(stage: Stage, rng: random.Random) -> None:
    """Let the kernel find an error in the file system, and write to it no more."""
    with ext4(stage) as disk:
        trial = LocalTrial(stage, disk.folder, rng)
        run = trial.start()
        trial.reach(run)
        disk.fail()
        let_go(run.process.pid)
        code = stage.end(run)
        disk.mount_again()
        trial.conclude(is_whole=code == 0)


def power_cut(stage: Stage, rng: random.Random) -> None:
    """Cut the power: what is not on the disk is thrown away, and all processes end."""
    with ext4(stage) as disk:
        trial = LocalTrial(stage, disk.folder, rng)
        run = trial.start()
        trial.reach(run)
        disk.cut_power()
        _bury(stage, run)
        disk.mount_again()
        trial.conclude(is_whole=False)


def slow(stage: Stage, rng: random.Random) -> None:
    """Let all that writes to the disk wait, again and again."""
    with ext4(stage) as disk:
        trial = LocalTrial(stage, disk.folder, rng)
        run = trial.start()
        over = threading.Event()
        waits = [rng.uniform(0.2, 3.0) for _ in range(200)]
        freezer = threading.Thread(target=_freeze, args=(disk, waits, over))
        freezer.start()
        try:
            code = stage.end(run)
        finally:
            over.set()
            freezer.join()
        trial.conclude(is_whole=code == 0)


class Disk:
    """A file system in a file, for which nothing but fsync(2) brings anything to the disk."""

    def __init__(self, image: Path, folder: Path) -> None:
        self._image = image
        self.folder = folder
        with image.open("wb") as file:
            file.truncate(_IMAGE_BYTES)
        _call("mkfs.ext4", "-q", "-E", "lazy_itable_init=0", str(image))
        self.mount()

    def mount(self) -> None:
        """Mount it."""
        options = "loop,commit=300,noauto_da_alloc,errors=remount-ro"
        _call("mount", "-t", "ext4", "-o", options, str(self._image), str(self.folder))

    def unmount(self) -> None:
        """Unmount it, once nobody uses it."""
        for _ in range(100):
            if subprocess.run(["umount", str(self.folder)], capture_output=True, check=False).returncode == 0:
                return
            time.sleep(0.1)
        _call("umount", "-l", str(self.folder))

    def mount_again(self) -> None:
        """Unmount and mount it: the journal is played back."""
        self.unmount()
        self.mount()

    def cut_power(self) -> None:
        """Write nothing any more."""
        self.ask(_SHUTDOWN, _NO_FLUSH)

    def fail(self) -> None:
        """Let the kernel take the file system for damaged."""
        device = os.path.basename(os.path.realpath(f"/sys/dev/block/{_device(self.folder)}"))
        Path(f"/sys/fs/ext4/{device}/trigger_fs_error").write_text("a fault that was asked for\n")

    def ask(self, request: int, value: int = 0) -> None:
        """Ask the file system for something."""
        descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, request, struct.pack("I", value))
        finally:
            os.close(descriptor)


@contextmanager
def ext4(stage: Stage) -> Iterator[Disk]:
    """Make a disk.

    Raises:
        UnfitError: This user cannot.
    """
    _check_private()
    base = stage.new_folder()
    (base / "disk").mkdir()
    disk = Disk(base / "image", base / "disk")
    try:
        yield disk
    finally:
        disk.unmount()
        (base / "image").unlink()


@contextmanager
def mounted(stage: Stage, kind: str, options: str) -> Iterator[Path]:
    """Mount a file system that is in memory.

    Raises:
        UnfitError: This user cannot.
    """
    _check_private()
    folder = stage.new_folder()
    _call("mount", "-t", kind, "-o", options, "faults", str(folder))
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)


def _check_private() -> None:
    if os.environ.get("FAULTS_PRIVATE") != "yes":
        raise UnfitError("mounts of its own are refused to this user")


def _call(*line: str) -> None:
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UnfitError(f"{line[0]}: {done.stderr.strip()}")


def _device(folder: Path) -> str:
    number = os.stat(folder).st_dev
    return f"{os.major(number)}:{os.minor(number)}"


def _bury(stage: Stage, run: Run) -> None:
    run.kill()
    stage.end(run)


def _freeze(disk: Disk, waits: list[float], over: threading.Event) -> None:
    for wait in waits:
        if over.wait(0.3):
            return
        with suppress(OSError):
            disk.ask(_FREEZE)
            over.wait(wait)
            disk.ask(_THAW)
