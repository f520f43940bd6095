"""Whether what vidcnn stands on can be loaded: each module is imported in a process of its own, which may die.

A wheel that was built for another processor ends the process with SIGILL, one that lacks a library raises. What
follows in the process that asks is then left out. As a program, this module imports what it is told, one after the
other, and prints a line before and after each.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module

from vidcnn.errors import first_line
from vidcnn.processes import run_module

MODULES = (("numpy", "torch", "torchvision", "safetensors"), ("pyarrow", "av", "cv2", "ray"))
"""What is imported one after the other, what others need first; the two groups at the same time."""

_SECONDS = 120.0


def try_imports(groups: Sequence[Sequence[str]] = MODULES) -> dict[str, str | None]:
    """Import modules in other processes.

    Args:
        groups: Names of modules. Those of a group share a process, as long as it lives.

    Returns:
        For each module None, or in one line why it cannot be imported.
    """
    outcome: dict[str, str | None] = {}
    with ThreadPoolExecutor(len(groups)) as pool:
        for found in pool.map(_import_all, groups):
            outcome |= found
    return outcome


def _import_all(modules: Sequence[str]) -> dict[str, str | None]:
    outcome: dict[str, str | None] = {}
    while left := [name for name in modules if name not in outcome]:
        outcome |= _import_until_death(left)
    return outcome


def _import_until_death(modules: Sequence[str]) -> dict[str, str | None]:
    """Import modules in one process, up to the one that it dies of."""
    command, variables = run_module(__name__)
    outcome: dict[str, str | None] = {}
    reason = "it takes more than two minutes to load"
    try:
        done = subprocess.run(
            [*command, *modules], env=variables, capture_output=True, timeout=_SECONDS, check=False, text=True
        )
        said, reason = done.stdout, _death(done.returncode)
    except subprocess.TimeoutExpired as error:
        said = error.stdout.decode() if isinstance(error.stdout, bytes) else error.stdout or ""
    except OSError as error:
        return dict.fromkeys(modules, f"no process can be started: {error.strerror}")
    for line in said.splitlines():
        if line.startswith("{"):
            outcome |= json.loads(line)
    return outcome if len(outcome) == len(modules) else outcome | {modules[len(outcome)]: reason}


def _death(code: int) -> str:
    import signal

    if code == -signal.SIGILL:
        return "it uses instructions that this processor does not have (SIGILL)"
    return f"loading it ends the process ({signal.Signals(-code).name if code < 0 else f'exit code {code}'})"


def _main() -> None:
    for name in sys.argv[1:]:
        try:
            import_module(name)
            found = None
        except Exception as error:
            found = first_line(error)
        print(json.dumps({name: found}), flush=True)


if __name__ == "__main__":
    _main()
