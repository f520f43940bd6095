"""Workers that train together, one of which is killed: the weights at the end are those of an undisturbed run."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import torch
from killing.source import write_walk
from killing.table import Difference

from failing.stage import MissedError, Stage

NUM_STEPS = 40


def killed_rank(stage: Stage, rng: random.Random) -> None:
    """Kill one of the workers after a checkpoint that is drawn; a tensor that differs is a row that changed."""
    base = stage.new_folder()
    for number in range(8):
        folder = base / "labelled" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        write_walk(folder / f"{number}.mp4", 24, seed=number)
    stage.again(_line(base / "labelled", base / "undisturbed"))
    run = stage.start(_line(base / "labelled", base / "run"))
    first = rng.randrange(1, NUM_STEPS // 2)
    while not run.is_over and _newest(base / "run") < first:
        time.sleep(0.01)
    workers = [pid for pid, title in _titles(run.tree()) if "RayTrainWorker" in title]
    if run.is_over or not workers:
        stage.end(run)
        raise MissedError
    os.kill(rng.choice(workers), signal.SIGKILL)
    stage.end(run)
    stage.again(_line(base / "labelled", base / "run"))
    expected, found = _weights(base / "undisturbed"), _weights(base / "run")
    stage.trial.difference = Difference(
        lost=len(expected.keys() - found.keys()),
        double=len(found.keys() - expected.keys()),
        changed=sum(not torch.equal(expected[name], found[name]) for name in expected.keys() & found.keys()),
    )


def _line(data: Path, run: Path) -> list[str]:
    given = {
        "data": data, "out": run, "model": "simple3d", "crop": 32, "width": 0.25, "workers": 2, "precision": "fp32",
        "batch-size": 4, "epochs": NUM_STEPS * 4 // 8, "val-fraction": 0, "flip": "off", "checkpoint-seconds": 0.01,
        "cache-gb": 0,
    }  # fmt: skip
    return [sys.executable, "-m", "vidcnn", "train", *(f"--{name}={value}" for name, value in given.items()), "--quiet"]


def _newest(run: Path) -> int:
    return max((int(path.stem[5:]) for path in (run / "checkpoints").glob("step_*.pt")), default=0)


def _weights(run: Path) -> dict[str, torch.Tensor]:
    newest = max((run / "checkpoints").glob("step_*.pt"))
    found: dict[str, torch.Tensor] = torch.load(newest, weights_only=True)["network"]
    return {f"{newest.name} {name}": tensor for name, tensor in found.items()}


def _titles(processes: list[psutil.Process]) -> list[tuple[int, str]]:
    found = []
    for process in processes:
        with suppress(psutil.Error):
            found.append((process.pid, " ".join(process.cmdline())))
    return found
