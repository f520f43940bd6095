"""Every command of the docs exists, has these options, and takes these values, up to where the work would begin."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from tests.commands import PROJECT
from tests.snippets import PAGES, Block, Command, blocks, commands, commands_of
from vidcnn.cli import COMMANDS, app, load_command
from vidcnn.cluster.address import AUTO, parse_cluster
from vidcnn.commands import RunOptions, check_local
from vidcnn.config import Spec, optional_values

SYSTEM = {
    "aws": "a program of its own, with an account; its documents are read as JSON",
    "kubectl": "a program of its own, with a cluster; what it is given is checked by tests/schedule",
    "systemctl": "units are checked by tests/schedule/test_systemd.py",
    "loginctl": "changes the machine",
    "crontab": "changes the machine; tests/schedule/test_real_cron.py runs such lines",
    "mkdocs": "tests/test_docs_site.py builds the site",
    "python3": "makes an environment, or runs a benchmark",
    ".": "enters it",
    "pytest": "runs these tests",
    **dict.fromkeys(("cat", "cp", "echo", "export", "install", "mkdir"), "test_pages runs it"),
}
"""Programs that the docs call and that are not read here, and why that is enough."""

INLINE = [
    pytest.param(page, " ".join(text.split()), id=f"{page}: {' '.join(text.split())}")
    for page in PAGES
    for text in re.findall(
        r"`(vidcnn [a-z][^`]*)`", re.sub(r"^```.*?^```$", "", (PROJECT / page).read_text(), flags=re.M | re.S)
    )
]


class WorkBeginsError(Exception):
    """A command has understood its arguments."""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the jobs and the launcher file that the docs name, and with the variables that these need."""
    shutil.copytree(PROJECT / "jobs", tmp_path / "jobs")
    shutil.copy(PROJECT / "cluster.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VIDEOS", "videos/")
    return tmp_path


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[Spec]:
    """The specs of commands whose work would begin; none is done."""
    specs: list[Spec] = []
    for name in COMMANDS:
        load_command(name)  # or one that is first imported now would keep what is put in the place of `show`

    def stop(*_: Any, **__: Any) -> Any:
        raise WorkBeginsError

    def submit(spec: Spec, options: RunOptions, trial: Any = None) -> bool:
        if options.cluster is None or options.cluster == AUTO:
            check_local(options)
        else:
            assert isinstance(parse_cluster(options.cluster), Path) or not options.up
        specs.append(spec)
        raise WorkBeginsError

    for name in ("infer", "train", "evaluate", "run", "scan"):
        monkeypatch.setattr(f"vidcnn.commands.{name}.submit_if_remote", submit)
    for name in (
        "vidcnn.cluster.remote.connect",
        "vidcnn.demo.make_motion_videos",
        "vidcnn.doctor.examination.examine",
        "vidcnn.embeddings.clips.open_embeddings",
        "vidcnn.events.known.read_found",
        "vidcnn.events.known.read_known",
        "vidcnn.events.rules.read_rules",
        "vidcnn.models.resolve.make_bundle",
        "vidcnn.models.table.model_rows",
        "vidcnn.pages.writing.check_page",
        "vidcnn.pipelines.quantize.quantize_bundle",
        "vidcnn.predictions.table.Table.open",
        "vidcnn.reporting.run_report.read_reports",
        "vidcnn.schedule.write.save",
        "vidcnn.streams.show",
        "vidcnn.commands.schedule.show",
        "vidcnn.commands.schema.show",
    ):
        monkeypatch.setattr(name, stop)
    return specs


def invoke(arguments: list[str]) -> None:
    """Call a command in this process; its work is not begun."""
    command = typer.main.get_command(app)
    with command.make_context("vidcnn", list(arguments)) as context, pytest.raises(WorkBeginsError):
        command.invoke(context)


CALLS = [pytest.param(command, words, id=str(command)) for command in commands() for words in command.words()]


@pytest.mark.parametrize(("command", "words"), CALLS)
def test_a_command_is_understood(command: Command, words: list[str], place: Path, begun: list[Spec]) -> None:
    program, *arguments = words
    readers: dict[str, Callable[[list[str]], None]] = {"vidcnn": invoke, "ray": read_ray, "pip": read_pip}
    if program in readers:
        readers[program](arguments)
    else:
        assert program in SYSTEM, f"{command}: no test knows the program {program}"


@pytest.mark.parametrize("arguments", [["infer", "v", "--strde", "2"], ["infer", "v", "--stride", "x"], ["infre"]])
def test_a_command_that_is_wrong_is_not_understood(place: Path, begun: list[Spec], arguments: list[str]) -> None:
    with pytest.raises(Exception, match=r"No such option|should be a valid|no command"):
        invoke(arguments)
    assert not begun


def test_each_exception_is_needed() -> None:
    called = {words[0] for command in commands() for words in command.words()}
    inside = "\n".join(command.text for command in commands())
    assert {program for program in SYSTEM if program not in called and f"{program} " not in inside} == set()


@pytest.mark.parametrize("command", commands(), ids=str)
def test_a_command_is_one_that_a_shell_takes(command: Command) -> None:
    read = subprocess.run(["bash", "-n"], input=command.text, capture_output=True, text=True, check=False)
    assert (read.returncode, read.stderr) == (0, "")


def read_ray(arguments: list[str]) -> None:
    """Have Ray's own command line read its arguments."""
    from ray.scripts.scripts import cli

    with cli.make_context("ray", list(arguments)) as context:
        name, command, left = cli.resolve_command(context, arguments)
        assert command is not None
        command.make_context(name, left, parent=context)


def read_pip(arguments: list[str]) -> None:
    """See that what is to be installed is this project, with extras that it has."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    assert arguments[0] == "install"
    (what,) = [argument for argument in arguments[1:] if not argument.startswith("-")]
    match = re.fullmatch(r"\.(?:\[(\w+)\])?", what)
    assert match, what
    assert match[1] in (None, *project["optional-dependencies"])


def test_policies_for_aws_are_json() -> None:
    documents = [
        word
        for command in commands()
        for words in command.words()
        for word in words
        if words[0] == "aws" and word.startswith("{")
    ]
    assert len(documents) == 2
    for document in documents:
        assert json.loads(document)["Version"] == "2012-10-17"


@pytest.mark.parametrize(("page", "text"), INLINE)
def test_a_command_within_a_sentence_has_these_options(page: str, text: str, place: Path) -> None:
    # Arguments may be missing here, or be left out with three dots.
    (words,) = Command(Block(page, 0, "sh", ""), re.sub(r" \| .*| > .*| \.\.\.", "", text), "").words()
    _, name, *arguments = words
    assert name in COMMANDS, text
    command = load_command(name)
    arguments = optional_values.complete(arguments)
    if hasattr(command, "commands"):
        if not arguments:
            return  # it shows its help
        command = command.commands[arguments.pop(0)]
    try:
        command.make_context(name, arguments)
    except Exception as error:
        if not re.search(r"Missing (argument|option)", getattr(error, "format_message", lambda: "")()):
            raise AssertionError(f"{page}: {text}: {error}") from error


def test_commands_are_told_from_what_they_print() -> None:
    block = Block("a.md", 1, "console", "$ a \\\n    b\nsaid\n$ X=1 c '1\n2' > d | e && (f; g)\n")
    first, second = commands_of(block)
    assert (first.text, first.output) == ("a \\\n    b", "said")
    assert (first.words(), second.words()) == ([["a", "b"]], [["c", "1\n2"], ["e"], ["f"], ["g"]])
    assert [command.text for command in commands_of(Block("a.md", 1, "sh", "a '\nb'\nc\n"))] == ["a '\nb'", "c"]


def test_the_docs_are_read() -> None:
    assert len(commands()) > 50
    assert len(INLINE) > 20
    assert len(blocks()) > 40
