"""A command that ends without a word is spoken for, and what it leaves is ended."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import PROJECT
from vidcnn.cluster.watch import MARK
from vidcnn.processes import processes_with

# Starts a server and a worker as a Ray would be, tells their numbers, and ends as it is told: by itself, by its server
# and Ray's native code, by a signal, after its own word, or in good order.
COMMAND = """
import os, signal, subprocess, sys, time
from pathlib import Path
from vidcnn import interrupts
from vidcnn.cluster.watch import MARK
from vidcnn.cluster.witness import Witness
interrupts.own_process()
scratch, end = Path(sys.argv[1]), sys.argv[2]
with Witness(scratch, "the same command continues") as witness:
    os.environ[MARK] = str(scratch)
    sleep = [sys.executable, "-c", "import time; time.sleep(100)"]
    server, worker = subprocess.Popen(sleep), subprocess.Popen(sleep)
    witness.watch({server.pid: "raylet"})
    if end == "server":
        server.kill()
        server.wait()
        time.sleep(0.5)
        os._exit(1)
    if end == "exit":
        os._exit(1)
    if end == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if end in ("told", "untold"):
        witness.stay()
    if end.startswith("ending"):
        witness.ending()
        server.kill()
        server.wait()
        time.sleep(0.5)
        if end == "ending, then exit":
            os._exit(1)
        if end == "ending, then killed":
            os.kill(os.getpid(), signal.SIGKILL)
    server.kill()
    server.wait()
    worker.kill()
    time.sleep(0.2)
if end == "untold":
    os._exit(1)
if end == "told":
    print("vidcnn: Ray died", file=sys.stderr)
    interrupts.leave(1)
"""
ABRUPT = "vidcnn: the command ended abruptly: it was killed, as where memory is short, or a library ended it\n"
HINT = "        the same command continues\n"


def run(scratch: Path, end: str) -> tuple[int, str]:
    scratch.mkdir()
    (scratch / "log").touch()
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, scratch, end],
        capture_output=True,
        text=True,
        cwd=PROJECT,
        timeout=60,
        check=False,
    )  # returns when nobody holds its stderr any more
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("end", "exit_code", "said"),
    [
        ("server", 1, "vidcnn: Ray's raylet on this machine died\n" + HINT),
        ("exit", 1, ABRUPT + HINT),
        ("killed", -9, ABRUPT + HINT),
        ("untold", 1, "vidcnn: Ray's raylet on this machine died\n" + HINT),
        # While Ray ends, the end of its servers is no cause of anything.
        ("ending, then exit", 1, ABRUPT + HINT),
        ("ending, then killed", -9, ABRUPT + HINT),
    ],
)
def test_an_end_without_a_word_has_its_line_and_leaves_nothing(
    tmp_path: Path, end: str, exit_code: int, said: str
) -> None:
    scratch = tmp_path / "ray"
    assert run(scratch, end) == (exit_code, said)
    assert processes_with(MARK, str(scratch)) == []
    assert not scratch.exists()


@pytest.mark.parametrize(
    ("end", "exit_code", "said"), [("well", 0, ""), ("ending", 0, ""), ("told", 1, "vidcnn: Ray died\n")]
)
def test_a_command_that_speaks_for_itself_is_left_alone(tmp_path: Path, end: str, exit_code: int, said: str) -> None:
    scratch = tmp_path / "ray"
    assert run(scratch, end) == (exit_code, said)
    assert os.listdir(scratch) == ["log"]
