"""YAML as people mean it (the core of YAML 1.2): ``on`` is a word, ``1:4`` too, and ``2026-11-22`` is no date."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from vidcnn.config.yaml_lines import Document, read_yaml

_KINDS = (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]{1,1000}", "-+0123456789"),  # Python reads no number of many more digits
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", "-+.0123456789"),
)
_LEFT_OUT = {"bool", "int", "float", "timestamp", "value"}
"""Kinds of scalars that YAML 1.1 sees elsewhere than people do."""


def load(text: str) -> Document:
    """Read a document, with the lines of its values.

    Raises:
        YamlError: It is not YAML, or has a key twice.
    """
    return read_yaml(text, _loader())


def scalar(text: str) -> Any:
    """Read a single value, as if it were written without quotes: a number, true or false, null, or the text."""
    import yaml

    text = text.strip()
    try:
        loader = _loader()(text)
        node = yaml.ScalarNode(loader.resolve(yaml.ScalarNode, text, (True, False)), text)
        return loader.construct_object(node)
    except yaml.YAMLError:  # a character that a file of YAML cannot have; and <<, which means something there
        return text


@cache
def _loader() -> Any:
    import yaml

    class Loader(yaml.SafeLoader):
        pass

    Loader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag.rpartition(":")[2] not in _LEFT_OUT]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    for kind, pattern, first in _KINDS:
        Loader.add_implicit_resolver(f"tag:yaml.org,2002:{kind}", re.compile(rf"^(?:{pattern})$"), list(first))
    Loader.add_constructor("tag:yaml.org,2002:int", _whole_number)
    return Loader


def _whole_number(loader: Any, node: Any) -> int:
    """Read 010 as ten and 08 as eight, where YAML 1.1 sees octal numbers."""
    text = loader.construct_scalar(node)
    number: int = int(text) if text.lstrip("+-").isdecimal() else loader.construct_yaml_int(node)
    return number
