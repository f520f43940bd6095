from __future__ import annotations

import subprocess
import sys
import time

from vidcnn.processes import ProcessId, descendants, end_processes, is_ending, runs

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
