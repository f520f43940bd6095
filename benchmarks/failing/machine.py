"""Faults of the machine: little shared memory, few open files, a pause of all processes, and a clock that jumps."""

from __future__ import annotations

import os
import random
import resource
import signal
import time
from contextlib import suppress
from pathlib import Path

import psutil
from killing.victims import let_go

from failing.disks import mounted
from failing.stage import BUSY, LocalTrial, Run, Stage, StallError, UnfitError

PAUSE_SECONDS = {False: 120.0, True: 5.0}
"""How long all processes stand still; less where it should be quick."""
_CLOCK = """
import time as _time
_now, _now_ns = _time.time, _time.time_ns
def _offset():
    try:
        with open({path!r}) as file:
            return int(file.read() or 0)
    except (OSError, ValueError):
        return 0
_time.time = lambda: _now() + _offset()
_time.time_ns = lambda: _now_ns() + _offset() * 10**9
"""


def small_shared_memory(stage: Stage, rng: random.Random) -> None:
    """Run where /dev/shm has a few megabytes, or becomes full in the middle."""
    if os.environ.get("FAULTS_PRIVATE") != "yes":
        raise UnfitError("mounts of its own are refused to this user")
    trial = LocalTrial(stage, stage.new_folder(), rng, with_ray=True)
    size = rng.choice(("64k", "4m", "90m"))
    script = f'mount -t tmpfs -o size={size} faults /dev/shm && exec "$@"'
    code = stage.end(trial.start(prefix=["unshare", "-m", "sh", "-c", script, "sh"]))
    trial.conclude(is_whole=code == 0)


def full_shared_memory(stage: Stage, rng: random.Random) -> None:
    """Fill /dev/shm in the middle of a run."""
    with mounted(stage, "tmpfs", "size=200m") as folder:
        trial = LocalTrial(stage, stage.new_folder(), rng, with_ray=True)
        script = f'mount --bind {folder} /dev/shm && exec "$@"'
        run = trial.start(prefix=["unshare", "-m", "sh", "-c", script, "sh"])
        trial.reach(run)
        with open(folder / "ballast", "wb", buffering=0) as ballast, suppress(OSError):
            while ballast.write(bytes(4096)):
                pass
        trial.finish(run)


def few_open_files(stage: Stage, rng: random.Random) -> None:
    """Let no process of the run open another file from some moment on."""
    trial = LocalTrial(stage, stage.new_folder(), rng)
    run = trial.start()
    trial.reach(run)
    num_more = rng.randrange(4)

    def limit(pid: int) -> None:
        number = max(map(int, os.listdir(f"/proc/{pid}/fd")), default=2) + 1 + num_more
        _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (number, hard))

    run.each(limit)
    trial.finish(run)


def paused(stage: Stage, rng: random.Random) -> None:
    """Stop all processes of a run for a while, as a laptop that sleeps does; another run may not take the output."""
    trial = LocalTrial(stage, stage.new_folder(), rng)
    run = trial.start()
    trial.reach(run)
    stopped = run.tree()
    run.each(lambda pid: os.kill(pid, signal.SIGSTOP))
    began = time.monotonic()
    code = stage.end(stage.start(trial.line))
    if code != BUSY:
        raise StallError(f"another run ended with exit code {code} while the first one held the output")
    time.sleep(max(0.0, began + PAUSE_SECONDS[stage.quick] - time.monotonic()))
    for process in stopped:
        with suppress(psutil.Error):
            let_go(process.pid)
    trial.finish(run)


def clock_jumps(stage: Stage, rng: random.Random) -> None:
    """Turn the clock of a run forwards or backwards, while another run sees it turned the other way."""
    folder = stage.new_folder()
    trial = LocalTrial(stage, stage.new_folder(), rng)
    jump = rng.choice((-1, 1)) * rng.choice((100, 3600, 86_400, 400 * 86_400))
    run = trial.start(variables=_turned(folder / "one", 0))
    trial.reach(run)
    (folder / "one" / "offset").write_text(str(jump))
    other: Run = stage.start(trial.line, variables=_turned(folder / "other", -jump))
    code = stage.end(other)
    if code != BUSY:
        raise StallError(f"another run ended with exit code {code} while the first one held the output")
    trial.finish(run)


def _turned(folder: Path, offset: int) -> dict[str, str]:
    """Return the environment of processes whose clock a file in a folder turns."""
    folder.mkdir()
    (folder / "offset").write_text(str(offset))
    (folder / "sitecustomize.py").write_text(_CLOCK.format(path=str(folder / "offset")))
    return {"PYTHONPATH": f"{folder}{os.pathsep}{Path(__file__).parents[2]}"}
