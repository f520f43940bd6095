"""What the project promises of its own structure: who may import what, and that the docs name all there is."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from vidcnn.cli import COMMANDS, load_command
from vidcnn.config.job_files import SPECS
from vidcnn.errors import ERROR_KINDS
from vidcnn.predictions import prediction_schema

PACKAGE = Path(__file__).parents[1] / "vidcnn"
DOCS = PACKAGE.parent / "docs"
MODULES = sorted(PACKAGE.rglob("*.py"))
NOT_OURS = {
    *("--logdir", "--user", "--from", "--from-literal", "--now", "--no-cache-dir", "--shm-size"),
    *("--help", "--install-completion"),
}
"""Options of other programs, the one that every command has, and one of no command."""
BENCHMARK = re.compile(r"(?:^|`)(?:python3? )?(benchmarks/\w+\.py)([^`\n]*)", re.MULTILINE)
"""A command that runs a benchmark: its file, and what is given to it."""
OTHER_PROGRAMS = re.compile(r"^aws .*(\n  .*)*|`ray [^`]*`|^\$ (\w+=\S+ )?ray .*", re.MULTILINE)


FLOORS = (
    {"commands", "api"},
    {"pipelines", "schedule", "doctor", "pages"},
    {"training", "cluster"},
    {"reporting"},
    {"inference", "scans", "embeddings", "events", "demo", "__main__"},
    {"video", "predictions", "annotations", "cli"},
    {"models", "sources", "config"},
    {"sampling", "storage", "sandbox", "interrupts", "streams"},
    {"errors", "choices", "bounds"},
    {"logins", "processes", "safe_text", "version", "__init__"},
)
"""What stands on what: each floor imports what is below it, and nothing beside or above it."""


def rooms(path: Path) -> set[str]:
    """Return the packages and modules at the top of ours that a module imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "vidcnn":
            names |= {"__init__" if alias.name == "__version__" else alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("vidcnn."):
            names.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            ours = [alias.name.split(".") for alias in node.names if alias.name.split(".")[0] == "vidcnn"]
            names |= {name[1] if len(name) > 1 else "__init__" for name in ours}
    return names


BELOW_THE_FACE = [path for path in MODULES if path != PACKAGE / "__init__.py"]
"""The package's own file hands on names of the top floor."""


@pytest.mark.parametrize("path", BELOW_THE_FACE, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_what_is_below_it(path: Path) -> None:
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    (floor,) = [number for number, names in enumerate(FLOORS) if room in names]
    below = set().union({room}, *FLOORS[floor + 1 :])
    assert rooms(path) <= below


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
    if not place.startswith(("pipelines/", "cluster/")):
        assert "ray" not in imports(path)
    if not place.startswith("video/"):
        assert "av" not in imports(path)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_modules_say_what_they_are_for_and_stay_short(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text()))
    assert len(path.read_text().splitlines()) <= 400


@pytest.mark.parametrize(
    "code",
    [
        "import vidcnn",
        "import vidcnn.cli",
        "import vidcnn.commands.infer, vidcnn.commands.train, vidcnn.commands.evaluate, vidcnn.commands.run",
        "import vidcnn.config, vidcnn.config.job_files",
        "import vidcnn.commands.schedule, vidcnn.schedule.write",
        "import vidcnn.commands.doctor",
        "import vidcnn.commands.scan",
        "import vidcnn.commands.report",
        "from vidcnn.cli import app; app(['doctor', '--help'], standalone_mode=False)",
        "from vidcnn.cli import app; app(['--help'], standalone_mode=False)",
        "from vidcnn.cli import app; app(['train', '--help'], standalone_mode=False)",
        "from vidcnn.cli import app; app(['evaluate', '--help'], standalone_mode=False)",
    ],
)
def test_the_command_line_loads_nothing_heavy(code: str) -> None:
    check = f"{code}; import sys; print([m for m in ('torch', 'ray', 'av', 'numpy', 'pyarrow') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True, cwd=PACKAGE.parent)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_docs_name_every_column_and_every_kind_of_error() -> None:
    text = (DOCS / "predictions.md").read_text()
    for column in prediction_schema(num_classes_for_probabilities=2, embedding_size=2).names:
        assert f"| `{column}` |" in text
    for kind in ERROR_KINDS:
        assert f"| `{kind}` |" in text


@pytest.mark.parametrize("command", SPECS)
def test_every_field_of_a_spec_says_what_it_means(command: str) -> None:
    for name, field in SPECS[command].model_fields.items():
        assert field.description, name


def options(command: Any) -> set[str]:
    """Return the options of a command, and of those that are in it."""
    inner = getattr(command, "commands", {}).values()
    own = {option for parameter in command.params for option in parameter.opts}
    return own.union(*(options(one) for one in inner))


def named_options(text: str) -> set[str]:
    """Return what looks like an option in a text."""
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text))


def test_the_docs_name_only_options_that_there_are() -> None:
    known = {option for name in COMMANDS for option in options(load_command(name))}
    for path in [*DOCS.glob("*.md"), DOCS.parent / "README.md"]:
        text = path.read_text()
        assert named_options(BENCHMARK.sub("", OTHER_PROGRAMS.sub("", text))) - known <= NOT_OURS, path.name
        for benchmark, arguments in BENCHMARK.findall(text):
            source = (DOCS.parent / benchmark).read_text()
            for option in named_options(arguments) - {"--help"}:
                assert f'"{option}"' in source, f"{path.name}: {benchmark} {option}"


def test_machines_of_a_cluster_get_what_vidcnn_depends_on_from_where_it_can_be_had() -> None:
    project = tomllib.loads((DOCS.parent / "pyproject.toml").read_text())["project"]
    commands = yaml.safe_load((DOCS.parent / "cluster.yaml").read_text())["setup_commands"]
    (install,) = [command for command in commands if "pip install" in command]
    wanted = {text for text in project["dependencies"] if not text.startswith("ray[")}
    assert wanted <= set(re.findall(r'"([^"]*)"', install))
    assert "ray[data,default,train]==" in install
    for path in [*DOCS.glob("*.md"), *DOCS.parent.glob("*.md"), DOCS.parent / "cluster.yaml", *PACKAGE.rglob("*.py")]:
        assert "pip install vidcnn" not in path.read_text(), f"{path.name}: there is no such package to install"


def test_the_dockerfile_copies_what_there_is_and_what_is_let_through() -> None:
    let_through = (DOCS.parent / ".dockerignore").read_text()
    copied = re.findall(r"^COPY (.*) \S+$", (DOCS.parent / "Dockerfile").read_text(), re.MULTILINE)
    names = [name for line in copied for name in line.split()]
    assert "vidcnn" in names
    for name in names:
        assert (DOCS.parent / name).exists()
        assert f"!{name}\n" in let_through


def test_the_glossary_has_the_words_of_training() -> None:
    text = (DOCS / "glossary.md").read_text()
    for word in ("sample", "epoch", "step", "batch", "view", "chunk", "run directory"):
        assert re.search(rf"^\| {word}( of training)? \|", text, re.MULTILINE), word
