"""Running a piece of code in a process of its own, which may give up what it likes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def outcome(code: str) -> str:
    """Return what a piece of code prints, in a process in which it gave up some rights."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2], timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


ATTEMPT = """
def attempt(name, deed):
    try:
        deed()
    except PermissionError:
        print(name, "refused")
    except Exception as error:
        print(name, type(error).__name__)
    else:
        print(name, "done")
"""
"""Tells how a deed went."""
