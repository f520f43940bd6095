"""Environment variables for a job of a cluster: those that the user names, with values that are never recorded."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from vidcnn.config.substitution import VARIABLE_NAME
from vidcnn.errors import UsageError, describe_reason


def read_variables(given: Iterable[str], file: Path | None) -> dict[str, str]:
    """Return the variables that ``--env`` and ``--env-file`` name, with their values.

    Args:
        given: ``NAME=VALUE``, or ``NAME`` for the value that it has here; these win over those of the file.
        file: The same, one per line; empty lines and those that begin with ``#`` are left out.

    Raises:
        UsageError: A name is not valid, or has no value here, or the file cannot be read. No value is shown.
    """
    return _read_file(file) | dict(_variable(text, "--env") for text in given)


def _read_file(file: Path | None) -> dict[str, str]:
    if file is None:
        return {}
    try:
        lines = file.read_text().splitlines()
    except OSError as error:
        raise UsageError(f"--env-file '{file}' cannot be read: {describe_reason(error)}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"--env-file '{file}' is no text") from error
    stripped = [(number, line.strip()) for number, line in enumerate(lines, 1)]
    return dict(_variable(line, f"{file}:{number}") for number, line in stripped if line and not line.startswith("#"))


def _variable(text: str, where: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not re.fullmatch(VARIABLE_NAME, name):
        raise UsageError(f"{where}: this begins with no name of a variable", "write NAME=VALUE, or NAME alone")
    if equals:
        return name, value
    if name not in os.environ:
        raise UsageError(f"{where}: the variable {name} is not set here", f"set it, or write {name}=VALUE")
    return name, os.environ[name]
