"""What the project promises of its own structure: who may import what, and that the docs name all there is."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from vidcnn.config import InferSpec
from vidcnn.errors import ERROR_KINDS
from vidcnn.models.registry import ARCHITECTURES
from vidcnn.predictions import prediction_schema

PACKAGE = Path(__file__).parents[1] / "vidcnn"
DOCS = PACKAGE.parent / "docs"
MODULES = sorted(PACKAGE.rglob("*.py"))


def imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_ray_and_pyav_stay_in_their_rooms(path: Path) -> None:
    place = path.relative_to(PACKAGE).as_posix()
    if not place.startswith(("pipelines/", "cluster")):
        assert "ray" not in imports(path)
    if not place.startswith("video/"):
        assert "av" not in imports(path)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_modules_say_what_they_are_for_and_stay_short(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text()))
    assert len(path.read_text().splitlines()) <= 400


@pytest.mark.parametrize("code", ["import vidcnn", "import vidcnn.cli", "import vidcnn.commands.infer"])
def test_the_command_line_loads_nothing_heavy(code: str) -> None:
    check = f"{code}; import sys; print([m for m in ('torch', 'ray', 'av', 'numpy', 'pyarrow') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True, cwd=PACKAGE.parent)
    assert done.stdout.strip() == "[]"


def test_the_docs_name_every_column_and_every_kind_of_error() -> None:
    text = (DOCS / "predictions.md").read_text()
    for column in prediction_schema(num_classes_for_probabilities=2, embedding_size=2).names:
        assert f"| `{column}` |" in text
    for kind in ERROR_KINDS:
        assert f"| `{kind}` |" in text


def test_every_field_of_a_spec_says_what_it_means() -> None:
    for name, field in InferSpec.model_fields.items():
        assert field.description, name


def test_every_model_is_tested_by_name() -> None:
    assert set(ARCHITECTURES) >= {"simple3d", "r3d_18", "mc3_18", "r2plus1d_18", "s3d"}
