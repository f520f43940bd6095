"""Runs of the command line as processes of their own, for tests of what a user meets."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from vidcnn.models.resolve import make_bundle

PROJECT = Path(__file__).parents[1]


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "vidcnn", *map(str, arguments)]


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1", "COLUMNS": "120"}


def vidcnn(
    *arguments: str | Path, timeout: float = 180, extra: dict[str, str] | None = None, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, with more environment variables if wanted."""
    environ = environment() | (extra or {})
    return subprocess.run(
        command(*arguments), env=environ, capture_output=True, text=True, timeout=timeout, check=False, **options
    )


def make_tiny_bundle(directory: Path) -> Path:
    """Write a bundle of a small network with random weights and four classes."""
    labels = directory.with_suffix(".txt")
    labels.write_text("run\njump\nfall\nrest\n")
    bundle = make_bundle("simple3d", weights="random", labels=str(labels), arguments={"width": 0.25}, seed=1)
    bundle.save(directory)
    return directory
