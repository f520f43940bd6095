"""What all job specs have in common, and the values that options are written in."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from vidcnn.bounds import MAX_BATCH, MAX_COUNT, MAX_FRAMES, MAX_PIXELS, MAX_PROCESSES, MAX_SEED, MAX_STRIDE
from vidcnn.errors import UsageError
from vidcnn.logins import hide_logins

if TYPE_CHECKING:
    from vidcnn.sampling.segments import Sampling

_Anything = TypeVar("_Anything")


def as_text(value: Any) -> Any:
    """Return as text what YAML reads as a number, such as ``crop: 112``, or as a list, such as ``[20, 30]``."""
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


FrameRate = Annotated[float, Field(ge=0.001, le=1000)]
"""Frames per second; no video has others."""
Fraction = Annotated[float, Field(ge=0, le=1)]
Frames = Annotated[int, Field(gt=0, le=MAX_FRAMES)]
Stride = Annotated[int, Field(gt=0, le=MAX_STRIDE)]
Count = Annotated[int, Field(gt=0, le=MAX_COUNT)]
"""Of what there may be many: videos, clips, epochs."""
BatchSize = Annotated[int, Field(gt=0, le=MAX_BATCH)]
Processes = Annotated[int, Field(gt=0, le=MAX_PROCESSES)]
Pixels = Annotated[int, Field(gt=0, le=MAX_PIXELS)]
Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]
Written = Annotated[_Anything, BeforeValidator(as_text, json_schema_input_type=str | float | list[str | float])]
"""Text that may be written as a number or a list."""


class Spec(BaseModel):
    """Base of all job specs."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _rename(cls, values: Any) -> Any:
        return with_present_names(cls, values) if isinstance(values, dict) else values


SpecType = TypeVar("SpecType", bound=Spec)

_OUT_OF_BOUNDS = ("greater_than", "greater_than_equal", "less_than", "less_than_equal")
_SIGNS = {"exclusiveMinimum": ">", "minimum": ">=", "exclusiveMaximum": "<", "maximum": "<="}
"""What JSON Schema calls a bound, and how it is written for people."""
_PROTECTIVE = 50_000
"""Upper bounds from here on only keep nonsense out: a number that is too small is not told of them."""


def option(
    default: Any,
    description: str,
    *,
    panel: str,
    metavar: str | None = None,
    formerly: str | None = None,
    **limits: Any,
) -> Any:
    """Define a field that is also an option.

    Args:
        default: Its default; None where the model, the machine or the data decides.
        description: One line for people.
        panel: Heading under which the option is shown.
        metavar: The name of its value in the help.
        formerly: The name that it had in the version before, under which it is still taken.
        **limits: Bounds on the value, as `pydantic.Field` takes them.
    """
    extra: dict[str, Any] = {"panel": panel, "metavar": metavar, **({"formerly": formerly} if formerly else {})}
    return Field(default, description=description, json_schema_extra=extra, **limits)


FOLLOW_LINKS = "Follow symbolic links in folders also where they lead out of the source; without it, they are errors."
"""What the option means, of each spec that names a source."""

SANDBOX = "How processes that decode are confined: with require, a machine that cannot do it fully is an error."
"""What the option means, of each command that decodes."""


def option_name(field: str) -> str:
    """Return the command-line option of a field."""
    return "--" + written_name(field).replace("_", "-")


def written_name(field: str) -> str:
    """Return the name of a field as users write it: without the ``_`` that keeps it apart from a word of Python."""
    return field.rstrip("_")


def fields_by_name(spec_type: type[Spec]) -> dict[str, str]:
    """Return the fields that users may write under other names, by these: as they are written, and former ones."""
    return {written_name(name): name for name in spec_type.model_fields if name.endswith("_")} | former_names(spec_type)


def former_names(spec_type: type[Spec]) -> dict[str, str]:
    """Return the names that fields had in the version before, each with the field's name."""
    found = {}
    for name, field in spec_type.model_fields.items():
        extra: Any = field.json_schema_extra or {}
        if extra.get("formerly") is not None:
            found[extra["formerly"]] = name
    return found


def with_present_names(spec_type: type[Spec], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of fields by their names, where some are given under others."""
    renamed = {old: new for old, new in fields_by_name(spec_type).items() if new not in values}
    return {renamed.get(name, name): value for name, value in values.items()}


def exclusive(spec: Spec, first: str, second: str) -> None:
    """Refuse a spec that gives two fields of which only one makes sense.

    Raises:
        ValueError: Both are given.
    """
    if getattr(spec, first) is not None and getattr(spec, second) is not None:
        raise ValueError(f"{option_name(first)} and {option_name(second)} exclude each other")


def override_sampling(own: Sampling, num_frames: int | None, stride: int | None, fps: float | None) -> Sampling:
    """Return a model's own sampling with the values of a spec; `stride` replaces `fps`, and `fps` replaces `stride`.

    Raises:
        ValueError: The values do not fit together.
    """
    from vidcnn.sampling.segments import Sampling

    if stride is None and fps is None:
        stride, fps = own.stride, own.fps
    return Sampling(num_frames or own.num_frames, stride=stride, fps=fps)


def read_spec(
    spec_type: type[SpecType], values: Mapping[str, Any], name: Callable[[str], str] = option_name
) -> SpecType:
    """Make a spec from the values of its fields.

    Args:
        spec_type: The class of the spec.
        values: Values by the names of fields, as they were given.
        name: How a field is called where the values are from; by default, as an option.

    Raises:
        UsageError: A field is unknown, or its value impossible; the message lists all that is wrong.
    """
    try:
        return spec_type(**values)
    except ValidationError as error:
        found = [_problem(dict(item), spec_type, name) for item in error.errors()]
        problems, hints = (list(filter(None, texts)) for texts in zip(*found, strict=True))
        raise UsageError("; ".join(problems), "; ".join(hints)) from None


def _problem(item: dict[str, Any], spec_type: type[Spec], name: Callable[[str], str]) -> tuple[str, str]:
    """Return what is wrong with a field, and what may be meant instead."""
    if not item["loc"]:
        return hide_logins(str(item["msg"]).removeprefix("Value error, ")), ""
    field = str(item["loc"][0])
    if item["type"] == "missing":
        return f"{name(field)} is missing", ""
    if item["type"] == "extra_forbidden":
        close = difflib.get_close_matches(field, spec_type.model_fields, n=1)
        return f"{name(field)} is not known", f"for {field}, did you mean {close[0]}?" if close else ""
    if item["type"] in _OUT_OF_BOUNDS:
        text = f"must be {_bounds(spec_type, field, is_high=item['type'].startswith('less'))}"
    else:
        text = hide_logins(str(item["msg"]).removeprefix("Value error, "))
        text = text.replace("Input should be", "must be", 1).partition(", unable to parse")[0]
    return f"{name(field)} ({hide_logins(str(item['input']))}) {text}", ""


def _bounds(spec_type: type[Spec], field: str, *, is_high: bool) -> str:
    """Return the bounds of a number: ``> 0``, ``in [0, 1]``, or ``in [0, 1)`` where 1 is left out.

    Args:
        spec_type: The class of the spec.
        field: The field.
        is_high: Whether the number is too high, rather than too low.
    """
    schema = spec_type.model_json_schema()["properties"][field]
    limits = next(kind for kind in schema.get("anyOf", [schema]) if kind.get("type") in ("integer", "number"))
    low, high = (limits.get(name, limits.get(f"exclusive{name.title()}")) for name in ("minimum", "maximum"))
    if low is None or high is None or high >= _PROTECTIVE:
        ends = ("maximum", "exclusiveMaximum") if is_high else ("minimum", "exclusiveMinimum")
        (sign, value) = next((_SIGNS[name], limits[name]) for name in ends if name in limits)
        return f"{sign} {value:,}" if isinstance(value, int) else f"{sign} {value:g}"
    return f"in {'[' if 'minimum' in limits else '('}{low:g}, {high:g}{']' if 'maximum' in limits else ')'}"
