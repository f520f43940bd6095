"""Job specs on disk: YAML files whose keys are the options of a command.

The key ``command`` names the command; the others are the fields of its spec. Their values may come from the environment
(`vidcnn.config.substitution`), and be overridden by settings ``name=value``.
"""

from __future__ import annotations

import os
from collections import ChainMap
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_origin

from pydantic.fields import FieldInfo

from vidcnn.config import EvaluateSpec, InferSpec, ScanSpec, Spec, TrainSpec, option_name, plain_yaml
from vidcnn.config.base import fields_by_name, read_spec, with_present_names, written_name
from vidcnn.config.substitution import is_variable, private_values, substitute, variables
from vidcnn.config.yaml_lines import YamlError
from vidcnn.errors import UsageError
from vidcnn.streams import STDIN

SPECS: dict[str, type[Spec]] = {
    "infer": InferSpec,
    "train": TrainSpec,
    "evaluate": EvaluateSpec,
    "scan": ScanSpec,
}
"""The spec of each command that a job may name."""


class JobNeeds(NamedTuple):
    """A job spec, as far as it can be known before it runs.

    Attributes:
        spec: The spec; fields that need variables which are not set have their defaults, or the text that is written.
        needed: Names of variables without which the job does not run.
        optional: Names of variables for which it has defaults.
        open_fields: Fields whose value is not known, with what is written for them.
    """

    spec: Spec
    needed: tuple[str, ...]
    optional: tuple[str, ...]
    open_fields: dict[str, Any]


def command_of(spec: Spec) -> str:
    """Return the command that a spec belongs to."""
    return next(command for command, spec_type in SPECS.items() if type(spec) is spec_type)


def read_job(path: Path, settings: Sequence[str] = ()) -> Spec:
    """Read a job spec.

    Args:
        path: The file.
        settings: ``name=value``, which override the file. A value is read as YAML reads a scalar, unless its
            field is text. The last of several for one name counts; for a list, they are its entries.

    Raises:
        UsageError: The file is missing or is not YAML, names no command, has an unknown key or an impossible value, or
            needs a variable of the environment that is not set; a setting is not ``name=value``; a source is standard
            input.
    """
    command, written, lines = _read(path)
    given = _read_settings(settings, SPECS[command])
    values = _fill(path, command, written, without=given) | given
    return _without_stdin(read_spec(SPECS[command], values, _names(path, lines, given)), path)


def read_needs(path: Path, settings: Sequence[str] = ()) -> JobNeeds:
    """Read a job spec that will run somewhere else, where other variables may be set.

    Args:
        path: The file.
        settings: As in `read_job`.

    Raises:
        UsageError: As `read_job` does, but for variables that are not set.
    """
    command, written, lines = _read(path)
    given = _read_settings(settings, SPECS[command])
    names: dict[str, bool] = {}
    open_fields: dict[str, Any] = {}
    for key, value in written.items():
        if key in given:
            continue
        inside = _variables(value)
        names |= {name: needed or names.get(name, False) for name, needed in inside.items()}
        if any(needed and name not in os.environ for name, needed in inside.items()):
            open_fields[key] = value
    values = _fill(path, command, written, without={*given, *open_fields})
    fields = SPECS[command].model_fields
    required = {key: value for key, value in open_fields.items() if key in fields and fields[key].is_required()}
    if isinstance(required.get("source"), str):
        required["source"] = [required["source"]]
    spec = read_spec(SPECS[command], {**required, **values, **given}, _names(path, lines, given))
    _without_stdin(spec, path)
    needed = tuple(name for name in names if names[name])
    return JobNeeds(spec, needed, tuple(name for name in names if not names[name]), open_fields)


def _without_stdin(spec: Spec, path: Path) -> Spec:
    """Return a spec, unless it reads standard input, which is not the same when a job runs again."""
    if isinstance(spec, InferSpec | ScanSpec) and STDIN in spec.source:
        raise UsageError(
            f"'{path}' cannot have {STDIN} as a source: standard input is for the command line",
            f"write the list to a file, and name that; ./{STDIN} is a file of this name",
        )
    return spec


def read_values(
    path: Path, command: str, *, without: Collection[str] = ()
) -> tuple[dict[str, Any], Callable[[str], str]]:
    """Read the fields that a job spec of one command gives.

    Args:
        path: The file.
        command: The command that it has to be of.
        without: Fields that are not asked for, so that what they need need not be there.

    Returns:
        The values of the fields, and how each is called in messages.

    Raises:
        UsageError: The file is missing or is not YAML, or is of another command, or needs a variable of the environment
            that is not set.
    """
    found, written, lines = _read(path)
    if found != command:
        raise UsageError(f"'{path}' is a job of the command {found}, not {command}", f"vidcnn run {path} does it")
    return _fill(path, command, written, without=without), _names(path, lines, without)


def _names(path: Path, lines: Mapping[str, int], given: Collection[str]) -> Callable[[str], str]:
    """Return what fields are called: those of the file with its line, those that override them as options."""

    def name(field: str) -> str:
        if field in given:
            return option_name(field)
        shown = written_name(field)
        return f"{path}:{lines[field]}: {shown}" if field in lines else f"{path}: {shown}"

    return name


def _read(path: Path) -> tuple[str, dict[str, Any], dict[str, int]]:
    """Read a job's command, its other keys as they are written, and the line of each."""
    text = ""
    try:
        text = path.read_text()
        document = plain_yaml.load(text)
    except OSError as error:
        raise UsageError(f"cannot read the job spec '{path}': {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"'{path}' is not YAML: it is not text in UTF-8") from error
    except YamlError as error:
        hint = "inside [ ] and { }, ${...} needs quotes" if "${" in text else ""
        raise UsageError("; ".join(f"{path}:{line}: {message}" for line, message in error.problems), hint) from error
    values = document.value
    if isinstance(values, dict) and not all(isinstance(name, str) for name in values):
        raise UsageError(f"'{path}' must have names of options for its keys")
    command = values.pop("command", None) if isinstance(values, dict) else None
    if not isinstance(command, str) or command not in SPECS:
        raise UsageError(f"'{path}' must have a key command, one of {', '.join(SPECS)}, not {command!r}")
    lines = {key: document.line((key,)) for key in values}
    return command, with_present_names(SPECS[command], values), with_present_names(SPECS[command], lines)


def _fill(path: Path, command: str, written: Mapping[str, Any], *, without: Collection[str]) -> dict[str, Any]:
    """Return the values of a job with those of the environment in their places."""
    fields = SPECS[command].model_fields
    values, unset = {}, []
    for key, value in written.items():
        if key in without:
            continue
        try:
            values[key] = _substituted(value, fields.get(key))
        except KeyError as error:
            unset += [f"{key} needs {name}" for name in error.args]
        except ValueError as error:
            raise UsageError(f"'{path}', {key} ({value}): {error}") from None
    if unset:
        raise UsageError(
            f"'{path}' takes values from variables of the environment that are not set: {', '.join(unset)}",
            "set them, give their keys on the command line, or write ${NAME:-default} in the file",
        )
    if isinstance(values.get("source"), str):
        values["source"] = [values["source"]]
    return values


def _substituted(value: Any, field: FieldInfo | None) -> Any:
    if isinstance(value, list):
        return [_substituted(item, field) for item in value]
    if not isinstance(value, str):
        return value
    text = substitute(value, ChainMap(private_values, os.environ))
    return _as_meant(text, field) if is_variable(value) else text


def _variables(value: Any) -> dict[str, bool]:
    """Return the variables in a value as it is written, and whether each is needed."""
    texts = value if isinstance(value, list) else [value]
    names: dict[str, bool] = {}
    for text in texts:
        for name, needed in variables(text).items() if isinstance(text, str) else ():
            names[name] = needed or names.get(name, False)
    return names


def _read_settings(settings: Sequence[str], spec: type[Spec]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for setting in settings:
        written, separator, text = setting.partition("=")
        name = written.strip().replace("-", "_")
        name = fields_by_name(spec).get(name, name)
        if not separator or not name:
            raise UsageError(f"--set {setting!r} must be name=value")
        if name == "command":
            raise UsageError(f"--set {setting!r} would make it another job", "only the file names the command")
        field = spec.model_fields.get(name)
        value = _as_meant(text, field)
        if field is not None and get_origin(field.annotation) is tuple:
            values[name] = [*values.get(name, []), value]
        else:
            values[name] = value
    return values


def _as_meant(text: str, field: FieldInfo | None) -> Any:
    """Read a value from outside of YAML: as a scalar of YAML, unless its field is text, such as a path ``2026``."""
    value = plain_yaml.scalar(text)
    if field is None or not _is_text(field.annotation):
        return value
    return None if value is None and type(None) in get_args(field.annotation) else text


def _is_text(annotation: Any) -> bool:
    """Return whether a type is text, a choice of words, or a list of texts."""
    return annotation is str or isinstance(annotation, str) or any(map(_is_text, get_args(annotation)))
