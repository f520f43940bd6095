"""The JSON Schema of job specs, by which editors complete and check them.

Takes the fields of the specs; returns a schema (draft 2020-12) with their meanings, defaults and bounds. A text with
a variable of the environment (`vidcnn.config.substitution`) may stand for any value.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from vidcnn.config import Spec
from vidcnn.config.base import former_names, written_name
from vidcnn.config.job_files import SPECS
from vidcnn.config.substitution import PATTERN
from vidcnn.errors import UsageError

_VARIABLE = {"$ref": "#/$defs/variable"}
_NOT_SHAPE = ("description", "default", "title", "panel", "metavar", "formerly", "unless")


def job_schema(command: str | None = None) -> dict[str, Any]:
    """Return the JSON Schema of job specs.

    Args:
        command: Of this command alone; None for all.

    Raises:
        UsageError: No job is of this command.
    """
    if command is not None and command not in SPECS:
        raise UsageError(f"there are no jobs of the command {command!r}", f"there are those of {', '.join(SPECS)}")
    commands = list(SPECS) if command is None else [command]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Job spec of vidcnn",
        "description": "The options of a command, for `vidcnn run`.",
        "type": "object",
        "required": ["command"],
        "oneOf": [{"$ref": f"#/$defs/{name}"} for name in commands],
        "$defs": {
            **{name: _spec_schema(name, SPECS[name]) for name in commands},
            "variable": {
                "description": "${NAME} or ${NAME:-default}: the value of a variable of the environment.",
                "type": "string",
                "pattern": PATTERN,
            },
        },
    }


def _spec_schema(command: str, spec: type[Spec]) -> dict[str, Any]:
    schema = spec.model_json_schema()
    fields = {written_name(name): _field_schema(field) for name, field in schema["properties"].items()}
    for former, name in former_names(spec).items():
        fields[former] = {**fields[name], "deprecated": True, "description": f"The former name of {name}."}
    required = [name for name in schema.get("required", []) if "unless" not in schema["properties"][name]]
    either = [
        [name, written_name(field["unless"])] for name, field in schema["properties"].items() if "unless" in field
    ]
    return {
        "description": schema["description"],
        "type": "object",
        "properties": {"command": {"description": "The command whose options these are.", "const": command}, **fields},
        "required": ["command", *required],
        **({"anyOf": [{"required": [name]} for name in either[0]]} if either else {}),
        "additionalProperties": False,
    }


def _field_schema(field: Mapping[str, Any]) -> dict[str, Any]:
    known: dict[str, Any] = {name: field[name] for name in ("description", "default") if name in field}
    if "description" in known:
        known["description"] = " ".join(known["description"].replace("\\[", "[").split())
    kinds = list(_kinds({name: value for name, value in field.items() if name not in _NOT_SHAPE}))
    if kinds[0].get("type") == "array":
        kinds.append({"type": "string"})  # one source needs no list
    if {"type": "string"} not in kinds:
        kinds.append(_VARIABLE)
    return {**known, "anyOf": kinds} if len(kinds) > 1 else {**known, **kinds[0]}


def _kinds(shape: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield each of the kinds of values that a schema takes."""
    if "anyOf" not in shape:
        yield shape
    for kind in shape.get("anyOf", ()):
        yield from _kinds(kind)
