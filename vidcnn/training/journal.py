"""What a run writes down as it goes: numbers for people and for programs.

``metrics.jsonl`` has one object a line, each with ``kind`` (``train``, ``validation`` or ``run``) and ``step``.
TensorBoard shows the same numbers as curves. Only one process of a run writes: the first worker, and when the workers
have ended, the command.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from vidcnn.errors import OutputError, StorageError
from vidcnn.safe_text import json_text
from vidcnn.storage.atomic import write_whole
from vidcnn.storage.patience import is_passing, patiently


class Journal:
    """The journal of a run. Use it as a context manager.

    What a run noted after the checkpoint that it now continues from, it will note again: those lines are dropped.

    Args:
        directory: The run's directory.
        first_step: Steps done when this process begins.

    Raises:
        OutputError: It cannot be written.
    """

    def __init__(self, directory: Path, first_step: int) -> None:
        self._directory = directory
        self._first_step = first_step
        self._board: Any = None  # loading it takes a second, for which the first step need not wait
        self._path = directory / "metrics.jsonl"
        try:
            patiently(lambda: _drop_after(self._path, first_step))
        except OSError as error:
            raise _failure(directory, error) from error

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # reported already, when it was noted
            if self._board is not None:
                self._board.close()

    def note(self, kind: str, step: int, **values: Any) -> None:
        """Write down some numbers of a step.

        Args:
            kind: What they are of: ``train`` or ``validation``.
            step: Steps done.
            **values: JSON values; those that are numbers become curves.

        Raises:
            StorageError: It cannot be written for now.
            OutputError: It cannot be written.
        """
        line = json_text({"kind": kind, "step": step, **values})
        try:
            patiently(lambda: _append(self._path, line))
            board = self._open_board()
            for name, value in values.items():
                if isinstance(value, int | float) and not isinstance(value, bool):
                    board.add_scalar(f"{kind}/{name}", value, step)
            board.flush()
        except OSError as error:
            raise _failure(self._directory, error) from error

    def _open_board(self) -> Any:
        if self._board is None:
            from torch.utils.tensorboard import SummaryWriter

            path = self._directory / "tensorboard"
            self._board = SummaryWriter(str(path), purge_step=self._first_step + 1)
        return self._board


def note_run(directory: Path, step: int, **values: Any) -> None:
    """Write down what a command came to, when its workers have ended.

    Args:
        directory: The run's directory.
        step: Steps that are done.
        **values: JSON values.

    Raises:
        StorageError: It cannot be written for now.
        OutputError: It cannot be written.
    """
    line = json_text({"kind": "run", "step": step, **values})
    try:
        patiently(lambda: _append(directory / "metrics.jsonl", line))
    except OSError as error:
        raise _failure(directory, error) from error


def read_journal(directory: Path) -> list[dict[str, Any]]:
    """Return what a run noted, in order; a line that is none of its notes, or is cut off, is left out."""
    notes: list[dict[str, Any]] = []
    try:
        path = directory / "metrics.jsonl"
        lines = patiently(lambda: path.read_text(encoding="utf-8", errors="replace")).split("\n")
    except FileNotFoundError:
        return notes
    for line in lines:
        try:
            note = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(note, dict) and type(note.get("step")) is int:
            notes.append(note)
    return notes


def _failure(directory: Path, error: OSError) -> OutputError | StorageError:
    what = f"cannot write notes to {directory}: {error.strerror or error}"
    if is_passing(error):
        return StorageError(what, "the same command continues from the last checkpoint once the storage takes them")
    return OutputError(what, "make room, and the same command continues from the last checkpoint")


def _append(path: Path, line: str) -> None:
    """Write a line, unless it is there, behind an end of line where a part of one that failed may be."""
    content = line.encode() + b"\n"
    with open(path, "ab+") as file:
        file.seek(-min(len(content), file.tell()), os.SEEK_END)
        tail = file.read()
        if tail != content:
            file.write(content if not tail or tail.endswith(b"\n") else b"\n" + content)


def _drop_after(path: Path, step: int) -> None:
    kept = [note for note in read_journal(path.parent) if note["step"] <= step]
    write_whole(path, "".join(json_text(note) + "\n" for note in kept).encode())
