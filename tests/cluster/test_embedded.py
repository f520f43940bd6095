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
from typing import Any

import psutil
import pytest

from tests.commands import PROJECT, environment
from vidcnn.cluster import embedded
from vidcnn.cluster.embedded import local_ray
from vidcnn.cluster.starting import RayStartError
from vidcnn.cluster.watch import MARK, find_servers
from vidcnn.errors import VidcnnError
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
import psutil
def scratch():
    found = [child.environ().get(MARK) for child in psutil.Process().children()]
    assert MARK not in os.environ, "what this process starts besides is not Ray's"
    return next(filter(None, found))
try:
    with interrupts.interruptible("what was done stays"), local_ray(num_gpus=0):
        import ray
        task = ray.remote(lambda: time.sleep(300)).remote() if sys.argv[1] == "ray" else None
        print(scratch(), file=sys.__stdout__, flush=True)
        try:
            if task is not None:
                ray.get(task)
            time.sleep(300)
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


# Takes a title as Ray's agents do, and prints the environment that others see of it.
TITLED = """
import ray._raylet
ray._raylet.setproctitle("ray::DashboardAgent")
print(open("/proc/self/environ").read())
"""


def test_a_title_does_not_hide_the_mark_of_a_process(base: str) -> None:
    with driver("python", base) as (process, scratch):
        (raylet,) = [pid for pid, name in find_servers(scratch, process.pid).items() if name == "raylet"]
        given = dict(pair.split("=", 1) for pair in Path(f"/proc/{raylet}/environ").read_text().split("\0") if pair)
        mark = {MARK: given.pop(MARK)}
        for order in (mark | given, given | mark):
            shown = subprocess.run(
                [sys.executable, "-c", TITLED], env=order, capture_output=True, text=True, check=True
            )
            assert f"{MARK}={scratch}" in shown.stdout.split("\0")


@pytest.mark.slow
@pytest.mark.parametrize(("server", "waits_in"), [("raylet", "python"), ("GCS", "python"), ("GCS", "ray")])
def test_when_ray_dies_the_driver_ends_in_order_with_a_line_and_leaves_nothing(
    base: str, server: str, waits_in: str
) -> None:
    with driver(waits_in, base) as (process, scratch):
        (pid,) = [pid for pid, name in find_servers(scratch, process.pid).items() if name == server]
        os.kill(pid, signal.SIGKILL)
        stdout, stderr = process.communicate(timeout=120)
        assert process.returncode == 1
        if waits_in == "python":  # as a run does that waits for rows; from Ray's native code nothing comes back
            assert stdout == "committed\n"
        assert re.fullmatch(
            rf"vidcnn: Ray's {server} on this machine died( \(killed by signal 9.*\))?\n        what was done stays\n",
            stderr,
        )
        assert processes_with(MARK, scratch) == []
        assert os.listdir(base) == []


def kill_witness_of(scratch: str) -> None:
    (witness,) = [process for process in psutil.process_iter() if is_witness(process, scratch)]
    witness.kill()


def is_witness(process: psutil.Process, scratch: str) -> bool:
    try:
        return {"vidcnn.cluster.witness", scratch} <= set(process.cmdline())
    except psutil.Error:
        return False


def test_a_killed_driver_leaves_neither_process_nor_file_and_a_line_is_written(base: str) -> None:
    with driver("python", base) as (process, scratch):
        assert processes_with(MARK, scratch)
        process.kill()
        _, stderr = process.communicate(timeout=60)  # returns when the witness has ended, too
        assert stderr.startswith("vidcnn: the command ended abruptly: it was killed")
        assert stderr.endswith("        what was done stays\n")
        assert processes_with(MARK, scratch) == []
        assert os.listdir(base) == []


@pytest.mark.slow
def test_what_a_killed_driver_leaves_without_a_witness_goes_with_the_next_run_and_nothing_else_does(
    base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_TMPDIR", base)
    with driver("python", base) as (process, scratch), driver("python", base) as (living, other):
        # Survives its Ray, as agents do for a while; the reader only looks at a file of theirs.
        stray = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, env={MARK: scratch})
        log = Path(scratch) / embedded.RAY_FOLDER / "session_latest" / "logs" / "raylet.out"
        reader = subprocess.Popen(["tail", "-f", str(log)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            kill_witness_of(scratch)
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


CODE = """
import json, os, psutil, sys
from vidcnn.cluster.embedded import local_ray
with local_ray(num_gpus=0) as machine:
    import ray
    pids = [child.pid for child in psutil.Process().children(recursive=True)]
    print(json.dumps([machine.num_cpus, machine.num_gpus, machine.memory_bytes, pids]), file=sys.stderr)
    assert ray.get(ray.remote(lambda: 7).remote()) == 7
assert not ray.is_initialized()
"""


def test_a_ray_begins_and_ends_with_its_block_and_leaves_neither_process_nor_file_nor_word(tmp_path: Path) -> None:
    import json
    import tempfile

    with tempfile.TemporaryDirectory(prefix="v") as scratch:  # pytest's own have long paths
        done = subprocess.run(
            [sys.executable, "-c", CODE], env=environment() | {"RAY_TMPDIR": scratch},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert os.listdir(scratch) == []
    assert done.stdout == ""
    num_cpus, num_gpus, memory_bytes, pids = json.loads(done.stderr)
    assert (num_cpus, num_gpus, memory_bytes > 2**28) == (len(os.sched_getaffinity(0)), 0, True)
    assert len(pids) >= 3
    assert not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE for pid in pids)


# Asks the head of a Ray for a value, as whoever reaches its port may.
PROBE = """
import sys
from ray._raylet import GcsClient
try:
    GcsClient(address=sys.argv[1]).internal_kv_get(b"x", None)
    print("answers")
except Exception as error:
    print(type(error).__name__)
"""

# Has used a Ray before vidcnn, and uses it again after it.
NEIGHBOUR = """
import os, subprocess, sys
import ray
from vidcnn.cluster.embedded import local_ray
from vidcnn.errors import UsageError

def start():
    ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="CRITICAL")

def probe(**token):
    given = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")} | token
    address = ray.get_runtime_context().gcs_address
    asked = [sys.executable, "-c", sys.argv[1], address]
    return subprocess.run(asked, env=given, capture_output=True, text=True).stdout.strip()

start()
before = dict(os.environ)
try:
    with local_ray(num_gpus=0):
        sys.exit("there were two")
except UsageError as error:
    print(error.message)
assert ray.is_initialized() and dict(os.environ) == before
ray.shutdown()
with local_ray(num_gpus=0):
    assert ray.get(ray.remote(lambda: 7).remote()) == 7
    token = os.environ["RAY_AUTH_TOKEN"]
    print(probe(), probe(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN="x" * 64), file=sys.stderr)
    print(probe(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=token), file=sys.stderr)
assert dict(os.environ) == before
start()
print(probe())
"""


def test_beside_a_ray_of_the_process_there_is_none_and_after_it_one_with_a_token(base: str) -> None:
    variables = {name: value for name, value in environment().items() if not name.startswith("RAY_")}
    theirs = {"RAY_TMPDIR": base, "RAY_ADDRESS": "http://elsewhere", "RAY_AUTH_MODE": "disabled"}
    done = subprocess.run(
        [sys.executable, "-c", NEIGHBOUR, PROBE], env=variables | theirs,
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == "AuthenticationError AuthenticationError\nanswers\n"
    assert done.stdout == "this process uses a Ray of its own already\nanswers\n"


def starts(monkeypatch: pytest.MonkeyPatch, *messages: str) -> list[dict[str, Any]]:
    """Let Ray fail with these messages, one after the other; return what it was started with."""
    given: list[dict[str, Any]] = []

    def init(**options: Any) -> None:
        given.append(options)
        raise RayStartError(messages[min(len(given), len(messages)) - 1])

    monkeypatch.setattr(embedded, "init_ray", init)
    return given


def start() -> None:
    with local_ray():
        raise AssertionError("there is no Ray")


def test_a_ray_that_starts_too_slowly_is_started_again_a_few_times(monkeypatch: pytest.MonkeyPatch) -> None:
    given = starts(monkeypatch, "it timed out during startup")
    with pytest.raises(VidcnnError, match="Ray does not start on this machine: it timed out during startup"):
        start()
    assert len(given) == 3


def test_a_ray_that_cannot_start_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    given = starts(monkeypatch, "no room")
    with pytest.raises(VidcnnError, match="Ray does not start on this machine: no room"):
        start()
    assert len(given) == 1
    assert 256 * 2**20 <= given[0]["object_store_memory"] <= 4 * 2**30
