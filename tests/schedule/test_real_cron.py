"""What `vidcnn schedule` writes, run by a real cron: that of Debian, in namespaces apart from the machine's own."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.commands import make_tiny_bundle, vidcnn
from tests.videos import write_video

SECONDS_TO_WAIT = 900
"""Cron starts runs once a minute; on a busy machine a run takes longer than that."""
TOO_BUSY = "timed out during startup"
"""Ray gives up on a machine that does not start it in time. That run fails, and the next one makes up for it."""

APART = """
mount -t tmpfs tmpfs /run && mount -t tmpfs tmpfs /etc/cron.d && mount -t tmpfs tmpfs /var/spool/cron/crontabs &&
mount --bind /dev/null /etc/crontab && chmod 1730 /var/spool/cron/crontabs && crontab "$0" && exec cron -f -L 0
"""
RECORDING_SHELL = """#!/bin/sh
/bin/sh "$@"
code=$?
echo "$code" >>"$(dirname "$0")/codes"
exit "$code"
"""


def why_not() -> str | None:
    """Return what keeps a cron from running apart from the machine's."""
    absent = [program for program in ("cron", "crontab", "unshare") if shutil.which(program) is None]
    if absent:
        return f"{' and '.join(absent)} not installed"
    done = subprocess.run(
        ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "mount", "-t", "tmpfs", "tmpfs", "/etc/cron.d"],
        capture_output=True, check=False, text=True,
    )  # fmt: skip
    return f"no namespaces of its own: {done.stderr.strip()}" if done.returncode else None


@contextmanager
def cron_with(crontab: Path) -> Iterator[None]:
    """Run a cron with one crontab. Whatever it has started ends with it."""
    apart = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    cron = subprocess.Popen([*apart, "/bin/sh", "-c", APART, str(crontab)])
    try:
        yield
        assert cron.poll() is None, "cron has ended by itself"
    finally:
        cron.kill()
        cron.wait()


def wait_for(what: Callable[[], bool]) -> None:
    end = time.monotonic() + SECONDS_TO_WAIT
    while not what():
        assert time.monotonic() < end, "it has not come to this"
        time.sleep(0.5)


def add_videos(folder: Path, first: int, number: int) -> None:
    """Put videos into a folder, each whole at once."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as aside:
        for index in range(first, first + number):
            write_video(Path(aside, "v.mp4"), 40 + 7 * index, rate=15, first_number=index)
            Path(aside, "v.mp4").rename(folder / f"v{index}.mp4")


@pytest.mark.nightly
@pytest.mark.ray
@pytest.mark.skipif(sys.platform != "linux", reason="namespaces are of Linux")
def test_a_folder_that_grows_is_done_once_by_a_cron_that_starts_runs_twice(tmp_path: Path) -> None:
    if reason := why_not():
        pytest.skip(reason)
    folder = tmp_path / 'it\'s "100%" \\%new'
    (folder / "videos").mkdir(parents=True)
    make_tiny_bundle(folder / "bundle")
    (folder / "job.yaml").write_text("command: infer\nsource: videos\nout: preds\nmodel: bundle\n")
    (tmp_path / "shell").write_text(RECORDING_SHELL)
    (tmp_path / "shell").chmod(0o755)
    codes = tmp_path / "codes"

    def exit_codes() -> list[str]:
        return codes.read_text().split() if codes.exists() else []

    def said() -> str:
        return "".join((folder / log).read_text() for log in ("a.log", "b.log"))

    def done() -> Counter[str]:
        return Counter(row["video"] for row in pq.read_table(folder / "preds", columns=["video"]).to_pylist())

    with tempfile.TemporaryDirectory(prefix="v") as ray_folder:
        lines = []
        for log in ("a.log", "b.log"):
            arguments = ("schedule", "job.yaml", "--cron", "* * * * *", "--log", log)
            written = vidcnn(*arguments, cwd=folder, extra={"RAY_TMPDIR": ray_folder})
            assert written.returncode == 0, written.stderr
            lines.append(written.stdout)
        crontab = tmp_path / "crontab"
        crontab.write_text(f"SHELL={tmp_path}/shell\n" + "".join(lines))
        add_videos(folder / "videos", 0, 4)
        with cron_with(crontab):
            wait_for(lambda: {"0", "75"} <= set(exit_codes()))
            assert set(done()) == {f"v{index}.mp4" for index in range(4)}
            assert "is held by another run" in said()
            num_good = exit_codes().count("0")
            add_videos(folder / "videos", 4, 3)
            wait_for(lambda: exit_codes().count("0") > num_good and len(done()) == 7)
    assert set(exit_codes()) - {"0", "75"} <= ({"1"} if TOO_BUSY in said() else set()), said()
    table = pq.read_table(folder / "preds").to_pylist()
    places = Counter((row["video"], row["clip"]) for row in table)
    assert max(places.values()) == 1
    assert all(row["error"] is None for row in table)
    assert done() == Counter({f"v{index}.mp4": -(-(40 + 7 * index) // 16) for index in range(7)})
