"""What is lost when processes of a run are killed: rows lost, double and changed, which should be 0, 0 and 0.

Runs `vidcnn infer` over videos of many batches per segment, kills one of its processes at a moment of one of its
phases, runs the same command again, perhaps kills it again, until it ends with exit code 0, and holds the table against
that of an undisturbed run: all columns, in any order. Between a kill and the next run, the rows that are committed are
held against it too. Moments are found by looking at files, requests, titles and processor times, never by waiting a
while; a kill that met nobody, or a run that had nothing or everything done, is counted as missed and drawn again.

    python benchmarks/kills.py [--kills 50] [--seed 1] [--only VICTIM/PHASE] [--storage local,s3] [--out FILE]
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import tempfile
import time
from collections import deque
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from environment import environment
from killing.places import Place
from killing.run import RUN_SECONDS, Kill, Record, Run, Stage
from killing.server import running_server
from killing.table import Difference, by_clip, compare
from killing.victims import VICTIMS

PLANNED: dict[tuple[str, str], tuple[str, ...]] = {
    ("driver", "plan"): ("begun", "started", "planning", "loading"),
    ("driver", "decode"): ("decoding",),
    ("driver", "commit"): ("writing", "aside", "written"),
    ("driver", "publish"): ("merging", "merged", "clearing"),
    ("raylet", "plan"): ("started", "planning", "loading"),
    ("raylet", "decode"): ("decoding",),
    ("raylet", "commit"): ("writing", "written"),
    ("raylet", "publish"): ("merging", "merged", "clearing"),
    ("gcs", "plan"): ("started", "planning", "loading"),
    ("gcs", "decode"): ("decoding",),
    ("gcs", "commit"): ("writing", "written"),
    ("planner", "plan"): ("planning",),
    ("decoder", "decode"): ("decoding",),
    ("decoder", "commit"): ("held",),
    ("task", "decode"): ("decoding",),
    ("task", "commit"): ("held",),
    ("actor", "plan"): ("loading",),
    ("actor", "decode"): ("decoding",),
    ("actor", "commit"): ("writing", "written"),
}
"""The moments at which each victim is killed in each phase: see `killing.places` for those that files tell. A decoder
is ``held`` in the middle of its work until something is committed without it."""
SHORT = (
    ("driver", "publish"),
    ("driver", "commit"),
    ("raylet", "decode"),
    ("decoder", "decode"),
    ("task", "commit"),
    ("actor", "plan"),
)
"""A few kills with which each victim and each phase is met."""
TABLES = [(storage, is_file) for storage in ("local", "s3") for is_file in (True, False)]
MAX_RUNS = 12
"""Runs of one command until it should have come to its end."""


class Trial:
    """One output: runs of the command until it ends well, with kills on the way.

    Args:
        stage: Where the runs happen.
        place: The output.
        rng: Draws all that is drawn.
        num_strikes: How often decoders are killed in a row, so that work that was given to others is lost once more.
    """

    def __init__(self, stage: Stage, place: Place, rng: random.Random, num_strikes: int | None) -> None:
        self._stage = stage
        self._num_strikes = num_strikes
        self._place = place
        self._rng = rng
        self._table = f"{place.storage} {'file' if place.is_file else 'folder'}"
        self.records: list[Record] = []
        self.missed: list[Kill] = []
        self.difference = Difference()
        self.num_runs = 0

    def go(self, first: Kill, planned: deque[Kill]) -> None:
        """Kill as planned, and perhaps again in the next run, until a run ends with exit code 0."""
        next_kill: Kill | None = first
        code: int | None = None
        while self.num_runs < MAX_RUNS:
            code = self._run(next_kill)
            if code in (0, None):
                break
            self._compare(is_whole=False)
            next_kill = None
            if code == 75:
                time.sleep(5)  # object storage holds a dead run for alive for a while
            elif self.records and self._rng.random() < 0.5 and planned and self._suits(planned[0]):
                next_kill = planned.popleft()
        self._compare(is_whole=True)

    def _run(self, planned: Kill | None) -> int | None:
        self.num_runs += 1
        run = Run(self._stage, self._place)
        try:
            return self._strike(run, planned) if planned is not None else run.end()[0]
        except BaseException:
            run.abandon()
            raise

    def _strike(self, run: Run, planned: Kill) -> int | None:
        moments = PLANNED[planned.victim, planned.phase]
        if self._place.storage != "local":
            moments = tuple(moment for moment in moments if moment != "aside")  # nothing is renamed there
        moment = self._rng.choice(moments)
        record = Record(planned.seed, planned.victim, planned.phase, moment, self._table)
        times = (self._num_strikes or self._rng.choice((1, 2))) if planned.victim in ("decoder", "task") else 1
        while record.num_struck < times and run.strike(planned, record, self._rng):
            record.num_struck += 1
        record.exit_code, record.said = run.end()
        if record.exit_code is None:
            record.said = f"stalled for {RUN_SECONDS:.0f} s"
        if record.num_struck:
            self.records.append(record)
        else:
            self.missed.append(planned)
        return record.exit_code

    def _suits(self, planned: Kill) -> bool:
        return self.records[-1].phase != "publish" and (self._place.is_file or planned.phase != "publish")

    def _compare(self, *, is_whole: bool) -> None:
        difference = compare(by_clip(self._place.read()), self._stage.expected, is_whole=is_whole)
        self.difference = self.difference.plus(difference)
        if self.records:
            self.records[-1].difference = self.records[-1].difference.plus(difference)


class Account:
    """What all trials come to."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.difference = Difference()
        self.num_runs = 0
        self.num_missed = 0

    def add(self, trial: Trial) -> None:
        """Count a trial that has ended."""
        self.records += trial.records
        self.difference = self.difference.plus(trial.difference)
        self.num_runs += trial.num_runs
        self.num_missed += len(trial.missed)

    @property
    def num_silent(self) -> int:
        """Runs that were not killed themselves, and ended with an error and no word about it."""
        return sum(
            record.exit_code not in (0, None) and record.victim != "driver" and not record.said
            for record in self.records
        )

    def summary(self) -> str:
        """Return all of it in a line."""
        return (
            f"{len(self.records)} kills in {self.num_runs} runs, {self.num_missed} missed; rows: {self.difference}; "
            f"{self.num_silent} runs ended without a word"
        )

    def report(self, seed: int, seconds: float) -> dict[str, Any]:
        """Return all of it for a file."""
        return {
            **environment(("ray", "pyarrow", "av", "torch")),
            "seed": seed,
            "kills": len(self.records),
            "missed": self.num_missed,
            "runs": self.num_runs,
            "seconds": round(seconds),
            "rows": asdict(self.difference),
            "silent": self.num_silent,
            "records": [asdict(record) for record in self.records],
        }


def draw(number: int, seed: int, only: str, *, short: bool = False) -> deque[Kill]:
    """Plan kills, spread evenly over victims and phases."""
    rng = random.Random(seed)
    if short:
        return deque(Kill(rng.randrange(10**6), *SHORT[index % len(SHORT)]) for index in range(number))
    victim, _, phase = only.partition("/")
    cells = [cell for cell in PLANNED if victim in ("", cell[0]) and phase in ("", cell[1])]
    if not cells:
        known = ", ".join("/".join(cell) for cell in PLANNED)
        raise SystemExit(f"--only {only} is none of {known}")
    planned: deque[Kill] = deque()
    while len(planned) < number:
        rng.shuffle(cells)
        planned.extend(Kill(rng.randrange(10**6), *cell) for cell in cells[: number - len(planned)])
    return planned


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help=f"VICTIM/PHASE, or VICTIM: {', '.join(VICTIMS)}")
    parser.add_argument("--strikes", type=int, help="kill decoders so often in a row; drawn where it is not given")
    parser.add_argument("--storage", default="local,s3", help="local, s3, or both, divided by a comma")
    parser.add_argument("--short", action="store_true", help="few kinds of kills, with each victim and each phase")
    parser.add_argument("--out", type=Path, help="write the report as JSON too")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    planned = draw(arguments.kills, arguments.seed, arguments.only, short=arguments.short)
    tables = deque(table for table in TABLES if table[0] in arguments.storage.split(","))
    account = Account()
    began = time.monotonic()
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="faults-")))
        stage = Stage(scratch, stack.enter_context(running_server()))
        while planned and account.num_missed <= 2 * arguments.kills:
            first = planned.popleft()
            rng = random.Random(first.seed)
            storage, is_file = tables[0]
            tables.rotate(-1)
            place = stage.new_place(storage, is_file=is_file or first.phase == "publish")
            trial = Trial(stage, place, rng, arguments.strikes)
            trial.go(first, planned)
            place.close()
            for record in trial.records:
                print(record, flush=True)
            for missed in trial.missed:
                print(f"seed {missed.seed:<6} {missed.victim:10} {missed.phase:8} missed", flush=True)
                planned.append(Kill(rng.randrange(10**6), missed.victim, missed.phase))
            account.add(trial)
            print(f"    so far {account.summary()}", flush=True)
            if arguments.out:
                report = account.report(arguments.seed, time.monotonic() - began)
                arguments.out.write_text(json.dumps(report, indent=2) + "\n")
    print(f"{account.summary()} in {time.monotonic() - began:.0f} s")
    if account.difference or account.num_silent or len(account.records) < arguments.kills:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
