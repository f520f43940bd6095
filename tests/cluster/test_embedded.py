"""An embedded Ray that dies, or whose driver does."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.commands import PROJECT, environment
from vidcnn.cluster.embedded import local_ray
from vidcnn.cluster.watch import MARK, find_servers
from vidcnn.processes import processes_with

pytestmark = pytest.mark.ray

# Says where its Ray is, works for a while in blocks that end in order, and ends as the command line does.
DRIVER = """
import os, sys, time
from vidcnn import interrupts
interrupts.own_process()
from vidcnn.cli import _tell
from vidcnn.cluster.embedded import local_ray
from vidcnn.cluster.watch import MARK
try:
    with interrupts.interruptible("what was done stays"), local_ray(num_gpus=0):
        print(os.environ[MARK], file=sys.__stdout__, flush=True)
        try:
            if sys.argv[1] == "python":
                time.sleep(300)
            import ray
            ray.get(ray.remote(time.sleep).remote(300))
        finally:
            print("committed", file=sys.__stdout__, flush=True)
except BaseException as error:
    sys.exit(_tell(error, is_debug=False))
"""


@contextmanager
def driver(waits_in: str, base: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start a driver, and return it and the directory of its Ray."""
    extra = {"RAY_TMPDIR": base}
    with subprocess.Popen(
        [sys.executable, "-c", DRIVER, waits_in],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=PROJECT,
        env=environment() | extra,
    ) as process:
        assert process.stdout is not None
        scratch = process.stdout.readline().strip()
        assert scratch, process.communicate()
        try:
            yield process, scratch
        finally:
            process.kill()
            for left in processes_with(MARK, scratch):
                os.kill(left.pid, signal.SIGKILL)


@pytest.fixture
def base() -> Iterator[str]:
    """A folder with a short name, as sockets need it."""
    with TemporaryDirectory(prefix="r", dir="/tmp") as folder:
        yield folder


@pytest.mark.slow
@pytest.mark.parametrize(("server", "waits_in"), [("raylet", "python"), ("GCS", "ray"), ("raylet", "ray")])
def test_when_ray_dies_the_driver_ends_in_order_with_a_line_and_leaves_nothing(
    base: str, server: str, waits_in: str
) -> None:
    with driver(waits_in, base) as (process, scratch):
        (pid,) = [pid for pid, name in find_servers(scratch).items() if name == server]
        os.kill(pid, signal.SIGKILL)
        stdout, stderr = process.communicate(timeout=120)
        assert process.returncode == 1
        assert stdout == "committed\n"
        assert re.fullmatch(
            rf"vidcnn: Ray's {server} on this machine died( \(killed by signal 9.*\))?\n        what was done stays\n",
            stderr,
        )
        assert processes_with(MARK, scratch) == []
        assert os.listdir(base) == []


@pytest.mark.slow
def test_what_a_killed_driver_leaves_goes_with_the_next_run_and_nothing_else_does(
    base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_TMPDIR", base)
    with driver("python", base) as (process, scratch), driver("python", base) as (living, other):
        # Survives its Ray, as agents do for a while; the reader only looks at a file of theirs.
        stray = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, env={MARK: scratch})
        log = Path(scratch) / "session_latest" / "logs" / "raylet.out"
        reader = subprocess.Popen(["tail", "-f", str(log)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.kill()
            process.wait()
            assert processes_with(MARK, scratch)
            with local_ray(num_gpus=0):
                assert processes_with(MARK, scratch) == []
                assert not os.path.exists(scratch)
            assert stray.wait(10) == -signal.SIGKILL
            assert reader.poll() is None
            assert living.poll() is None
            assert os.listdir(base) == [os.path.basename(other)]
        finally:
            for child in (stray, reader):
                child.kill()
                child.communicate()
