"""The commands as functions."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

import vidcnn
from tests.commands import PROJECT, environment
from vidcnn.errors import TooManyErrorsError, UsageError

pytestmark = pytest.mark.ray

SCRIPT = """
import os, sys
import vidcnn
before = dict(os.environ)
from vidcnn.errors import TooManyErrorsError
videos, bundle, out = sys.argv[1:]
report = vidcnn.infer(videos, out=out, model=bundle, num_clips=2, max_error_fraction=1, report=True)
again = vidcnn.infer([videos], out=out, model=bundle, num_clips=2, max_error_fraction=1)
try:
    vidcnn.infer(videos, out=out, model=bundle, num_clips=2, max_error_fraction=0.1)
except TooManyErrorsError as error:
    print(report.summary.num_predictions, report.num_videos_done, again.num_videos_done, error.exit_code)
print({name for name in before | os.environ if before.get(name) != os.environ.get(name)} or "nothing has changed")
"""


def test_a_run_is_done_once_says_what_it_did_prints_nothing_and_leaves_the_environment_as_it_was(
    videos: Path, bundle: Path, tmp_path: Path
) -> None:
    out = tmp_path / "preds.parquet"
    variables = {name: value for name, value in environment().items() if not name.startswith("RAY_")}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, videos, f"file://{bundle}", out],
        env=variables | {"RAY_ADDRESS": "http://elsewhere"},
        capture_output=True, text=True, cwd=PROJECT, check=False,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("6 4 0 3\nnothing has changed\n", "")
    (report,) = (tmp_path / "preds.runs").iterdir()
    assert json.loads(report.read_text())["predictions"] == 6
    assert issubclass(TooManyErrorsError, Exception)


def test_a_table_is_scored_where_that_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vidcnn.config import InferSpec

    done = []
    monkeypatch.setattr("vidcnn.pipelines.rescore.run_rescoring", lambda spec, **_: done.append(spec) or "report")
    monkeypatch.setattr("vidcnn.reporting.summaries.check_outcome", lambda spec, report: None)
    assert vidcnn.infer(out=tmp_path / "new", from_=tmp_path / "old.parquet", model="new") == "report"
    assert done == [InferSpec(from_=str(tmp_path / "old.parquet"), out=str(tmp_path / "new"), model="new")]


def test_options_that_there_are_not_are_usage_errors(videos: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        vidcnn.infer(videos, out=tmp_path / "p.parquet", colour="red")
    with pytest.raises(UsageError):
        vidcnn.train(videos, out=tmp_path / "run", epochs=0)
    with pytest.raises(UsageError):
        vidcnn.evaluate(videos, model=tmp_path, clips=0)
    assert list(tmp_path.iterdir()) == []


MANY_RUNS = """
import gc, json, os, socket, stat, sys, threading, time
from pathlib import Path
import psutil
import vidcnn

def descriptors():
    # Ray keeps the connection to the head of each Ray that it has ended, which is TCP, and nothing of vidcnn's is.
    kinds = {"tcp": 0, "other": 0}
    for number in map(int, os.listdir("/proc/self/fd")):
        try:
            is_socket = stat.S_ISSOCK(os.fstat(number).st_mode)
            copy = socket.socket(fileno=os.dup(number)) if is_socket else None
        except OSError:
            continue
        kinds["tcp" if copy is not None and copy.family != socket.AF_UNIX else "other"] += 1
        if copy is not None:
            copy.close()
    return kinds

def names_in_shared_memory():
    others = {process.pid for process in psutil.process_iter()} - {os.getpid()}
    used = set()
    for pid in others:
        try:
            lines = Path(f"/proc/{pid}/maps").read_text(errors="replace").splitlines()
        except OSError:
            continue
        used |= {os.path.basename(line.rpartition("/dev/shm/")[2]) for line in lines if "/dev/shm/" in line}
    return set(os.listdir("/dev/shm")) - used

def left():
    gc.collect()
    return {
        "descriptors": descriptors(),
        "threads": sorted(thread.name for thread in threading.enumerate()),
        "processes": sorted(child.name() for child in psutil.Process().children(recursive=True)),
        "shared memory": sorted(names_in_shared_memory() - before),
        "files": sorted(os.listdir(os.environ["TMPDIR"])),
    }

def settled(earlier):
    deadline = time.monotonic() + 60
    while (found := left()) != earlier and time.monotonic() < deadline and earlier is not None:
        if len(found["processes"]) <= len(earlier["processes"]):
            break
        time.sleep(0.5)
    return found

videos, bundle, out = sys.argv[1:]
options = {"model": bundle, "in_process": "off", "num_clips": 1, "max_error_fraction": 1}
before, found = names_in_shared_memory(), []
for number in range(3):
    vidcnn.infer(videos, out=f"{out}/{number}.parquet", **options)
    found.append(settled(found[-1] if found else None))
print(json.dumps(found))
"""


@pytest.mark.slow
def test_runs_in_one_process_leave_nothing_of_theirs_in_it(videos: Path, bundle: Path, tmp_path: Path) -> None:
    with TemporaryDirectory(prefix="v-", dir="/tmp") as short:  # the names of Ray's sockets must stay short
        done = subprocess.run(
            [sys.executable, "-c", MANY_RUNS, videos, bundle, tmp_path],
            env=environment() | {"TMPDIR": short, "RAY_TMPDIR": short},
            capture_output=True, text=True, cwd=PROJECT, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    _, second, third = json.loads(done.stdout)
    ray_own = third["descriptors"].pop("tcp") - second["descriptors"].pop("tcp")
    assert third == second
    assert ray_own <= 1
