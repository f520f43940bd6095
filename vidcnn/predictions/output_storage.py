"""Where the files of an output are: a local file system or object storage, behind one interface.

``--out`` names a single file (``X.parquet``) or a dataset, a directory of part files. Beside it, while a run
needs it, lies the hidden directory ``.NAME.vidcnn``: the lock, files being written and, for a single file,
the parts::

    preds.parquet            .preds.parquet.vidcnn/{lock, tmp-*, part-*.parquet}
    preds/part-*.parquet     .preds.vidcnn/{lock, tmp-*}

So a reader of the output never meets a file that is not whole. In object storage, the locks are ``lock-*``, and nothing
has to be written aside. Before each change it is checked that the lock is still held.
"""

from __future__ import annotations

from typing import Any, Protocol

from vidcnn.predictions.local_output import LocalFiles, LocalStorage
from vidcnn.predictions.object_output import Objects, ObjectStorage
from vidcnn.predictions.output_layout import Check, Fill, explained
from vidcnn.storage.locks.file_lock import look as look_at_lock
from vidcnn.storage.locks.heartbeat import USUAL, LeaseTiming
from vidcnn.storage.locks.lease import look as look_at_lease
from vidcnn.storage.uris import is_remote, local_path


class OutputStorage(Protocol):
    """The files of one output. Every failure is an `OutputError` in one line.

    Attributes:
        out: The output, as messages name it.
        final_path: The single file; None for a dataset.
        is_view: Whether nothing may be changed.
    """

    out: str
    final_path: str | None
    is_view: bool

    def has_final(self) -> bool:
        """Return whether the single file exists."""

    def list_parts(self) -> list[str]:
        """Return the paths of the part files, sorted.

        Raises:
            OutputError: Something else is where the parts should be.
        """

    def part_path(self, name: str) -> str:
        """Return where the part file of a name belongs."""

    def new_part(self, digest: str) -> str:
        """Return where a part file belongs that is to be written.

        Args:
            digest: Of the segments that are in it.
        """

    def open(self, path: str) -> Any:
        """Open a file for random access, as a context manager.

        Raises:
            OSError: It cannot be opened.
        """

    def write(self, path: str, fill: Fill, check: Check, empty: Fill | None = None) -> None:
        """Write a file that appears, or replaces the old one, as a whole or not at all, once it was read back.

        Args:
            path: The file.
            fill: Writes it.
            check: Reads it back.
            empty: Writes a part without rows, which takes the name of a new one where that is needed.
        """

    def delete(self, path: str) -> None:
        """Delete a file, if it is there."""

    def close(self) -> None:
        """Give the lock back, and remove the hidden directory unless parts are left in it."""


def open_storage(out: str, timing: LeaseTiming = USUAL) -> OutputStorage:
    """Open an output for writing: lock it, check that it can be written, remove half-written files.

    Args:
        out: What ``--out`` names.
        timing: When the holder of a lock is dead.

    Raises:
        OutputBusyError: Another run holds it.
        OutputError: It cannot be written.
    """
    return ObjectStorage(out, timing) if is_remote(out) else LocalStorage(local_path(out), timing)


def look_at(out: str, timing: LeaseTiming = USUAL) -> OutputStorage:
    """Look at an output without changing anything: it is neither locked nor made, and nothing is cleared away.

    Args:
        out: What ``--out`` names.
        timing: When the holder of a lock is dead.

    Raises:
        OutputBusyError: Another run holds it.
        OutputError: It cannot be an output.
    """
    storage = view(out)
    with explained(storage.out):
        if isinstance(storage, Objects):
            look_at_lease(storage.store, storage.hidden, storage.out, timing)
        else:
            look_at_lock(storage.hidden, storage.out, timing)
    return storage


def view(out: str) -> LocalFiles | Objects:
    """Look at an output as `look_at` does, whoever holds it.

    Raises:
        OutputError: It cannot be an output.
    """
    return Objects(out) if is_remote(out) else LocalFiles(local_path(out))


def check_free(out: str) -> None:
    """Refuse an output on this machine that another run holds, at little cost and without locking it.

    Raises:
        OutputBusyError: Another run holds it.
        OutputError: It is something else than an output.
    """
    if not is_remote(out):
        look_at(out).close()
