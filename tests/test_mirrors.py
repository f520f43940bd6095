"""Every module has its mirror: what `vidcnn/a/b.py` promises is tested in `tests/a/test_b.py`."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PACKAGE = TESTS.parent / "vidcnn"
MODULES = sorted(
    path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py") if path.name not in ("__init__.py", "__main__.py")
)


def mirror(module: Path) -> Path:
    return TESTS / module.parent / f"test_{module.name}"


@pytest.mark.parametrize("module", MODULES, ids=Path.as_posix)
def test_every_module_is_tested_under_its_own_name(module: Path) -> None:
    assert mirror(module).exists(), f"{mirror(module).relative_to(TESTS.parent)} is missing"


def names_of(path: Path) -> set[str]:
    """Return the modules that a file imports or names in a text, such as code for another process."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found |= {word.strip(";,()'\"") for word in node.value.split()}
    return found


def names_of_tests(path: Path) -> list[str]:
    functions = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef))
    return [function.name for function in functions if function.name.startswith("test_")]


@pytest.mark.parametrize("module", [module for module in MODULES if mirror(module).exists()], ids=Path.as_posix)
def test_a_mirror_has_tests_that_use_what_it_mirrors_or_run_the_command_line(module: Path) -> None:
    name = ".".join(("vidcnn", *module.with_suffix("").parts))
    entrances = {
        name,
        name.rpartition(".")[0],
        "tests.commands.vidcnn",
        "tests.commands.command",
        "tests.commands.conftest",
    }
    if module.parts[0] == "api":
        entrances.add("vidcnn")  # which hands its names on
    assert names_of_tests(mirror(module)), "it has no test"
    assert entrances & names_of(mirror(module)), f"it uses nothing of {name}"
