"""Keeping Ray from the user: it prints from native code and from threads, whatever its settings say."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout


@contextmanager
def silence() -> Iterator[None]:
    """Keep Ray from the user: what its native code writes to stderr, and what its threads print on stdout.

    Python's own `sys.stderr` goes on as it was, for the progress; results are printed when Ray has ended.
    """
    sys.stderr.flush()
    saved, python_stderr = os.dup(2), sys.stderr
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    if python_stderr is sys.__stderr__:
        sys.stderr = open(saved, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    try:
        with open(os.devnull, "w") as discarded, redirect_stdout(discarded):
            yield
    finally:
        sys.stderr.flush()
        sys.stderr = python_stderr
        os.dup2(saved, 2)
        os.close(saved)
