from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.commands import PROJECT, command, environment
from tests.videos import write_video
from vidcnn.errors import RunInterruptedError
from vidcnn.interrupts import interruptible, uninterrupted

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]

PRELUDE = """
import os, subprocess, sys, time
from vidcnn import interrupts
interrupts.own_process()
from vidcnn.cli import _tell
from vidcnn.interrupts import *
def work():
    with interruptible("it stays"):
        body()
def say(text): print(text, flush=True)
"""
END = """
try:
    work()
except BaseException as error:
    code = _tell(error, is_debug=False)
    interrupts.finish(code)
    sys.exit(code)
"""
TOLD = "vidcnn: interrupted\n        it stays\n"


def start(body: str) -> subprocess.Popen[str]:
    """Run the body of a command, and wait until it says that it has begun."""
    process = subprocess.Popen(
        [sys.executable, "-c", PRELUDE + body + END],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=PROJECT,
        env=environment(),
    )
    assert process.stdout is not None
    line = b""
    while not line.endswith(b"\n"):  # a byte at a time: what a buffered reader takes along, `communicate` never sees
        line += os.read(process.stdout.fileno(), 1) or pytest.fail(f"it ended after {line!r}")
    assert line == b"begun\n"
    return process


def end(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    stdout, stderr = process.communicate(timeout=60)
    return process.returncode, stdout, stderr


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_a_run_in_order(number: signal.Signals) -> None:
    process = start("""
def body():
    try:
        say("begun"); time.sleep(60)
    finally:
        say("committed")
""")
    process.send_signal(number)
    assert end(process) == (130, "committed\n", TOLD)


def test_before_anything_is_held_a_signal_ends_the_process_without_an_exception() -> None:
    process = start("""
def work():
    try:
        say("begun"); time.sleep(60)
    finally:
        say("unwound")
""")
    process.send_signal(signal.SIGINT)
    assert end(process) == (130, "", "vidcnn: interrupted\n")


def test_the_second_signal_waits_for_nothing_and_takes_along_what_was_started(tmp_path: Path) -> None:
    process = start(f"""
from pathlib import Path
from vidcnn.storage.scratch import scratch_directory
import vidcnn.processes
def body():
    with scratch_directory("x-", Path({str(tmp_path)!r})):
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        try:
            say("begun"); time.sleep(60)
        finally:
            say(child.pid)
            time.sleep(60)
""")
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)  # by a terminal and by a wrapper: one Ctrl-C
    assert process.stdout is not None
    child = int(process.stdout.readline())
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(1.1)
        process.send_signal(signal.SIGINT)
    assert end(process) == (130, "", TOLD)
    assert list(tmp_path.iterdir()) == []
    stat = Path(f"/proc/{child}/stat")
    assert not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"


def test_a_signal_that_a_library_swallows_or_changes_is_not_lost() -> None:
    swallowed = start("""
def body():
    try:
        say("begun"); time.sleep(60)
    except:
        say("swallowed")
    try:
        time.sleep(60)
    finally:
        say("committed")
""")
    swallowed.send_signal(signal.SIGINT)
    assert swallowed.stdout is not None
    assert swallowed.stdout.readline() == "swallowed\n"
    assert end(swallowed) == (130, "committed\n", TOLD)
    changed = start("""
def body():
    try:
        say("begun"); time.sleep(60)
    except BaseException:
        raise ImportError("cannot initialize") from None
""")
    changed.send_signal(signal.SIGTERM)
    assert end(changed) == (130, "", TOLD)


def test_what_must_not_be_cut_short_is_not() -> None:
    process = start("""
def body():
    with uninterrupted():
        say("begun")
        time.sleep(0.5)
        say("let go")
    say("went on")
""")
    process.send_signal(signal.SIGINT)
    assert end(process) == (130, "let go\n", TOLD)


def test_in_a_program_of_somebody_else_handlers_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with pytest.raises(RunInterruptedError), interruptible("it stays"):
        signal.raise_signal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), uninterrupted():
        signal.raise_signal(signal.SIGINT)
    assert [signal.getsignal(number) for number in SIGNALS] == before


def takes_signals(process: subprocess.Popen[str]) -> bool:
    """Tell whether a command takes its signals: Python itself takes no SIGHUP."""
    try:
        status = Path(f"/proc/{process.pid}/status").read_text()
    except OSError:
        return True
    caught = next((line for line in status.splitlines() if line.startswith("SigCgt")), "SigCgt: 1")
    return bool(int(caught.split()[1], 16) & 1)


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments", [("models",), ("schema",), ("infer", "--help"), ("evaluate", "x", "--model", "y")]
)
def test_a_command_that_is_interrupted_at_any_moment_says_so_and_nothing_else(arguments: tuple[str, ...]) -> None:
    generator = random.Random(str(arguments))
    began = time.monotonic()
    subprocess.run(command(*arguments), env=environment(), capture_output=True, check=False)
    span = time.monotonic() - began
    num_interrupted = 0
    for _ in range(6):
        process = subprocess.Popen(
            command(*arguments), env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        while process.poll() is None and not takes_signals(process):
            time.sleep(0.001)
        time.sleep(generator.uniform(0, span))
        process.send_signal(generator.choice(SIGNALS))
        _, stderr = process.communicate(timeout=60)
        assert "Traceback" not in stderr
        if process.returncode == 130:
            assert stderr.startswith("vidcnn: interrupted\n")
            num_interrupted += 1
        else:
            assert process.returncode in (0, 1)
    assert num_interrupted > 0


WORK = {
    "infer": (("infer", "videos", "--out", "preds", "--model", "bundle", "--quiet", "--in-process", "on"), 3.0),
    "infer-ray": (("infer", "videos", "--out", "preds", "--model", "bundle", "--quiet", "--in-process", "off"), 10.0),
    "run": (("run", "job.yaml", "--quiet"), 3.0),
    "train": (("train", "--data", "labelled", "--out", "run", "--model", "simple3d", "--weights=random", "--epochs=2",
               "--batch-size=2", "--quiet"), 20.0),
    "bundle": (("bundle", "r3d_18", "--weights=random", "--out", "made"), 5.0),
    "demo": (("demo", "--quiet"), 30.0),
}  # fmt: skip
"""Commands that start others and write files, and how long they take at least."""


@pytest.fixture
def place(tmp_path: Path, bundle: Path) -> Path:
    """A folder with all that the commands need."""
    (tmp_path / "bundle").symlink_to(bundle)
    for number in range(8):
        for folder in (tmp_path / "videos", tmp_path / "labelled" / "ab"[number % 2]):
            folder.mkdir(parents=True, exist_ok=True)
            write_video(folder / f"{number}.mp4", 60, first_number=number)
    (tmp_path / "job.yaml").write_text("command: infer\nsource: [videos]\nout: preds.parquet\nmodel: bundle\n")
    return tmp_path


def interrupt(name: str, place: Path, num_moments: int) -> None:
    """Send signals to a command at moments all over its time, and see each time that it ends in order."""
    arguments, span = WORK[name]
    generator = random.Random(name)
    num_interrupted = 0
    for index in range(num_moments):
        sent = SIGNALS[index % 2]
        moment = span * (index + generator.random()) / num_moments
        with tempfile.TemporaryDirectory(prefix="i", dir="/tmp") as scratch:  # sockets need short names
            process = subprocess.Popen(
                command(*arguments), cwd=place, env=environment() | {"RAY_TMPDIR": scratch},
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )  # fmt: skip
            while process.poll() is None and not takes_signals(process):
                time.sleep(0.001)
            time.sleep(moment)
            process.send_signal(sent)
            _, stderr = process.communicate(timeout=300)  # returns when nobody holds its stderr any more
            told = f"{sent.name} after {moment:.1f} s: {process.returncode}, {stderr}"
            assert "Traceback" not in stderr, told
            if process.returncode == 130:
                assert "vidcnn: interrupted\n" in stderr, told
                num_interrupted += 1
            else:
                assert process.returncode == 0, told
            assert os.listdir(scratch) == [], told
            assert left_of(place) == [], told
    assert num_interrupted > 0


def left_of(place: Path) -> list[str]:
    """Return the command lines of the processes that still work in a folder."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.status() != psutil.STATUS_ZOMBIE and process.cwd() == str(place):
                found.append(" ".join(process.cmdline()))
    return found


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.parametrize("name", WORK)
def test_a_command_that_works_is_interrupted_in_order_and_leaves_nothing_running(name: str, place: Path) -> None:
    interrupt(name, place, num_moments=2)


@pytest.mark.nightly
@pytest.mark.ray
@pytest.mark.parametrize("name", WORK)
def test_a_command_that_works_is_interrupted_in_order_at_many_moments(name: str, place: Path) -> None:
    interrupt(name, place, num_moments=12)


def test_no_lock_of_the_standard_library_is_left_taken() -> None:
    body = """
import logging, signal, threading
class Handler(logging.Handler):
    def emit(self, record):
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(1000): pass
        say("emitted")
logger = logging.getLogger("x")
logger.addHandler(Handler())
def body():
    say("begun")
    logger.warning("now")
    try:
        time.sleep(60)
    finally:
        other = threading.Thread(target=logger.warning, args=["again"])
        logger.handlers[0].emit = lambda record: None
        other.start()
        other.join(5)
        say(f"stuck: {other.is_alive()}")
"""
    assert end(start(body)) == (130, "emitted\nstuck: False\n", TOLD)


def test_work_beside_an_interrupted_block_is_not_waited_for() -> None:
    body = """
def body():
    with background() as pool:
        pool.submit(time.sleep, 600)
        say("begun")
        time.sleep(60)
"""
    process = start(body + "sys.exit = interrupts.leave\n")  # as the command line does after an interruption
    process.send_signal(signal.SIGINT)
    assert end(process) == (130, "", TOLD)
