from __future__ import annotations

import ast
from pathlib import Path
from typing import get_args

import vidcnn
from vidcnn.choices import AutoSwitch, Precision, PrecisionOption, Switch, TrainingPrecision, TrainingPrecisionOption

PACKAGE = Path(vidcnn.__file__).parent


def test_an_option_takes_what_it_sets_or_auto() -> None:
    assert get_args(PrecisionOption) == ("auto", *get_args(Precision))
    assert get_args(TrainingPrecisionOption) == ("auto", *get_args(TrainingPrecision))
    assert get_args(AutoSwitch) == ("auto", *get_args(Switch))
    assert set(get_args(TrainingPrecision)) < set(get_args(Precision))


def test_no_choice_is_written_twice() -> None:
    places: dict[frozenset[object], list[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "Literal":
                words = {item.value for item in ast.walk(node.slice) if isinstance(item, ast.Constant)}
                if len(words) > 1:
                    places.setdefault(frozenset(words), []).append(f"{path.name}:{node.lineno}")
    assert {words: found for words, found in places.items() if len(found) > 1} == {}
