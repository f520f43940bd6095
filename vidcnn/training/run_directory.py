"""Where a run directory is, on a file system or in object storage, and the lock that one run at a time has on it."""

from __future__ import annotations

import os
import posixpath
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from vidcnn.errors import OutputError
from vidcnn.safe_text import is_utf8
from vidcnn.storage.locks.file_lock import FileLock
from vidcnn.storage.locks.lease import Lease
from vidcnn.storage.scratch import scratch_directory
from vidcnn.storage.uris import failure_text, is_remote, local_path, public_location
from vidcnn.storage.versions import VersionedStore
from vidcnn.training.mirror import Mirror
from vidcnn.training.state import CHECKPOINTS


@dataclass(frozen=True)
class RunDirectory:
    """A run directory that this process has locked.

    Attributes:
        directory: The run directory; where that is in object storage, a copy of it.
        shown: How it is called.
    """

    directory: Path
    shown: str
    _lock: FileLock | Lease
    _mirror: Mirror | None = None

    @property
    def lease(self) -> str | None:
        """Path of the object that is there as long as the run directory is held; None on a file system."""
        return self._lock.path if isinstance(self._lock, Lease) else None

    def check(self) -> None:
        """Check that this process still has the lock.

        Raises:
            OutputError: It does not.
        """
        with suppress(OSError):  # storage that does not answer: if it stays so, the lock counts as lost
            self._lock.check()

    def newest_step(self) -> int:
        """Return the step of the newest checkpoint in the run directory; 0 where there is none.

        Raises:
            StorageError: It cannot be listed for now.
            OutputError: It cannot be listed.
        """
        from vidcnn.training.checkpoints import CheckpointStore, step_of

        if self._mirror is None:
            return max((found.step for found in CheckpointStore(self.directory / CHECKPOINTS).list()), default=0)
        return max((step for step in map(step_of, self._mirror.checkpoints()) if step is not None), default=0)

    def pull(self) -> None:
        """Make the copy like the run directory, if it is one.

        Raises:
            OutputError: The run directory cannot be read.
        """
        if self._mirror is not None:
            self._mirror.pull()

    def push(self) -> None:
        """Make the run directory like its copy, if that is one.

        Raises:
            OutputError: The run directory cannot be written, or this process has lost its lock.
        """
        if self._mirror is not None:
            self.check()
            self._mirror.push()


@contextmanager
def hold_run(out: str) -> Iterator[RunDirectory]:
    """Keep other runs out of a run directory while this one uses it.

    Args:
        out: A directory, which is made if it is not there, or a URI.

    Raises:
        OutputBusyError: Another run uses it.
        OutputError: It cannot be made, or its path is not UTF-8.
    """
    if is_remote(out):
        with _hold_remote(out) as place:
            yield place
        return
    directory = Path(os.path.realpath(local_path(out)))
    if not is_utf8(str(directory)):
        raise OutputError(
            f"the run directory '{directory}' has a name that is not UTF-8, which Ray and TensorBoard cannot take",
            "choose another --out",
        )
    try:
        lock = FileLock.acquire(str(directory), str(directory))
    except OSError as error:
        raise OutputError(f"cannot write to '{directory}': {error.strerror}", "choose another --out") from error
    try:
        yield RunDirectory(directory, str(directory), lock)
    finally:
        lock.release()


@contextmanager
def _hold_remote(out: str) -> Iterator[RunDirectory]:
    shown = public_location(out)
    try:
        store, path = VersionedStore.open(out)
        parent, name = posixpath.split(path)
        if not parent or not name:
            raise OutputError(f"{shown} names a bucket", "name a prefix inside it")
        lease = Lease.acquire(store, f"{parent}/.{name}.vidcnn", shown)
    except (OSError, ValueError) as error:
        raise OutputError(f"the run directory '{shown}' {failure_text(error)}", "choose another --out") from error
    try:
        with scratch_directory("vidcnn-run-", Path(tempfile.gettempdir())) as copy:
            mirror = Mirror(out, copy, lease.path)
            mirror.pull()
            yield RunDirectory(copy, shown, lease, mirror)
    finally:
        lease.release()
