"""Keeping Ray from the user: it prints from native code and from threads, whatever its settings are."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import TextIO

from vidcnn.streams import open_stderr


@contextmanager
def silence() -> Iterator[None]:
    """Keep Ray from the user: what its native code writes to stderr, and what its threads print on stdout.

    Python's own `sys.stderr` continues as it was, for the progress; results are printed when Ray has ended.
    """
    sys.stderr.flush()
    saved, python_stderr = os.dup(2), sys.stderr
    writes_there = _descriptor(python_stderr) == 2
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    if writes_there:
        sys.stderr = open_stderr(saved)
    try:
        with open(os.devnull, "w") as discarded, redirect_stdout(discarded):
            yield
    finally:
        sys.stderr.flush()
        sys.stderr = python_stderr
        os.dup2(saved, 2)
        os.close(saved)


def _descriptor(stream: TextIO) -> int | None:
    try:
        return stream.fileno()
    except (OSError, ValueError):  # a stream of a test or a notebook
        return None
