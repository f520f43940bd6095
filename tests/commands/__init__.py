"""Runs of the command line as processes of their own, for tests of what a user meets; and tests of each command."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vidcnn.models.resolve import make_bundle

PROJECT = Path(__file__).parents[2]


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "vidcnn", *map(str, arguments)]


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1", "COLUMNS": "120"}


def vidcnn(
    *arguments: str | Path, timeout: float = 600, extra: dict[str, str] | None = None, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, with more environment variables if wanted."""
    environ = environment() | (extra or {})
    return subprocess.run(
        command(*arguments), env=environ, capture_output=True, text=True, timeout=timeout, check=False, **options
    )


def wait_until(condition: Callable[[], Any], *, of: subprocess.Popen[Any] | None = None, seconds: float = 400) -> Any:
    """Wait until a condition holds, and return what it returned.

    Args:
        condition: Is asked again and again.
        of: A process that must not end before.
        seconds: The longest wait: on a busy machine all takes ten times as long as on an idle one.
    """
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert of is None or of.poll() is None, f"it ended with exit code {of.returncode if of else 0} before that"
        assert time.monotonic() < deadline, "it has not come to this"
        time.sleep(0.005)
    return found


def make_tiny_bundle(directory: Path) -> Path:
    """Write a bundle of a small network with random weights and four classes."""
    labels = directory.with_suffix(".txt")
    labels.write_text("run\njump\nfall\nrest\n")
    bundle = make_bundle("simple3d", weights="random", labels=str(labels), arguments={"width": 0.25}, seed=1)
    bundle.save(directory)
    return directory
