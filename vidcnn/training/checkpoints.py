"""Checkpoints on disk: whole or not there, the newest and the best kept.

A checkpoint is two files, ``step_00000400.json`` (what it reached) and ``step_00000400.pt`` (tensors and plain values,
read with `weights_only`). Both are written aside, synchronised to the disk and renamed, the tensors last: a checkpoint
exists when its ``.pt`` does. Writing happens in a thread of its own, from copies, while training continues.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import torch

from vidcnn.errors import OutputError, StorageError
from vidcnn.storage.atomic import write_whole
from vidcnn.storage.patience import is_passing, patiently

_NAME = re.compile(r"^step_(\d{8})\.pt$")
_NUM_NEWEST = 2
"""The newest checkpoints that are kept: one more than needed, should its file turn out to be unreadable."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that is whole.

    Attributes:
        step: Steps done.
        score: What it reached in validation, higher is better; None where it was not validated.
        path: File of the tensors.
    """

    step: int
    score: float | None
    path: Path


class CheckpointStore:
    """The checkpoints of a run. Use it as a context manager in the process that writes.

    Args:
        directory: Where they are; made when the first is written.
        num_best: How many of the best are kept besides the newest.
    """

    def __init__(self, directory: Path, num_best: int = 1) -> None:
        self._directory = directory
        self._num_best = num_best
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._writing: Future[None] | None = None

    def __enter__(self) -> CheckpointStore:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()

    def list(self) -> list[Checkpoint]:
        """Return all checkpoints, by step.

        Raises:
            StorageError: They cannot be listed for now.
            OutputError: They cannot be listed.
        """
        found = []
        try:
            for name in patiently(lambda: _names(self._directory)):
                path, step = self._directory / name, step_of(name)
                if step is not None:
                    found.append(Checkpoint(step, _read_score(path), path))
        except OSError as error:
            what = f"the checkpoints in {self._directory} cannot be read: {_reason(error)}"
            if is_passing(error):
                raise StorageError(what, "the same command continues once they can") from error
            raise OutputError(what, "give this user the right to read them, or choose another --out") from error
        return sorted(found, key=lambda checkpoint: checkpoint.step)

    def load_newest(self) -> tuple[Checkpoint, dict[str, Any]] | None:
        """Return the newest checkpoint that can be read, and its state; None where there is none.

        Raises:
            StorageError: The storage fails: an older one is not taken for that.
            OutputError: There are some, and all are damaged.
        """
        return _load_first(reversed(self.list()))

    def load_best(self) -> tuple[Checkpoint, dict[str, Any]] | None:
        """Return the checkpoint with the highest score that can be read, of equals the latest, and its state.

        Without any score it is the newest; None where there is none.

        Raises:
            StorageError: The storage fails: another one is not taken for that.
            OutputError: There are some, and all are damaged.
        """
        return _load_first(sorted(self.list(), key=_rank, reverse=True))

    def save(self, step: int, state: Mapping[str, Any], score: float | None = None) -> None:
        """Write a checkpoint in the background; waits only for the one before it.

        Args:
            step: Steps done.
            state: Tensors that nothing else changes, and plain values.
            score: What it reached in validation; higher is better.

        Raises:
            OutputError: The checkpoint before this one could not be written.
        """
        self.wait()
        self._writing = self._pool.submit(self._write, step, state, score)

    def wait(self) -> None:
        """Wait until everything is written.

        Raises:
            StorageError: It could not be, and may be later.
            OutputError: It could not be.
        """
        if self._writing is not None:
            writing, self._writing = self._writing, None
            try:
                writing.result()
            except (OSError, RuntimeError) as error:  # torch turns some errors of the disk into the latter
                newest = self.list()
                there = f"the one of step {newest[-1].step} is whole" if newest else "there is none yet"
                what = f"cannot write a checkpoint to {self._directory}: {_reason(error)}"
                if is_passing(error):
                    raise StorageError(
                        what, f"{there}; once the storage takes it, the same command continues from there"
                    ) from error
                raise OutputError(what, f"{there}; make room, and the same command continues from there") from error

    def _write(self, step: int, state: Mapping[str, Any], score: float | None) -> None:
        path = self._directory / f"step_{step:08d}.pt"
        card = json.dumps({"step": step, "score": score}).encode()
        patiently(lambda: self._directory.mkdir(parents=True, exist_ok=True))
        for rest in self._directory.glob(".step_*.part"):  # of a process that was killed while it wrote
            rest.unlink(missing_ok=True)
        patiently(lambda: write_whole(path.with_suffix(".json"), card))
        patiently(lambda: write_whole(path, lambda file: torch.save(dict(state), file)))
        self._prune()

    def _prune(self) -> None:
        found = self.list()
        kept = {checkpoint.step for checkpoint in found[-_NUM_NEWEST:]}
        scored = [checkpoint for checkpoint in found if checkpoint.score is not None]
        kept |= {checkpoint.step for checkpoint in sorted(scored, key=_rank, reverse=True)[: self._num_best]}
        for checkpoint in found:
            if checkpoint.step not in kept:
                for path in (checkpoint.path, checkpoint.path.with_suffix(".json")):
                    path.unlink(missing_ok=True)


def step_of(name: str) -> int | None:
    """Return the step of a checkpoint by the name of its file; None if it is not one."""
    match = _NAME.match(name)
    return None if match is None else int(match[1])


def load_state(path: Path) -> dict[str, Any]:
    """Read a checkpoint's state.

    Raises:
        StorageError: It cannot be read for now.
        OutputError: It is damaged, or may not be read.
    """
    try:
        try:
            return patiently(lambda: _read_state(path))
        except Exception:
            return patiently(lambda: _read_state(path))  # what came damaged may be whole in the storage
    except Exception as error:  # what damaged bytes lead to can be anything
        if is_passing(error):
            raise StorageError(
                f"the checkpoint {path} cannot be read for now: {_reason(error)}",
                "the same command continues once the storage answers again",
            ) from error
        raise OutputError(
            f"the checkpoint {path} cannot be read: {_reason(error)}",
            "bring back a copy of it, or choose another --out to begin again",
        ) from error


def _read_state(path: Path) -> dict[str, Any]:
    with ZipFile(path) as archive:  # torch itself takes changed bytes for weights
        damaged = archive.testzip()
    if damaged is not None:
        raise ValueError(f"{damaged} has changed since it was written")
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def _load_first(checkpoints: Iterable[Checkpoint]) -> tuple[Checkpoint, dict[str, Any]] | None:
    """Load the first of some checkpoints that is whole.

    Raises:
        StorageError: One cannot be read for now, which does not mean that it is damaged.
        OutputError: There are some, and none is whole.
    """
    failure: OutputError | None = None
    for checkpoint in checkpoints:
        try:
            return checkpoint, load_state(checkpoint.path)
        except OutputError as error:
            failure = failure or error
    if failure is not None:
        raise failure
    return None


def _names(directory: Path) -> list[str]:
    try:
        return os.listdir(directory)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _rank(checkpoint: Checkpoint) -> tuple[float, int]:
    return (float("-inf") if checkpoint.score is None else checkpoint.score, checkpoint.step)


def _reason(error: BaseException) -> str:
    """Return what went wrong; where torch hides an error of the disk behind its own, the disk's."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno:
            return os.strerror(cause.errno)
        cause = cause.__cause__ or cause.__context__
    return " ".join(str(error).split()) or type(error).__name__


def _read_score(path: Path) -> float | None:
    try:
        score = json.loads(patiently(path.with_suffix(".json").read_text))["score"]
        return None if score is None else float(score)
    except (FileNotFoundError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None
