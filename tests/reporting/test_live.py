"""The line that changes: on terminals of any width, on those that only print, and in files."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.commands import PROJECT, environment
from vidcnn.reporting.live import bar, cut, with_bar

SCRIPT = """
import time
from vidcnn.reporting import live
live._LIVE_INTERVAL_SECONDS = 0
line = "12,345/50,000 videos · 1,234,567 clips · 1234.5 clips/s · 12 errors · 12 h 30 min left"
with live.LiveLine() as first:
    first.begin("starting: loading the model")
    with live.ProgressDisplay(lambda: (0.25, line)) as display:
        for _ in range(3):
            display.update()
        live.say("vidcnn: a notice")
        display.update()
print("done")
"""


def on_terminal(num_columns: int, **variables: str) -> str:
    """Return what the script writes to a terminal."""
    mine, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, num_columns, 0, 0))
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT], stderr=its, stdout=its, cwd=PROJECT, env=environment() | variables
    ) as process:
        os.close(its)
        written = b""
        with suppress(OSError):  # the terminal is gone
            while data := os.read(mine, 4096):
                written += data
        assert process.wait() == 0
    os.close(mine)
    return written.decode()


def screen(written: str) -> tuple[list[str], list[str]]:
    """Return the lines that a terminal shows in the end, and all that were ever in a line."""
    rows, ever = [""], []
    for number, part in enumerate(written.replace("\r\n", "\n").split("\n")):
        if number:
            rows.append("")
        for text in part.split("\r\x1b[K"):
            rows[-1] = text
            ever.append(text)
    return rows, ever


@pytest.mark.parametrize("num_columns", [20, 80, 200])
def test_the_line_stays_one_line_and_leaves_nothing_behind(num_columns: int) -> None:
    rows, ever = screen(on_terminal(num_columns, TERM="xterm-256color"))
    assert rows == ["vidcnn: a notice", "done", ""]
    assert max(map(len, ever)) < num_columns
    assert "starting: loading"[: num_columns - 2] in "".join(ever)
    assert ("━" in "".join(ever)) == (num_columns == 200)
    assert ("12 h 30 min left" in "".join(ever)) == (num_columns == 200)


def test_a_terminal_that_only_prints_gets_lines_and_no_control_characters() -> None:
    written = on_terminal(80, TERM="dumb")
    assert written.splitlines() == ["starting: loading the model", "vidcnn: a notice", "done"]
    assert "\x1b" not in written


def test_a_file_gets_a_line_at_the_start_and_then_one_a_minute() -> None:
    clock = "import time; now = [0.0]; time.monotonic = lambda: now[0]\n"
    script = clock + SCRIPT.replace("range(3)", "range(180)").replace(
        "display.update()", "display.update(); now[0] += 1", 1
    )
    done = subprocess.run(
        [sys.executable, "-c", clock + script],
        capture_output=True,
        text=True,
        cwd=PROJECT,
        env=environment(),
        check=True,
    )
    lines = done.stderr.splitlines()
    assert lines[0] == "starting: loading the model"
    assert len([line for line in lines if line.startswith("12,345")]) == 3
    assert "━" not in done.stderr


def test_a_terminal_that_knows_no_unicode_gets_other_characters() -> None:
    written = on_terminal(200, TERM="xterm", PYTHONIOENCODING="ascii")
    assert "#####---------------  25%" in written
    assert "\\u" not in written


@given(st.floats(0, 1), st.text("ab·", max_size=150), st.integers(1, 200))
def test_a_line_fits_and_the_bar_goes_first(fraction: float, line: str, num_columns: int) -> None:
    text = cut(with_bar(fraction, line, num_columns), num_columns)
    assert len(text) <= max(num_columns - 1, 1)
    if len(line) < num_columns:
        assert text.endswith(line)


def test_the_bar_fills_up() -> None:
    assert bar(0.5, 4) == "━━──  50%"
    assert bar(1.0, 4) == "━━━━ 100%"
