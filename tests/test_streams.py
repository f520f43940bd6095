"""What a command does when nobody reads its results, or they cannot be written; and what it reads itself."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from tests.commands import command, environment

CANNOT = (
    "vidcnn: the result cannot be written to stdout: no space left on device\n        make room, or send it elsewhere\n"
)


def run(
    *arguments: str, stdout: int | None = subprocess.PIPE, before: Callable[[], None] | None = None
) -> tuple[int, str]:
    done = subprocess.run(
        command(*arguments),
        env=environment(),
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=120,
        check=False,
        preexec_fn=before,
    )
    return done.returncode, done.stderr


def broken_pipe() -> int:
    """Return a pipe whose reader has left."""
    reader, writer = os.pipe()
    os.close(reader)
    return writer


COMMANDS = [("--version",), ("--help",), ("infer", "--help"), ("schema",)]


@pytest.mark.parametrize("arguments", COMMANDS)
def test_a_reader_that_has_left_and_a_closed_stdout_are_no_failure(arguments: tuple[str, ...]) -> None:
    writer = broken_pipe()
    assert run(*arguments, stdout=writer) == (0, "")
    os.close(writer)
    assert run(*arguments, stdout=None, before=lambda: os.close(1)) == (0, "")


@pytest.mark.parametrize("arguments", COMMANDS)
def test_a_full_disk_under_stdout_is_a_failure_told_in_a_line(arguments: tuple[str, ...]) -> None:
    with open("/dev/full", "w") as full:
        assert run(*arguments, stdout=full.fileno()) == (1, CANNOT)


@pytest.mark.parametrize("closed", ["broken", "closed", "full"])
def test_nothing_that_happens_to_stderr_changes_what_a_command_does(closed: str) -> None:
    writer = os.open("/dev/full", os.O_WRONLY) if closed == "full" else broken_pipe()

    def before() -> None:
        os.close(2) if closed == "closed" else os.dup2(writer, 2)

    for arguments, code in ((("--version",), 0), (("infer",), 2), (("run", "absent.yaml"), 2)):
        done = subprocess.run(
            command(*arguments), env=environment(), stdout=subprocess.PIPE, timeout=120, check=False, preexec_fn=before
        )
        assert done.returncode == code
        assert b"absent" not in done.stdout
    os.close(writer)


READ_TWICE = """
import os, sys
from vidcnn.streams import open_stdin
with open_stdin() as first, open_stdin() as second:
    line = first.readline()
    assert second.read() == line + first.read()
    with open_stdin() as third:
        os.write(1, third.read())
"""


def read_twice(**options: Any) -> subprocess.CompletedProcess[bytes]:
    code = [sys.executable, "-c", READ_TWICE]
    return subprocess.run(code, env=environment(), capture_output=True, timeout=120, check=False, **options)


def test_standard_input_is_read_once_and_given_from_its_beginning_as_often_as_it_is_asked_for() -> None:
    given = b"caf\xe9.mp4\n" * 100_000  # more than a pipe holds
    assert read_twice(input=given).stdout == given
    assert read_twice(stdin=subprocess.DEVNULL).stdout == b""


def test_a_terminal_is_not_waited_for() -> None:
    terminal, end = os.openpty()
    try:
        assert b"a list on standard input, and that is a terminal" in read_twice(stdin=end).stderr
    finally:
        os.close(terminal)
        os.close(end)


def test_a_folder_that_cannot_keep_standard_input_is_named() -> None:
    done = read_twice(input=b"a.mp4\n", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)))
    assert b"SourceError: the list on standard input cannot be read or kept: " in done.stderr
