"""Values from the environment in the text of a job spec.

::

    ${NAME}             the variable's value
    ${NAME:-default}    its value; the default where it is not set, or empty, as in a shell
    $${                 these two characters: ${

Values are not searched for variables again. `private_values` are values for this process alone: they are kept beside
those of the environment, which the processes that this one starts would inherit.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

VARIABLE_NAME = "[A-Za-z_][A-Za-z0-9_]*"
"""A regular expression for the name of a variable of the environment."""

_PLACE = re.compile(
    rf"\$(?P<escaped>\$\{{)|\$\{{(?P<name>{VARIABLE_NAME})(?P<has_default>:-(?P<default>[^}}]*))?\}}|\$\{{"
)

private_values: dict[str, str] = {}
"""Values of variables that were brought to this process by another way than its environment."""

PATTERN = rf"(^|[^$])\$\{{{VARIABLE_NAME}(:-[^}}]*)?\}}"
"""A regular expression, as JSON Schema has them, for text that contains a variable."""


def substitute(text: str, environ: Mapping[str, str]) -> str:
    """Put values in the place of variables.

    Raises:
        KeyError: Variables without a default are not set; its arguments name them.
        ValueError: A ``${`` begins nothing that can be read.
    """
    unset: list[str] = []

    def value(place: re.Match[str]) -> str:
        name = place["name"]
        if place["escaped"]:
            return "${"
        if name is None:
            raise ValueError("${ must begin ${NAME} or ${NAME:-default}; $${ stands for these characters themselves")
        if place["has_default"]:
            return environ.get(name) or place["default"]
        if name not in environ:
            unset.append(name)
        return environ.get(name, "")

    result = _PLACE.sub(value, text)
    if unset:
        raise KeyError(*dict.fromkeys(unset))
    return result


def variables(text: str) -> dict[str, bool]:
    """Return the names of the variables in a text, and whether each is needed: it has no default somewhere."""
    names: dict[str, bool] = {}
    for place in _PLACE.finditer(text):
        if place["name"] is not None:
            names[place["name"]] = names.get(place["name"], False) or not place["has_default"]
    return names


def literal(value: Any) -> Any:
    """Return a value such that substitution gives it back: text, or a list or dictionary with text in it."""
    match value:
        case str():
            return value.replace("${", "$${")
        case list() | tuple():
            return [literal(item) for item in value]
        case dict():
            return {name: literal(item) for name, item in value.items()}
    return value


def is_variable(text: str) -> bool:
    """Return whether a text is one variable and nothing else."""
    place = _PLACE.fullmatch(text.strip())
    return place is not None and place["name"] is not None
