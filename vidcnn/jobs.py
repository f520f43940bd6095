"""Job specs on disk: YAML files whose keys are the options of a command.

The key ``command`` names the command; the others are the fields of its spec.
"""

from __future__ import annotations

import re
from functools import cache
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
        values = yaml.load(path.read_text(), _loader())
    except OSError as error:
        raise UsageError(f"cannot read the job spec '{path}': {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"'{path}' is not YAML: {' '.join(str(error).split())}") from error
    if isinstance(values, dict) and not all(isinstance(name, str) for name in values):
        raise UsageError(f"'{path}' must have names of options for its keys")
    command = values.pop("command", None) if isinstance(values, dict) else None
    if command not in SPECS:
        raise UsageError(f"'{path}' must have a key command, one of {', '.join(SPECS)}, not {command!r}")
    if isinstance(values.get("source"), str):
        values["source"] = [values["source"]]
    return command, values


@cache
def _loader() -> Any:
    """Return a loader for YAML as people mean it (YAML 1.2): ``on`` is a word, and ``1:4`` too, instead of 64."""
    import yaml

    class Loader(yaml.SafeLoader):
        pass

    Loader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag.rpartition(":")[2] not in ("bool", "int", "float")]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    for kind, pattern, first in (
        ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
        ("int", r"[-+]?[0-9]+", "-+0123456789"),
        ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", "-+.0123456789"),
    ):
        Loader.add_implicit_resolver(f"tag:yaml.org,2002:{kind}", re.compile(rf"^(?:{pattern})$"), list(first))
    return Loader
