"""What a training recipe reaches: cross-validation over the values of a column.

For each value of the column, `vidcnn train` learns from the other rows, and `vidcnn evaluate` measures on those with
the value. Nothing is chosen by looking at them: validation takes place after the last step only, so the weights are
the last ones.

    python benchmarks/crossval.py --job jobs/surv_fight.yaml --data clips.csv --column fold --group scene_group
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from environment import environment

PACKAGES = ("torch", "torchvision", "ray", "av", "opencv-python-headless", "numpy")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--job", type=Path, required=True, help="a job spec of vidcnn train")
    parser.add_argument("--data", required=True, help="a .csv with the column")
    parser.add_argument("--column", required=True, help="column of the folds")
    parser.add_argument("--group", required=True, help="column whose values must not be in two folds")
    parser.add_argument("--clips", type=int, default=3, help="clips of each video that are scored")
    parser.add_argument("--crops", choices=("1", "3"), default="1", help="crops of each clip that are scored")
    parser.add_argument("--option", action="append", default=[], help="further option of vidcnn train, NAME=VALUE")
    parser.add_argument("--out", type=Path, help="write the figures as JSON too")
    arguments = parser.parse_args()
    with open(arguments.data, newline="") as file:
        values = sorted({row[arguments.column] for row in csv.DictReader(file)})
    began = time.monotonic()
    folds = []
    with tempfile.TemporaryDirectory() as scratch:
        for value in values:
            folds.append(measure(arguments, value, Path(scratch)))
            print(f"{arguments.column} {value}: " + summary(folds[-1]), flush=True)
    top1 = [fold["top1"] for fold in folds]
    num_videos = [fold["num_videos"] for fold in folds]
    report = {
        **environment(PACKAGES),
        "job": arguments.job.name,
        "options": arguments.option,
        "views": f"{arguments.clips} clips x {arguments.crops} crops",
        "top1": sum(a * b for a, b in zip(top1, num_videos, strict=True)) / sum(num_videos),
        "top1_mean_of_folds": statistics.mean(top1),
        "top1_standard_deviation_of_folds": statistics.stdev(top1) if len(top1) > 1 else None,
        "minutes": (time.monotonic() - began) / 60,
        "folds": folds,
    }
    print(json.dumps(report, indent=2))
    if arguments.out:
        arguments.out.write_text(json.dumps(report, indent=2) + "\n")


def measure(arguments: argparse.Namespace, value: str, scratch: Path) -> dict[str, Any]:
    """Train without the rows of one value, and measure on them."""
    where = ["--val-where", f"{arguments.column}={value}", "--split-by", arguments.group]
    run = scratch / value
    options = [f"--{option}" for option in arguments.option]
    train = ["train", arguments.job, "--data", arguments.data, "--out", run, "--val-epochs", "100000", *where, *options]
    began = time.monotonic()
    trained = vidcnn(*train)
    seconds = time.monotonic() - began
    views = ["--clips", str(arguments.clips), "--crops", arguments.crops, "--split", "val"]
    found = vidcnn("evaluate", arguments.data, "--model", run / "bundle", *views, *where)
    notes = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    last = [note for note in notes if note["kind"] == "train"][-1]
    return {
        "fold": value,
        "num_videos": found["num_videos"],
        "top1": found["top1"],
        "clip_top1": found["clip_top1"],
        "confusion": found["videos"]["confusion"],
        "training_top1": last["top1"],
        "training_loss": last["loss"],
        "steps": trained["steps"],
        "waiting": trained["waiting"],
        "seconds": seconds,
    }


def summary(fold: dict[str, Any]) -> str:
    """Say in a line what a fold reached."""
    return (
        f"top-1 {fold['top1']:.1%} of {fold['num_videos']} videos, {fold['clip_top1']:.1%} of clips "
        f"(training {fold['training_top1']:.1%}), {fold['seconds']:.0f} s, {fold['waiting']:.0%} waiting"
    )


def vidcnn(*arguments: Any) -> dict[str, Any]:
    """Run a command and return what it prints as JSON."""
    line = [sys.executable, "-m", "vidcnn", *map(str, arguments), "--json", "--quiet"]
    done = subprocess.run(line, stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


if __name__ == "__main__":
    main()
