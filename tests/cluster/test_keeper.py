from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.commands import wait_until
from vidcnn.cluster import keeper

TREE = """
import os, signal, sys, time
if "deaf" in sys.argv: signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = os.fork()
if child:
    with open(sys.argv[1] + ".part", "w") as file: file.write(f"{os.getpid()} {child}")
    os.rename(sys.argv[1] + ".part", sys.argv[1])
time.sleep(600)
"""


def keep(*command: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-I", str(keeper.__file__), *command],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("code", "status"), [("pass", 0), ("raise SystemExit(3)", 3), ("import os; os.kill(os.getpid(), 15)", 143)]
)
def test_the_status_is_that_of_the_command(code: str, status: int) -> None:
    with keep(sys.executable, "-c", code) as process:
        assert process.wait(60) == status


def test_a_command_that_is_not_there_is_named() -> None:
    with keep("/no/such/program") as process:
        assert process.communicate(timeout=60)[1] == b"/no/such/program: No such file or directory\n"
        assert process.returncode == 127


@pytest.mark.parametrize("ears", ["hearing", "deaf"])
def test_when_whoever_asked_is_gone_all_that_the_command_started_ends(tmp_path: Path, ears: str) -> None:
    with keep(sys.executable, "-c", TREE, str(tmp_path / "pids"), ears) as process:
        wait_until((tmp_path / "pids").exists, of=process)
        started = [psutil.Process(int(pid)) for pid in (tmp_path / "pids").read_text().split()]
        assert process.stdin is not None
        process.stdin.close()  # as the kernel does when whoever held it is killed
        try:
            process.wait(60)
            assert psutil.wait_procs(started, timeout=30)[1] == []
        finally:
            for one in (process, *started):
                with suppress(psutil.NoSuchProcess, ProcessLookupError):
                    one.kill()


def test_ctrl_c_is_the_business_of_the_command(tmp_path: Path) -> None:
    code = "import signal, sys; signal.signal(2, lambda *_: sys.exit(5)); print('up', flush=True); signal.pause()"
    with keep(sys.executable, "-c", code) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(60) == 5
