"""What is left over of many small jobs, one after the other: memory, descriptors, threads, processes, files.

Classifies, trains and evaluates the same few videos again and again, through the Python API in this process, with Ray
(embedded, started and ended each time) or without. Each round is one job of each kind, on new folders. What is there
after a round is held against what was there after the first rounds: nothing may have become more.

    python benchmarks/soak.py [--minutes 60] [--ray on|off] [--out FILE]
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import shutil
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
from mutating.bases import written_files

import vidcnn
from vidcnn.models.resolve import make_bundle

WARM_ROUNDS = 3
"""Rounds before anything is held against anything: libraries are loaded, and allocators have grown."""
MAX_GROWTH_MB = 100.0
"""How much memory of all processes may have grown, from the median of the first rounds to that of the last."""
MAX_MORE = {"descriptors": 3, "threads": 4, "processes": 0, "shared memory": 0, "files": 0}
"""How many more there may be at the end; pools of threads grow to the number of processors, and no further."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--ray", choices=("on", "off"), default="off", help="whether `infer` runs on an embedded Ray")
    parser.add_argument("--no-train", action="store_true", help="only classify, which takes a second for each job")
    parser.add_argument("--out", type=Path, help="write the figures as JSON too")
    arguments = parser.parse_args()
    os.environ.setdefault("SVT_LOG", "1")  # its encoder tells of errors only
    with tempfile.TemporaryDirectory() as scratch:
        place = Place(Path(scratch), in_process="off" if arguments.ray == "on" else "on", trains=not arguments.no_train)
        rounds = soak(place, arguments.minutes * 60)
    faults = faults_of(rounds)
    report = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores",
        "versions": {name: version(name) for name in ("vidcnn", "ray", "torch", "av")},
        "ray": arguments.ray,
        "minutes": round(rounds[-1]["minutes"], 1) if rounds else 0,
        "rounds": len(rounds),
        "rows": [
            rounds[index]
            for index in sorted({0, WARM_ROUNDS - 1, len(rounds) // 2, len(rounds) - 1})
            if index < len(rounds)
        ],
        "faults": faults,
    }
    print(json.dumps(report, indent=2))
    if arguments.out:
        arguments.out.write_text(json.dumps(report, indent=2) + "\n")
    return 1 if faults else 0


class Place:
    """Videos, a model, and a folder for what jobs write.

    Args:
        folder: Where all of it is.
        in_process: The option of `vidcnn.infer`.
        trains: Whether a round trains and evaluates, too.
    """

    def __init__(self, folder: Path, *, in_process: str, trains: bool) -> None:
        self._folder, self._in_process, self._trains = folder, in_process, trains
        files = written_files(folder / "videos")
        whole = files[0].read_bytes()
        (folder / "videos" / "cut.mp4").write_bytes(whole[: len(whole) // 2])
        (folder / "videos" / "noise.mp4").write_bytes(b"no video")
        for number, file in enumerate(files[:8]):
            for copy in range(2):
                target = folder / "labelled" / ("run", "jump")[number % 2] / f"{copy}_{file.name}"
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, target)
        labels = folder / "labels.txt"
        labels.write_text("run\njump\n")
        make_bundle("simple3d", weights="random", labels=str(labels), arguments={"width": 0.25}, seed=1).save(
            folder / "bundle"
        )

    def go(self) -> None:
        """Do a job of each kind, and throw away what it wrote."""
        model, target = self._folder / "bundle", self._folder / "out"
        target.mkdir()
        options: dict[str, Any] = {"model": model, "in_process": self._in_process, "max_error_fraction": 1.0}
        report = vidcnn.infer(self._folder / "videos", out=target / "preds.parquet", **options)
        if not report.num_clips_done:
            raise AssertionError("nothing was classified")
        if self._trains:
            settings: dict[str, Any] = {"model": "simple3d", "epochs": 1, "batch_size": 4, "workers": 1}
            settings |= {"num_frames": 4, "stride": 2, "resize": 40, "crop": 32}
            vidcnn.train(self._folder / "labelled", out=target / "run", **settings)
            vidcnn.evaluate(self._folder / "labelled", model=target / "run" / "bundle")
        shutil.rmtree(target)


def soak(place: Place, seconds: float) -> list[dict[str, float]]:
    """Do rounds until the time is over, and return what was there after each."""
    began = time.monotonic()
    rounds: list[dict[str, float]] = []
    names = ("minutes", "memory_mb", "descriptors", "threads", "processes", "shared memory", "files")
    print(*(f"{name:>14}" for name in ("round", *names)), flush=True)
    while time.monotonic() - began < seconds:
        place.go()
        gc.collect()
        rounds.append({"minutes": (time.monotonic() - began) / 60, **settled()})
        if len(rounds) <= WARM_ROUNDS or len(rounds) % 10 == 0:
            print(f"{len(rounds):14}", *(f"{rounds[-1][name]:14.1f}" for name in names), flush=True)
    return rounds


def settled() -> dict[str, float]:
    """Count what there is, once processes that are ending have ended."""
    deadline = time.monotonic() + 20
    while (found := counts())["processes"] > 0 and time.monotonic() < deadline:
        time.sleep(0.2)
    return found


def counts() -> dict[str, float]:
    """Count what this process and those below it have, and what lies in shared memory and in the temporary folder."""
    me = psutil.Process()
    children = [child for child in me.children(recursive=True) if child.status() != psutil.STATUS_ZOMBIE]
    return {
        "memory_mb": round(sum(own_bytes(process.pid) for process in (me, *children)) / 1e6, 1),
        "descriptors": me.num_fds(),
        "threads": threading.active_count(),
        "processes": len(children),
        "shared memory": len(os.listdir("/dev/shm")),
        "files": len(os.listdir(tempfile.gettempdir())),
    }


def own_bytes(pid: int) -> int:
    """Return what a process has in memory that is its own: files that it maps are others' too, and come and go."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return sum(
        int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith(("RssAnon:", "RssShmem:"))
    )


def faults_of(rounds: list[dict[str, float]]) -> list[str]:
    """Return what has become more between the first rounds and the last, in words."""
    if len(rounds) < 2 * WARM_ROUNDS:
        return [f"only {len(rounds)} rounds were done: give it more minutes"]
    first, last = rounds[WARM_ROUNDS - 1 : 2 * WARM_ROUNDS - 1], rounds[-WARM_ROUNDS:]
    faults = []
    for name, most in {"memory_mb": MAX_GROWTH_MB, **MAX_MORE}.items():
        before, after = (sorted(one[name] for one in some)[len(some) // 2] for some in (first, last))
        if after > before + most:
            faults.append(f"{name}: {before:g} after the first rounds, {after:g} at the end")
    return faults


if __name__ == "__main__":
    sys.exit(main())
