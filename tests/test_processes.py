from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.commands import PROJECT, make_tiny_bundle
from tests.videos import write_video
from vidcnn.processes import LOW_PRIORITY, ProcessId, descendants, end_processes, is_ending, runs

TRAPS = ("random", "torch", "numpy", "json", "socket")
"""Modules that many import, and whose names a user's file may well have."""


def set_traps(folder: Path) -> None:
    """Put files with the names of modules into a folder, which are never to be imported."""
    for name in TRAPS:
        (folder / f"{name}.py").write_text(
            f"open({str(folder / 'caught')!r}, 'a').write({name!r})\nraise SystemExit(9)\n"
        )


SLEEP = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])"


def test_children_of_children_are_found_and_ended() -> None:
    others = set(descendants())
    child = subprocess.Popen([sys.executable, "-c", SLEEP])
    try:
        found: list[ProcessId] = []
        while len(found) < 2:
            found = [process for process in descendants() if process not in others]
        assert [process.pid == child.pid for process in found] == [True, False]
        while runs(found[1], "subprocess.run"):  # between fork and exec it still has its parent's command line
            time.sleep(0.01)
        assert runs(found[0], "subprocess.run")
        end_processes(found, patience_seconds=0.1)
        assert child.wait(10) == -9
        end_processes(found)
        assert not set(found) & set(descendants())
    finally:
        child.kill()
        child.wait()


def test_processes_that_have_ended_are_not_waited_for() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    found = [process for process in descendants() if process.pid == child.pid]
    child.communicate(b"\n")
    end_processes(found, patience_seconds=60)


def test_a_process_is_ending_once_it_has_nothing_more_to_do() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert not is_ending(child.pid)
    child.kill()
    deadline = time.monotonic() + 10
    while not is_ending(child.pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert is_ending(child.pid)  # a zombie
    child.communicate()
    assert is_ending(child.pid)  # nothing


# Starts a module as ours are started, from a Python that finds all of a list of folders.
STARTER = """
import subprocess, sys
sys.path[:0] = sys.argv[2:]
from vidcnn.processes import run_module
command, environment = run_module(sys.argv[1])
sys.exit(subprocess.run(command, env=environment).returncode)
"""


def test_a_module_that_is_run_and_what_it_runs_import_nothing_of_the_current_folder(tmp_path: Path) -> None:
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    here.mkdir()
    elsewhere.mkdir()
    set_traps(here)
    (elsewhere / "beside.py").write_text("import random, json, socket\n")
    (elsewhere / "started.py").write_text(
        "import random, json, subprocess, sys\nsys.exit(subprocess.run([sys.executable, '-m', 'beside']).returncode)\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", STARTER, "started", str(PROJECT), str(elsewhere)],
        cwd=here, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert not (here / "caught").exists()


@pytest.mark.ray
@pytest.mark.parametrize(
    "compiles", [pytest.param("off", marks=pytest.mark.slow), pytest.param("on", marks=pytest.mark.nightly)]
)
def test_no_process_of_a_run_imports_what_lies_in_the_folder_where_it_is_started(compiles: str, tmp_path: Path) -> None:
    set_traps(tmp_path)
    (tmp_path / "videos").mkdir()
    write_video(tmp_path / "videos" / "a.mp4", 40)
    make_tiny_bundle(tmp_path / "bundle")
    cache = {"PYTHONPATH": str(PROJECT), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    arguments = ["infer", "videos", "--out=preds.parquet", "--model=bundle", "--quiet", f"--compile={compiles}"]
    done = subprocess.run(
        [sys.executable, "-P", "-m", "vidcnn", *arguments],
        cwd=tmp_path, env=os.environ | cache, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert not (tmp_path / "caught").exists()


@pytest.mark.parametrize(("before", "after"), [(0, LOW_PRIORITY), (LOW_PRIORITY + 5, LOW_PRIORITY + 5)])
def test_a_priority_is_lowered_and_never_raised_also_without_rights(before: int, after: int) -> None:
    code = (
        "import os; from vidcnn.processes import lower_priority\n"
        f"os.setpriority(os.PRIO_PROCESS, 0, {before}); os.getuid() or os.setuid(65534)\n"
        "lower_priority(); lower_priority(); print(os.getpriority(os.PRIO_PROCESS, 0))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) == after
