from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.commands import PROJECT
from vidcnn.cluster.children import Child

# Notes its number and sleeps, beside a child that does the same if there is a second file.
SLEEPER = """
import os, subprocess, sys, time
def note(path):
    open(path + ".tmp", "w").write(str(os.getpid()))
    os.rename(path + ".tmp", path)
if len(sys.argv) > 2 and os.fork() == 0:
    note(sys.argv[2])
    time.sleep(60)
note(sys.argv[1])
time.sleep(60)
"""


def wait_for(path: Path) -> int:
    deadline = time.monotonic() + 20
    while not path.exists():
        assert time.monotonic() < deadline, path
        time.sleep(0.01)
    return int(path.read_text())


def is_gone(pid: int) -> bool:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.01)
    return False


@pytest.mark.parametrize(
    ("code", "status"), [("pass", 0), ("raise SystemExit(3)", 3), ("import os; os.kill(os.getpid(), 9)", 137)]
)
def test_the_status_is_that_of_the_program(code: str, status: int) -> None:
    with Child([sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        assert child.wait() == status
        assert child.status == status


def test_a_program_that_is_not_there_is_named() -> None:
    with Child(["no-such-program"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as child:
        assert child.read() == b"no-such-program: No such file or directory\n"
        assert child.wait() == 127


def test_the_block_ends_the_program_and_what_it_started(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SLEEPER, str(tmp_path / "parent"), str(tmp_path / "child")]
    with Child(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        pids = [wait_for(tmp_path / name) for name in ("parent", "child")]
        assert child.status is None
    assert all(map(is_gone, pids))


def test_a_program_that_does_not_want_to_end_is_ended(tmp_path: Path) -> None:
    code = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + SLEEPER
    with Child(
        [sys.executable, "-c", code, str(tmp_path / "pid")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ):
        pid = wait_for(tmp_path / "pid")
    assert is_gone(pid)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_program_ends_when_whoever_started_it_is_killed(tmp_path: Path, number: signal.Signals) -> None:
    code = (
        "import subprocess, sys, time; from vidcnn.cluster.children import Child\n"
        "Child(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL); time.sleep(60)"
    )
    pid = tmp_path / "pid"
    with subprocess.Popen([sys.executable, "-c", code, sys.executable, "-c", SLEEPER, pid], cwd=PROJECT) as parent:
        child = wait_for(pid)
        parent.send_signal(number)
    assert is_gone(child)


def test_ctrl_c_and_rays_addresses_do_not_reach_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "ray://elsewhere:1")
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://elsewhere:2")
    monkeypatch.setenv("KEPT", "1")
    names = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", "KEPT", "NEW")
    code = f"import os; print(os.getsid(0), *map(os.environ.get, {names}))"
    with Child(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, environment={"NEW": "2"}
    ) as child:
        session, *rest = child.read().decode().split()
    assert int(session) != os.getsid(0)
    assert rest == ["None", "None", "1", "2"]
