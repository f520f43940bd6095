"""Job specs on disk: YAML files whose keys are the options of a command.

The key ``command`` names the command; the others are the fields of its spec.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vidcnn.config import EvaluateSpec, InferSpec, Spec, TrainSpec
from vidcnn.errors import UsageError
from vidcnn.options import read_spec

SPECS: dict[str, type[Spec]] = {"infer": InferSpec, "train": TrainSpec, "evaluate": EvaluateSpec}
"""The spec of each command that a job may name."""


def read_job(path: Path) -> Spec:
    """Read a job spec.

    Raises:
        UsageError: The file is missing or is not YAML, names no command, or has an unknown key or an impossible value.
    """
    command, values = _read(path)
    return read_spec(SPECS[command], values)


def read_values(path: Path, command: str) -> dict[str, Any]:
    """Read the fields that a job spec of one command gives.

    Raises:
        UsageError: The file is missing or is not YAML, or is of another command.
    """
    found, values = _read(path)
    if found != command:
        raise UsageError(f"'{path}' is a job of the command {found}, not {command}", f"vidcnn run {path} does it")
    return values


def _read(path: Path) -> tuple[str, dict[str, Any]]:
    import yaml

    try:
        values = yaml.safe_load(path.read_text())
    except OSError as error:
        raise UsageError(f"cannot read the job spec '{path}': {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"'{path}' is not YAML: {' '.join(str(error).split())}") from error
    command = values.pop("command", None) if isinstance(values, dict) else None
    if command not in SPECS:
        raise UsageError(f"'{path}' must have a key command, one of {', '.join(SPECS)}, not {command!r}")
    if isinstance(values.get("source"), str):
        values["source"] = [values["source"]]
    # YAML reads `flip: on` as a truth, and `val_where: fold=0` as it stands.
    for name in ("flip", "compile"):
        if isinstance(values.get(name), bool):
            values[name] = "on" if values[name] else "off"
    return command, values
