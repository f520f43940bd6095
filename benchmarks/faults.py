"""What is lost when something fails: rows lost, double and changed, which should be 0, 0 and 0, for each fault.

A fault comes over a run of `vidcnn` at a moment that is drawn. When the run has ended, however it did, what is
committed is compared with the rows of an undisturbed run; then the same command is given until it ends with exit code
0, and the whole table is compared. A fault that came too late is drawn again, and one that this machine cannot have is
skipped, with the reason.

    python benchmarks/faults.py [--fault NAME ...] [--times 3] [--seed 1] [--quick] [--json FILE]
    python benchmarks/faults.py --list
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from environment import environment
from failing import disks, machine, nodes, objects, training, videos
from failing.stage import MissedError, Stage, StallError, Trial, UnfitError
from killing.run import Kill
from killing.run import Stage as KillingStage
from killing.server import running_server
from killing.table import Difference
from killing.victims import VICTIMS
from kills import PLANNED, TABLES
from kills import Trial as KillingTrial

Act = Callable[[Stage, random.Random], None]
MAX_MISSED = 6
RESULTS = Path(__file__).parent / "results" / "faults.json"

ACTS: dict[str, tuple[Act, str]] = {
    "kill-ddp-rank": (training.killed_rank, "one of two workers that train together is killed"),
    "node-silent": (nodes.silent_node, "a node of a cluster answers nothing any more"),
    "paused": (machine.paused, "all processes of a run stand still for two minutes, and another run comes"),
    "clock-jumps": (machine.clock_jumps, "the clock jumps forwards or backwards by up to 400 days"),
    "disk-full": (disks.full, "the disk of the output becomes full"),
    "disk-no-inodes": (disks.no_inodes, "the disk of the output has room for no more names"),
    "disk-read-only": (disks.read_only, "the kernel makes the disk of the output read-only"),
    "disk-slow": (disks.slow, "whatever writes to the disk waits, for up to three seconds, again and again"),
    "scratch-full": (disks.scratch_full, "the disk of the temporary files becomes full"),
    "power-cut": (disks.power_cut, "the power fails: what was not synchronised is thrown away"),
    "shm-small": (machine.small_shared_memory, "/dev/shm has 64 KB to 90 MB"),
    "shm-full": (machine.full_shared_memory, "/dev/shm becomes full"),
    "open-files": (machine.few_open_files, "no process can open more than three more files"),
    "storage-500": (objects.errors, "object storage answers 500, to some requests or to all"),
    "storage-503": (objects.busy, "object storage answers 503, to some requests or to all"),
    "storage-slow": (objects.slow, "object storage answers late"),
    "storage-cut": (objects.cut_off, "object storage breaks off in the middle of what it sends"),
    "storage-truncated": (objects.truncated, "object storage sends half of an object, as if that were all"),
    "storage-500-later": (objects.errors_later, "object storage answers 500 in the middle of a run"),
    "storage-503-later": (objects.busy_later, "object storage answers 503 in the middle of a run"),
    "storage-slow-later": (objects.slow_later, "object storage answers late in the middle of a run"),
    "storage-cut-later": (objects.cut_off_later, "object storage breaks off what it sends in the middle of a run"),
    "storage-truncated-later": (
        objects.truncated_later,
        "object storage sends halves of objects in the middle of a run",
    ),
    "pause-lease": (
        objects.paused_lease,
        "a run stands still until another one has taken its output over and done all",
    ),
    "storage-stale": (objects.stale_lists, "lists of object storage do not show what was written in the last 4 s"),
    "storage-stale-deleted": (
        objects.lingering_lists,
        "lists of object storage still show what was deleted in the last 4 s",
    ),
    "video-changed": (videos.changed, "a video is replaced by another"),
    "video-truncated": (videos.truncated, "a video is cut in two"),
    "video-grown": (videos.grown, "a video grows"),
    "video-deleted": (videos.deleted, "a video is deleted"),
    "video-directory": (videos.replaced_by_directory, "a directory takes the place of a video"),
    "ten-on-one": (videos.ten_on_one_output, "ten runs at once on one output"),
    "ten-on-ten": (videos.ten_on_ten_outputs, "ten runs at once on ten outputs"),
}
"""Each fault by name: what brings it about, and what it is in words."""
WHEN = {"plan": "while videos are planned", "decode": "while they are decoded", "commit": "around a commit",
        "publish": "while the table is put together"}  # fmt: skip
KILLS = {f"kill-{victim}-{phase}": (victim, phase) for victim, phase in PLANNED}
FAULTS = {
    **{name: f"{VICTIMS[victim]} is killed {WHEN[phase]}" for name, (victim, phase) in KILLS.items()},
    **{name: about for name, (_, about) in ACTS.items()},
}
"""All faults by name, in words."""


@dataclass
class Tally:
    """What all trials of a fault came to: one line of the table."""

    fault: str
    about: str
    tried: int = 0
    runs: int = 0
    lost: int = 0
    double: int = 0
    changed: int = 0
    stalled: int = 0
    missed: int = 0
    skipped: str = ""
    seed: int = 0
    date: str = ""

    @property
    def is_good(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.lost or self.double or self.changed or self.stalled)

    def add(self, num_runs: int, difference: Difference) -> None:
        """Count a trial."""
        self.tried += 1
        self.runs += num_runs
        self.lost += difference.lost
        self.double += difference.double
        self.changed += difference.changed

    def line(self) -> str:
        """Return the line."""
        if self.skipped:
            return f"{self.fault:22} skipped: {self.skipped}"
        wrong = f"; {self.stalled} stalled" if self.stalled else ""
        numbers = f"{self.lost} lost, {self.double} double, {self.changed} changed"
        return f"{self.fault:22} tried {self.tried} in {self.runs} runs: {numbers}{wrong}"


class Theatre:
    """The stages, each made when it is first needed."""

    def __init__(self, stack: ExitStack, *, quick: bool) -> None:
        self._stack = stack
        self._scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="faults-")))
        self._quick = quick
        self._stage: Stage | None = None
        self._killing: KillingStage | None = None
        self._tables = deque(TABLES)

    def try_act(self, act: Act, rng: random.Random) -> Trial:
        """Try a fault of a short run."""
        if self._stage is None:
            (self._scratch / "short").mkdir()
            self._stage = Stage(self._scratch / "short", quick=self._quick)
        self._stage.trial = Trial()
        try:
            act(self._stage, rng)
        finally:
            self._stage.abandon()
        return self._stage.trial

    def try_kill(self, victim: str, phase: str, rng: random.Random) -> Trial:
        """Try a kill in a run of many batches."""
        if self._killing is None:
            (self._scratch / "long").mkdir()
            self._killing = KillingStage(self._scratch / "long", self._stack.enter_context(running_server()))
        storage, is_file = self._tables[0]
        self._tables.rotate(-1)
        place = self._killing.new_place(storage, is_file=is_file or phase == "publish")
        trial = KillingTrial(self._killing, place, rng, None)
        trial.go(Kill(rng.randrange(10**6), victim, phase), deque())
        place.close()
        if not trial.records:
            raise MissedError
        codes, said = [record.exit_code or 0 for record in trial.records], [record.said for record in trial.records]
        return Trial(trial.num_runs, codes, trial.difference, said)


def try_fault(name: str, times: int, seed: int, theatre: Theatre) -> Tally:
    """Try a fault so many times, each with a seed of its own."""
    tally = Tally(name, FAULTS[name], seed=seed, date=datetime.now(UTC).date().isoformat())
    number = 0
    while tally.tried + tally.stalled < times and tally.missed < times * MAX_MISSED:
        rng = random.Random(f"{name} {seed} {number}")
        number += 1
        try:
            trial = theatre.try_kill(*KILLS[name], rng) if name in KILLS else theatre.try_act(ACTS[name][0], rng)
        except MissedError:
            tally.missed += 1
        except UnfitError as error:
            tally.skipped = str(error)
            break
        except StallError as error:
            tally.stalled += 1
            print(f"{name} {seed} {number - 1}: {error}", flush=True)
        else:
            tally.add(trial.num_runs, trial.difference)
            said = f": {trial.said[0]}" if trial.said else ""
            print(f"    {name} {number - 1}: exit codes {trial.codes}{said}", flush=True)
            if trial.difference:
                print(f"    {name} {seed} {number - 1}: {trial.difference}", flush=True)
    return tally


def write(tallies: list[Tally], path: Path) -> None:
    """Write the results; of faults that were not tried now, those that are there stay."""
    before: dict[str, Any] = json.loads(path.read_text())["faults"] if path.exists() else {}
    found = before | {tally.fault: asdict(tally) for tally in tallies}
    report = {
        **environment(("ray", "pyarrow", "av", "torch")),
        "faults": {name: found[name] for name in FAULTS if name in found},
    }
    path.write_text(json.dumps(report, indent=2) + "\n")


def table(path: Path = RESULTS) -> str:
    """Return the results as the table of docs/reliability.md: a line for each fault that was tried."""
    found = json.loads(path.read_text())["faults"] if path.exists() else {}
    lines = ["| fault | what happens | tried | lost | double | changed |", "| --- | --- | --- | --- | --- | --- |"]
    for name, about in FAULTS.items():
        if name in found and found[name]["tried"]:
            numbers = [found[name][kind] for kind in ("tried", "lost", "double", "changed")]
            lines.append(f"| `{name}` | {about} | {' | '.join(map(str, numbers))} |")
    return "\n".join(lines) + "\n"


def enter_private_mounts() -> None:
    """Begin again where what is mounted is seen by this program alone, if that is allowed."""
    if "FAULTS_PRIVATE" in os.environ:
        return
    os.environ["FAULTS_PRIVATE"] = "no"
    for options in (["-m"], ["-U", "-r", "-m"]):
        probe = ["unshare", *options, "sh", "-c", "mount -t tmpfs probe /mnt"]
        if shutil.which("unshare") and subprocess.run(probe, capture_output=True, check=False).returncode == 0:
            os.environ["FAULTS_PRIVATE"] = "yes"
            os.execvp("unshare", ["unshare", *options, sys.executable, *sys.argv])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fault", nargs="+", choices=FAULTS, default=list(FAULTS), metavar="NAME")
    parser.add_argument("--times", type=int, default=3, help="how often to try each")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="without Ray where it need not be, and with short pauses")
    parser.add_argument("--json", type=Path, help="write the results; those of other faults there stay")
    parser.add_argument("--list", action="store_true", help="name the faults")
    parser.add_argument("--table", action="store_true", help="print the table of docs/reliability.md")
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join(f"{name:22} {about}" for name, about in FAULTS.items()))
        return
    if arguments.table:
        print(table(), end="")
        return
    enter_private_mounts()
    tallies = []
    began = time.monotonic()
    with ExitStack() as stack:
        theatre = Theatre(stack, quick=arguments.quick)
        for name in arguments.fault:
            tallies.append(try_fault(name, arguments.times, arguments.seed, theatre))
            print(tallies[-1].line(), flush=True)
            if arguments.json:
                write(tallies, arguments.json)
    print(f"{sum(tally.tried for tally in tallies)} trials in {time.monotonic() - began:.0f} s")
    if not all(tally.is_good and (tally.tried == arguments.times or tally.skipped) for tally in tallies):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
