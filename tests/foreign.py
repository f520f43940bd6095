"""What others may make of a file of this user, so that it is not to be trusted any more."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def written_by_all(path: Path) -> None:
    """Let everybody write to it."""
    path.chmod(0o666)


def given_away(path: Path) -> None:
    """Let it belong to another user."""
    if os.geteuid():
        pytest.skip("only root can give a file to another user")
    os.chown(path, 54321, 54321)


def linked(path: Path) -> None:
    """Put a symbolic link to it into its place."""
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def piped(path: Path) -> None:
    """Put a pipe into its place, to open which waits for a writer that never comes."""
    path.unlink()
    os.mkfifo(path)
