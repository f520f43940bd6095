"""A run directory in object storage: processes work on a copy of their own, which is sent there as it changes.

Files are sent as a whole, notes before checkpoints, and what was replaced is removed last: so whatever ends the process
what lies there is a run that can go on.
"""

from __future__ import annotations

import posixpath
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from pyarrow import fs as pafs

from vidcnn.errors import OutputError
from vidcnn.scratch import scratch_directory
from vidcnn.storage import failure_text, open_filesystem, public_location
from vidcnn.training.state import RunSettings

_PUSH_SECONDS = 10.0
_CHECKPOINTS = "checkpoints"
_Stamp = tuple[int, int]


class Mirror:
    """A run directory in object storage, and a copy of it on this machine.

    Args:
        location: URI of the run directory.
        copy: The copy, an existing directory.

    Raises:
        OutputError: The object storage cannot be reached.
    """

    def __init__(self, location: str, copy: Path) -> None:
        self._shown = public_location(location)
        self._copy = copy
        self._sent: dict[str, _Stamp] = {}
        try:
            self._filesystem, self._root = open_filesystem(location)
        except (OSError, ValueError) as error:
            raise self._failure(error) from error

    def pull(self) -> None:
        """Make the copy like the run directory.

        Raises:
            OutputError: It cannot be read.
        """
        try:
            there = self._list()
            for name in self._local_files().keys() - there:
                (self._copy / name).unlink()
            for name in sorted(there):
                target = self._copy / name
                target.parent.mkdir(parents=True, exist_ok=True)
                with self._filesystem.open_input_stream(f"{self._root}/{name}") as source, open(target, "wb") as file:
                    while block := source.read(2**20):
                        file.write(block)
        except OSError as error:
            raise self._failure(error) from error
        self._sent = self._local_files()

    def push(self) -> None:
        """Make the run directory like the copy.

        Raises:
            OutputError: It cannot be written.
        """
        here = self._local_files()
        try:
            changed = [name for name, stamp in here.items() if self._sent.get(name) != stamp]
            for name in sorted(changed, key=lambda name: (name.startswith(_CHECKPOINTS), name)):
                try:
                    content = (self._copy / name).read_bytes()
                except FileNotFoundError:
                    continue  # a checkpoint that was replaced meanwhile
                with self._filesystem.open_output_stream(f"{self._root}/{name}") as sink:
                    sink.write(content)
                self._sent[name] = here[name]
            for name in self._sent.keys() - here.keys():
                self._filesystem.delete_file(f"{self._root}/{name}")
                del self._sent[name]
        except OSError as error:
            raise self._failure(error) from error

    @contextmanager
    def kept(self, interval_seconds: float = _PUSH_SECONDS) -> Iterator[None]:
        """Send what changes now and then while the block runs, and what is left at its end.

        Raises:
            OutputError: What was left at the end cannot be sent.
        """
        ended = threading.Event()

        def send() -> None:
            while not ended.wait(interval_seconds):
                try:
                    self.push()
                except OutputError:
                    continue  # it may work the next time; the end tells

        sender = threading.Thread(target=send, daemon=True)
        sender.start()
        try:
            yield
        except BaseException:
            ended.set()
            sender.join()
            with suppress(OutputError):
                self.push()
            raise
        ended.set()
        sender.join()
        self.push()

    def _list(self) -> set[str]:
        selector = pafs.FileSelector(self._root, recursive=True, allow_not_found=True)
        infos = self._filesystem.get_file_info(selector)
        names = (posixpath.relpath(info.path, self._root) for info in infos if info.type == pafs.FileType.File)
        return {name for name in names if not _is_hidden(name)}

    def _local_files(self) -> dict[str, _Stamp]:
        """Return the files of the copy that are whole, with what tells their versions apart."""
        files = {}
        for path in self._copy.rglob("*"):
            name = path.relative_to(self._copy).as_posix()
            if _is_hidden(name) or not path.is_file():
                continue
            with suppress(FileNotFoundError):  # a checkpoint that is replaced just now
                status = path.stat()
                files[name] = (status.st_size, status.st_mtime_ns)
        return files

    def _failure(self, error: Exception) -> OutputError:
        return OutputError(f"the run directory '{self._shown}' {failure_text(error)}", "the same command goes on")


def _is_hidden(name: str) -> bool:
    """Tell whether a file is half written, or not of the run."""
    return any(part.startswith(".") for part in name.split("/"))


@contextmanager
def working_copy(settings: RunSettings, *, writes: bool) -> Iterator[RunSettings]:
    """Give a worker a directory of its own for a run in object storage.

    Args:
        settings: The run's.
        writes: Whether this worker writes to the run directory, as the first one does.

    Yields:
        The settings, with the directory to work in.
    """
    if settings.mirror is None:
        yield settings
        return
    with scratch_directory("vidcnn-run-", Path(tempfile.gettempdir())) as copy:
        mirror = Mirror(settings.mirror, copy)
        mirror.pull()
        mine = replace(settings, directory=copy)
        if not writes:
            yield mine
            return
        with mirror.kept():
            yield mine
