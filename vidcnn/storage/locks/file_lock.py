"""Keep two runs from writing one output: an exclusive lock on a file in a directory of its own.

The kernel unlocks when the process ends, however it ends; programs that the process starts do not inherit the lock. So
on one machine a lock file that a crash left behind keeps nobody out.

Several machines may share a file system whose locks reach no further than each of them (NFS mounted with ``nolock``,
Lustre with ``localflock``, many that are based on FUSE). So the holder also writes into the file who it is, and touches
it now and then: a file that another machine's holder touched lately is held, whatever the kernel here reports. And
before each write the holder sees that the file still names it; where two took the lock at the same moment, all but the
last stop there. A file that is dated in the future, as after a clock that ran ahead, is dated again: from then on it
counts.

Neither the directory nor the file may be a link: what it leads to is not the lock's to write.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from contextlib import suppress

from vidcnn.errors import CONTINUES, OutputBusyError, OutputError
from vidcnn.storage.atomic import make_directories, open_new
from vidcnn.storage.locks.heartbeat import USUAL, Heartbeat, LeaseTiming
from vidcnn.storage.locks.holder import Holder, busy, decode, this_process

_NAME = "lock"
_NUM_ATTEMPTS = 100
_MAX_BYTES = 4096
_NAMING_SECONDS = 1.0


class FileLock:
    """A lock that is held.

    Args:
        directory: Contains the lock file, and may contain other files.
        out: What the lock is for, as messages name it.
        file: Descriptor of the locked file.
        timing: When its holder shows that it lives.
    """

    def __init__(self, directory: str, out: str, file: int, timing: LeaseTiming) -> None:
        self._directory = directory
        self._path = os.path.join(directory, _NAME)
        self._out = out
        self._file = file
        self._timing = timing
        self._holder = this_process("held")
        os.ftruncate(file, 0)
        os.pwrite(file, self._holder.encode(), 0)
        self._heartbeat: Heartbeat | None = Heartbeat(self._touch, timing.renew_seconds)

    @classmethod
    def acquire(cls, directory: str, out: str, timing: LeaseTiming = USUAL) -> FileLock:
        """Create a directory and lock it, without waiting.

        Args:
            directory: The directory; its parents are created too.
            out: What the lock is for, as messages name it.
            timing: When a holder on another machine is dead.

        Raises:
            OutputBusyError: Another process holds the lock; the message names it.
            OutputError: The directory or the lock file is a link, or something else than vidcnn's.
            OSError: The directory cannot be made, or its file system has no locks.
        """
        path = os.path.join(directory, _NAME)
        for num_left in reversed(range(_NUM_ATTEMPTS)):
            try:
                _check_directory(directory)
                make_directories(directory)
                file = _open_lock(path, os.O_RDWR | os.O_CREAT)
            except (FileNotFoundError, FileExistsError):
                if num_left:
                    continue  # most likely, its last holder has just removed the directory
                raise
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_at(file, path):
                    _check_elsewhere(file, directory, out, timing)
                    return cls(directory, out, file, timing)
            except BlockingIOError:
                holder = _named_soon(file)
                os.close(file)
                raise busy(out, holder or "which has just begun") from None
            except BaseException:
                os.close(file)
                raise
            os.close(file)  # its last holder has just removed the file: a lock on it keeps nobody out
        raise busy(out, "others come and go")

    def check(self) -> None:
        """Check that the lock is still held.

        Raises:
            OutputError: It was lost.
        """
        holder = self._named()
        if holder is None:
            raise OutputError(f"the lock on {self._out} was lost: {self._path} was removed or overwritten", CONTINUES)
        if holder.token != self._holder.token:
            raise OutputBusyError(f"the lock on {self._out} was lost to another run ({holder})", CONTINUES)

    def release(self) -> None:
        """Unlock, and remove the directory if nothing but the lock is in it. Doing it again does nothing."""
        if self._heartbeat is None:
            return
        self._heartbeat.stop()
        self._heartbeat = None
        # The file goes before the lock does, so that no other process can hold a lock on a file removed here; the
        # directory goes last, because NFS keeps a file in it under another name for as long as it is open.
        with suppress(OSError):
            holder = self._named()
            if holder is None or holder.token == self._holder.token:
                os.unlink(self._path)
        os.close(self._file)
        with suppress(OSError):
            os.rmdir(self._directory)

    def _named(self) -> Holder | None:
        """Return the holder that the file names now; it is opened again, because NFS then looks again."""
        try:
            with open(self._path, "rb") as file:
                return decode(file.read(_MAX_BYTES))
        except FileNotFoundError:
            return None

    def _touch(self) -> float:
        with suppress(OSError):  # what keeps the file from being touched keeps the run from writing
            os.utime(self._file)
        return self._timing.renew_seconds


def look(directory: str, out: str, timing: LeaseTiming = USUAL) -> None:
    """Check that nobody holds the lock of a directory, as far as that is known, without taking it or changing anything.

    Args:
        directory: The directory; it need not be there.
        out: What the lock is for, as messages name it.
        timing: When a holder on another machine is dead.

    Raises:
        OutputBusyError: Another process holds the lock.
        OutputError: The directory or the lock file is a link, or something else than vidcnn's.
        OSError: They cannot be read.
    """
    path = os.path.join(directory, _NAME)
    _check_directory(directory)
    try:
        file = _open_lock(path, os.O_RDONLY)
    except FileNotFoundError:
        return
    try:
        holder = decode(os.pread(file, _MAX_BYTES, 0))
        if holder is None or holder.has_ended:
            return
        is_fresh = abs(time.time() - os.fstat(file).st_mtime) < timing.dead_seconds
        if is_fresh or holder.is_certain:
            raise busy(out, holder)
    finally:
        os.close(file)


def _check_directory(directory: str) -> None:
    with suppress(FileNotFoundError):
        if stat.S_ISLNK(os.lstat(directory).st_mode):
            raise _is_link(directory)


def _open_lock(path: str, flags: int) -> int:
    """Open a lock file, and nothing that it may lead to.

    Raises:
        OutputError: It is a link, or no file.
        OSError: It cannot be opened.
    """
    try:
        file = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _is_link(path) from error
        raise
    status = os.fstat(file)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        os.close(file)
        raise _is_link(path) if stat.S_ISREG(status.st_mode) else _is_strange(path)
    return file


def _named_soon(file: int) -> Holder | None:
    """Return who holds a locked file: it is named there a moment after it locks."""
    deadline = time.monotonic() + _NAMING_SECONDS
    while True:
        holder = decode(os.pread(file, _MAX_BYTES, 0))
        if (holder is not None and not holder.has_ended) or time.monotonic() > deadline:
            return holder
        time.sleep(0.01)


def _is_link(path: str) -> OutputError:
    return OutputError(
        f"{path} is a link to something else, which vidcnn does not follow there",
        "see who made it; without it, the same command continues",
    )


def _is_strange(path: str) -> OutputError:
    return OutputError(f"{path} is not a lock that vidcnn made", "choose another --out")


def _is_at(file: int, path: str) -> bool:
    """Return whether an open file is still the one at a path."""
    try:
        return os.path.samestat(os.fstat(file), os.lstat(path))
    except FileNotFoundError:
        return False


def _check_elsewhere(file: int, directory: str, out: str, timing: LeaseTiming) -> None:
    """Check that no process of another machine holds a lock that this machine's kernel does not know of.

    Raises:
        OutputBusyError: One does.
    """
    holder = decode(os.pread(file, _MAX_BYTES, 0))
    if holder is None or holder.is_here:
        return
    now = _now(directory)
    silent_seconds = now - os.fstat(file).st_mtime
    if silent_seconds < -timing.dead_seconds:
        os.utime(file, (now, now))  # a holder that lives will touch it again
    if silent_seconds < timing.dead_seconds:
        hint = f"wait until it ends; if it was killed, the output is free {timing.dead_seconds:.0f} s after that"
        raise busy(out, holder, hint)


def _now(directory: str) -> float:
    """Return the time by the clock that dates the files of a directory."""
    path = os.path.join(directory, f"tmp-clock-{os.getpid()}")
    try:
        with open_new(path) as file:
            file.write(b"what time is it?")
        return os.stat(path).st_mtime
    finally:
        with suppress(OSError):
            os.unlink(path)
