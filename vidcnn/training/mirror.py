"""A run directory in object storage: processes work on a copy of their own, which is sent there as it changes.

Files are sent as a whole, notes before checkpoints, and what was replaced is removed last: so whatever ends the
process, what is there is always a run that can continue.

The driver holds the lease, and this may be another process, on another machine, which may stand still and go on when
another run has the lease. So it is looked for before each file, and what is replaced is the version that was there
before that look (`vidcnn.storage.versions`).
"""

from __future__ import annotations

import json
import posixpath
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from pyarrow import fs as pafs

from vidcnn.errors import CONTINUES, OutputError, StorageError, VidcnnError
from vidcnn.models.archives import open_stored
from vidcnn.storage.ownership import open_regular
from vidcnn.storage.patience import is_passing, patiently
from vidcnn.storage.scratch import scratch_directory
from vidcnn.storage.uris import failure_text, public_location
from vidcnn.storage.versions import VersionedStore
from vidcnn.training.state import CHECKPOINTS, RunSettings

_PUSH_SECONDS = 10.0

_CUT_OFF_SECONDS = 600.0
"""How long the storage may take nothing before a run stops: what it does then would be lost with its machine."""

_Stamp = tuple[int, int]


class Mirror:
    """A run directory in object storage, and a copy of it on this machine.

    Args:
        location: URI of the run directory.
        copy: The copy, an existing directory.
        lease: Path of the object that is there as long as the run directory is held; None where nobody holds it.

    Raises:
        OutputError: The object storage cannot be reached.
    """

    def __init__(self, location: str, copy: Path, lease: str | None = None) -> None:
        self._lease = lease
        self._is_lost = False
        self._shown = public_location(location)
        self._copy = copy
        self._sent: dict[str, _Stamp] = {}
        self._done = time.monotonic()
        try:
            self._store, self._root = patiently(lambda: VersionedStore.open(location))
        except (OSError, ValueError) as error:
            raise self._failure(error) from error
        self._filesystem = self._store.filesystem

    def checkpoints(self) -> list[str]:
        """Return the names of the files that are in the run directory's folder of checkpoints.

        Raises:
            StorageError: They cannot be listed for now.
            OutputError: They cannot be listed.
        """
        try:
            there = patiently(self._list)
        except OSError as error:
            raise self._failure(error) from error
        inside = f"{CHECKPOINTS}/"
        return [name.removeprefix(inside) for name in there if name.startswith(inside)]

    def pull(self) -> None:
        """Make the copy like the run directory.

        Raises:
            StorageError: It cannot be read for now.
            OutputError: It cannot be read.
        """
        try:
            there = patiently(self._list)
            for name in self._local_files().keys() - there.keys():
                (self._copy / name).unlink()
            for name, size_bytes in sorted(there.items()):
                with suppress(_DamagedError):  # it is so in the storage: whoever reads it reports that
                    patiently(partial(self._fetch, name, size_bytes))
        except OSError as error:
            raise self._failure(error) from error
        self._sent = self._local_files()

    def push(self) -> None:
        """Make the run directory like the copy.

        Raises:
            StorageError: It cannot be written for now.
            OutputError: It cannot be written, or another run has it.
        """
        try:
            patiently(self._send)
        except OSError as error:
            raise self._failure(error) from error

    def is_cut_off(self, max_seconds: float = _CUT_OFF_SECONDS) -> bool:
        """Return whether the run directory has been out of reach for so long, or is another run's: work has to stop."""
        return self._is_lost or time.monotonic() - self._done > max_seconds

    @contextmanager
    def kept(self, interval_seconds: float = _PUSH_SECONDS) -> Iterator[None]:
        """Send what changes now and then while the block runs, and what is left at its end.

        Raises:
            StorageError: What was left at the end cannot be sent for now.
            OutputError: What was left at the end cannot be sent.
        """
        self._done = time.monotonic()
        ended = threading.Event()

        def send() -> None:
            while not ended.wait(interval_seconds):
                with suppress(OSError, OutputError):  # it may work the next time; the last time raises, or `is_cut_off`
                    self._send()

        sender = threading.Thread(target=send, daemon=True)
        sender.start()
        try:
            yield
        except BaseException:
            ended.set()
            sender.join()
            with suppress(OutputError, StorageError):
                self.push()
            raise
        ended.set()
        sender.join()
        self.push()

    def _fetch(self, name: str, size_bytes: int) -> None:
        target = self._copy / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with self._filesystem.open_input_stream(f"{self._root}/{name}") as source, open(target, "wb") as file:
            while block := source.read(2**20):
                file.write(block)
            found = file.tell()
        if found != size_bytes:
            raise OSError(f"{name} came with {found:,} of {size_bytes:,} bytes")
        if not _is_sound(target):
            raise _DamagedError(f"{name} came damaged")

    def _send(self) -> None:
        here = self._local_files()
        changed = [name for name, stamp in here.items() if self._sent.get(name) != stamp]
        for name in sorted(changed, key=lambda name: (name.startswith(CHECKPOINTS), name)):
            try:
                content = (self._copy / name).read_bytes()
            except FileNotFoundError:
                continue  # a checkpoint that was replaced meanwhile
            version = self._store.version(f"{self._root}/{name}")
            self._check()
            self._store.put(f"{self._root}/{name}", content, version)
            self._sent[name] = here[name]
        for name in self._sent.keys() - here.keys():
            self._check()
            self._store.delete(f"{self._root}/{name}")
            del self._sent[name]
        self._done = time.monotonic()

    def _check(self) -> None:
        """Check that the run directory is held.

        Raises:
            OutputError: It is not, or not any more.
        """
        if self._lease is not None and not self._filesystem.get_file_info(self._lease).is_file:
            self._is_lost = True
            raise OutputError(f"the lock on the run directory '{self._shown}' was lost", CONTINUES)

    def _list(self) -> dict[str, int]:
        """Return the files of the run directory that are whole, with their sizes in bytes."""
        selector = pafs.FileSelector(self._root, recursive=True, allow_not_found=True)
        infos = self._filesystem.get_file_info(selector)
        files = {posixpath.relpath(info.path, self._root): info for info in infos if info.type == pafs.FileType.File}
        return {name: int(info.size) for name, info in files.items() if not _is_hidden(name)}

    def _local_files(self) -> dict[str, _Stamp]:
        """Return the files of the copy that are whole, with what distinguishes their versions."""
        files = {}
        for path in self._copy.rglob("*"):
            name = path.relative_to(self._copy).as_posix()
            if _is_hidden(name) or not path.is_file():
                continue
            with suppress(FileNotFoundError):  # a checkpoint that is replaced just now
                status = path.stat()
                files[name] = (status.st_size, status.st_mtime_ns)
        return files

    def _failure(self, error: Exception) -> VidcnnError:
        what = f"the run directory '{self._shown}' {failure_text(error)}"
        if is_passing(error):
            return StorageError(what, "the same command continues from the last checkpoint there once it answers again")
        return OutputError(what, "the same command continues")


class _DamagedError(OSError):
    """A file came with bytes that are not those of its format."""


def _is_sound(path: Path) -> bool:
    """Return whether a file is what its name promises.

    Of a body that a server cuts, Arrow fills up the rest with whatever was in memory: its size shows nothing.
    """
    try:
        if path.suffix == ".pt":
            with open_regular(path) as file, open_stored(file) as archive:
                return archive.testzip() is None
        if path.suffix == ".json":
            json.loads(path.read_bytes())
    except OSError:
        raise
    except Exception:  # what damaged bytes lead to can be anything
        return False
    return True


def _is_hidden(name: str) -> bool:
    """Return whether a file is half written, or not of the run."""
    return any(part.startswith(".") for part in name.split("/"))


@dataclass(frozen=True)
class WorkingCopy:
    """Where a worker works.

    Attributes:
        run: The run's settings, with the directory to work in.
    """

    run: RunSettings
    _mirror: Mirror | None = None

    def is_cut_off(self) -> bool:
        """Return whether what is done here has not reached the run directory for so long that the work has to stop."""
        return self._mirror is not None and self._mirror.is_cut_off()


@contextmanager
def working_copy(settings: RunSettings, *, writes: bool) -> Iterator[WorkingCopy]:
    """Give a worker a directory of its own for a run in object storage.

    Args:
        settings: The run's.
        writes: Whether this worker writes to the run directory, as the first one does.

    Raises:
        StorageError: The run directory cannot be read or written for now.
        OutputError: It cannot be read or written.
    """
    if settings.mirror is None:
        yield WorkingCopy(settings)
        return
    with scratch_directory("vidcnn-run-", Path(tempfile.gettempdir())) as copy:
        mirror = Mirror(settings.mirror, copy, settings.lease)
        mirror.pull()
        mine = replace(settings, directory=copy)
        if not writes:
            yield WorkingCopy(mine)
            return
        with mirror.kept():
            yield WorkingCopy(mine, mirror)
