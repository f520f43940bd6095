"""Job specs on disk: YAML files whose keys are the options of a command.

The key ``command`` names the command; the others are the fields of its spec.
"""

from __future__ import annotations

from pathlib import Path

from vidcnn.config import InferSpec, Spec
from vidcnn.errors import UsageError
from vidcnn.options import read_spec

SPECS: dict[str, type[Spec]] = {"infer": InferSpec}
"""The spec of each command that a job may name."""


def read_job(path: Path) -> InferSpec:
    """Read a job spec.

    Raises:
        UsageError: The file is missing or is not YAML, names no command, or has an unknown key or an impossible value.
    """
    import yaml

    try:
        values = yaml.safe_load(path.read_text())
    except OSError as error:
        raise UsageError(f"cannot read the job spec '{path}': {error.strerror}") from error
    except yaml.YAMLError as error:
        raise UsageError(f"'{path}' is not YAML: {' '.join(str(error).split())}") from error
    command = values.pop("command", None) if isinstance(values, dict) else None
    if command not in SPECS:
        raise UsageError(f"'{path}' must have a key command, one of {', '.join(SPECS)}, not {command!r}")
    if isinstance(values.get("source"), str):
        values["source"] = [values["source"]]
    spec = read_spec(SPECS[command], values)
    assert isinstance(spec, InferSpec)
    return spec
