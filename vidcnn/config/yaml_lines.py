"""YAML that knows its lines: from the text of a file to its values, and the line of each one.

A *place* is the way to a value: ``("provider", "type")``, or ``("worker_ips", 0)`` for the first item of a list.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

KeyPath = tuple[str | int, ...]

_MAX_PLACES = 100_000
_MAX_CHARS = 1_000_000
"""A file that people write is far smaller, and reading one is slow."""


class Problem(NamedTuple):
    """What is wrong with a value, and where."""

    line: int
    message: str


class YamlError(Exception):
    """A text that is not YAML, or YAML that cannot be used.

    Args:
        problems: What is wrong, in the order of the lines.
    """

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__(problems)

    @property
    def problems(self) -> list[Problem]:
        """What is wrong, in the order of the lines."""
        problems: list[Problem] = self.args[0]
        return problems


@dataclass(frozen=True)
class Document:
    """The values of a text, and where they are.

    Attributes:
        value: Its value, as the loader made it.
        lines: The line of each place, from 1; for a value of a mapping, that of its key.
    """

    value: Any
    lines: Mapping[KeyPath, int]

    def line(self, place: KeyPath) -> int:
        """Return the line of a place, or of the nearest thing around it that is written out."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 1)


def read_yaml(text: str, loader: Any = None) -> Document:
    """Read a text.

    Args:
        text: The content of a file.
        loader: A loader of PyYAML; None is its safe one, as Ray takes it.

    Raises:
        YamlError: It is not YAML, has a key twice, or contains itself.
    """
    import yaml

    loader = loader or yaml.SafeLoader
    if len(text) > _MAX_CHARS:
        raise YamlError([Problem(1, f"it has {len(text)} characters, more than the {_MAX_CHARS} that are read")])
    try:
        root = yaml.compose(text, loader)
        reader = _Reader()
        if root is not None:
            reader.read(root, (), ())
        if reader.problems:
            raise YamlError(sorted(reader.problems))
        return Document(yaml.load(text, loader), reader.lines)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        words = " ".join(part for part in (error.context, error.problem) if part)
        raise YamlError([Problem(mark.line + 1 if mark else 1, f"not YAML: {words}")]) from error
    except RecursionError as error:
        raise YamlError([Problem(1, "not YAML to read: it is nested too deeply")]) from error
    except (yaml.YAMLError, ValueError) as error:  # a character that YAML forbids; a date that does not exist
        raise YamlError([Problem(1, f"not YAML: {' '.join(str(error).split())}")]) from error
    except (ArithmeticError, AttributeError, LookupError, TypeError) as error:  # PyYAML's own, for a tag such as !!int
        raise YamlError([Problem(1, "not YAML: a value is not of the kind that its !!tag names")]) from error


class _Reader:
    """Visits the nodes of a text and notes their lines."""

    def __init__(self) -> None:
        self.lines: dict[KeyPath, int] = {}
        self.problems: list[Problem] = []
        self._num_visits = 0  # a mapping that is merged into another one has no place of its own

    def read(self, node: Any, place: KeyPath, above: tuple[int, ...]) -> None:
        import yaml

        line = node.start_mark.line + 1
        self.lines.setdefault(place, line)
        self._num_visits += 1
        if id(node) in above or self._num_visits > _MAX_PLACES:
            raise YamlError([Problem(line, "an alias that contains itself, or that repeats far too much")])
        above = (*above, id(node))
        if isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                self.read(item, (*place, index), above)
        elif isinstance(node, yaml.MappingNode):
            self._read_mapping(node, place, above)

    def _read_mapping(self, node: Any, place: KeyPath, above: tuple[int, ...]) -> None:
        import yaml

        own: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.tag == "tag:yaml.org,2002:merge":
                merged = value.value if isinstance(value, yaml.SequenceNode) else [value]
                for mapping in merged:
                    self.read(mapping, place, above)
            elif not isinstance(key, yaml.ScalarNode):
                self.problems.append(Problem(line, "a key must be a plain word"))
            elif key.value in own:
                self.problems.append(
                    Problem(line, f"{shown_path((*place, key.value))} is there twice, first in line {own[key.value]}")
                )
            else:
                own[key.value] = line
                self.lines[*place, key.value] = line
                self.read(value, (*place, key.value), above)


def shown_path(place: KeyPath) -> str:
    """Write a place as ``provider.type``."""
    return ".".join(map(str, place))
