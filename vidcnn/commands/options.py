"""Command-line options made from fields, so that each is defined once: those of a job spec, and `RunOptions`.

`takes_spec` turns ``command(spec, ...)`` into a function with one parameter for each field of the spec, which Typer
reads as options. Names, defaults, meanings and choices are those of the fields.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import typer
from pydantic.fields import FieldInfo

from vidcnn.commands import RunOptions
from vidcnn.config import option_name
from vidcnn.config.base import SpecType, read_spec
from vidcnn.errors import ALL_KINDS, ERROR_KINDS


def complete_model(incomplete: str) -> list[str]:
    """Return the names of models that begin like this; a shell completes folders itself."""
    from vidcnn.models.registry import ARCHITECTURES

    return [name for name in ARCHITECTURES if name.startswith(incomplete)]


def complete_kinds(incomplete: str) -> list[str]:
    """Return the kinds of errors that begin like this."""
    return [kind for kind in (ALL_KINDS, *ERROR_KINDS) if kind.startswith(incomplete)]


_COMPLETIONS: dict[tuple[str, str | None], Callable[[str], list[str]]] = {
    ("model", "NAME|BUNDLE"): complete_model,
    ("redo_errors", "[KIND...]"): complete_kinds,
}
"""What a shell may put for the values of fields, by the name and the metavar of the field; choices it knows anyway."""


def takes_run_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command an option for each field of `RunOptions`, which it takes as its parameter `options`."""
    hints = get_type_hints(RunOptions, include_extras=True)
    fields = [
        inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=hints[field.name]
        )
        for field in dataclasses.fields(RunOptions)
    ]
    own = inspect.signature(command, eval_str=True).parameters.values()

    @functools.wraps(command)
    def run(*arguments: Any, **values: Any) -> None:
        options = RunOptions(**{field.name: values.pop(field.name) for field in fields})
        command(*arguments, **values, options=options)

    _declare(run, [*(parameter for parameter in own if parameter.name != "options"), *fields])
    return run


def takes_spec(spec_type: type[SpecType]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command an option for each field of a spec.

    Args:
        spec_type: The spec; its fields without a default become arguments, the others options.

    Returns:
        A decorator for a function whose first parameter is the spec; its other parameters stay options of their own.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]

        @functools.wraps(command)
        def run(**values: Any) -> None:
            fields = {name: values.pop(name) for name in spec_type.model_fields}
            command(read_spec(spec_type, fields), **values)

        parameters = [_parameter(name, field) for name, field in spec_type.model_fields.items()]
        _declare(run, [*parameters, *own])
        return run

    return decorate


def takes_job(
    spec_type: type[SpecType], *, command: str, default: Path
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command an option for each field of a spec, and an argument for a job spec that they override.

    Args:
        spec_type: The spec; all its fields have defaults.
        command: The command that a job spec has to name.
        default: The job spec that is read where neither it nor any option is given, if it is there.

    Returns:
        A decorator as that of `takes_spec`.
    """
    job = inspect.Parameter(
        "job",
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        default=None,
        annotation=Annotated[
            Path | None,
            typer.Argument(help=f"A job spec, such as {default}.", show_default=False, metavar="JOB.yaml"),
        ],
    )
    context = inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)

    def decorate(run_command: Callable[..., None]) -> Callable[..., None]:
        with_options = takes_spec(spec_type)(run_command)
        signature = inspect.signature(with_options)

        def run(context: typer.Context, job: Path | None = None, **values: Any) -> None:
            fields = {name: values.pop(name) for name in spec_type.model_fields}
            given = {name for name in fields if _is_given(context, name)}
            name_of: Callable[[str], str] = option_name
            if job is None and not given and default.is_file():
                job = default
            if job is not None:
                from vidcnn.config.job_files import read_values

                recorded, name_of = read_values(job, command, without=given)
                fields = {**recorded, **{name: fields[name] for name in given}}
            run_command(read_spec(spec_type, fields, name_of), **values)

        _declare(run, [context, job, *signature.parameters.values()])
        run.__doc__, run.__name__ = run_command.__doc__, run_command.__name__
        return run

    return decorate


def _declare(command: Any, parameters: Sequence[inspect.Parameter]) -> None:
    """Make Typer see a function as one with these parameters."""
    command.__signature__ = inspect.Signature(parameters)
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    vars(command).pop("__wrapped__", None)


def _is_given(context: typer.Context, name: str) -> bool:
    """Return whether the user wrote an option, rather than leaving it at its default."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _parameter(name: str, field: FieldInfo) -> inspect.Parameter:
    extra: Any = field.json_schema_extra or {}
    if field.is_required():
        is_list = get_origin(field.annotation) is tuple
        option: Any = typer.Argument(help=field.description, metavar=name.upper(), show_default=False)
        annotation: Any = list[str] if is_list else _bare(field.annotation)
        default: Any = [] if "unless" in extra else inspect.Parameter.empty
    else:
        former = [option_name(extra["formerly"])] if extra.get("formerly") else []
        option = typer.Option(
            option_name(name) + (f"/--no-{option_name(name)[2:]}" if field.annotation is bool else ""),
            *former,
            help=field.description,
            metavar=extra.get("metavar"),
            rich_help_panel=extra.get("panel"),
            show_default=field.default is not None and field.default is not False,
            autocompletion=_COMPLETIONS.get((name, extra.get("metavar"))),
        )
        annotation, default = _bare(field.annotation), field.default
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[annotation, option]
    )


def _bare(annotation: Any) -> Any:
    """Return a type without the bounds inside it, which Typer does not take."""
    if get_origin(annotation) is Annotated:
        return get_args(annotation)[0]
    if get_origin(annotation) in (Union, UnionType):
        return Union[tuple(map(_bare, get_args(annotation)))]  # noqa: UP007
    return annotation
