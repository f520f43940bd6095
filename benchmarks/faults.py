"""What is lost when processes of a run are killed: rows lost, double and changed, which should be 0, 0 and 0.

Runs `vidcnn infer` over videos of many batches per segment, kills one of its processes at a moment of one of its
phases, runs the same command again, perhaps kills it again, until it ends with exit code 0, and holds the table against
that of an undisturbed run: all columns, in any order. Between a kill and the next run, the rows that are committed are
held against it too. Moments are found by looking at files, requests, titles and processor times, never by waiting a
while; a kill that met nobody, or a run that had nothing or everything done, is counted as missed and drawn again.

    python benchmarks/faults.py [--kills 50] [--seed 1] [--only VICTIM/PHASE] [--storage local,s3] [--out FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from collections import deque
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import pyarrow.parquet as pq
from killing.places import Place, in_bucket, on_disk, read_table
from killing.server import Server, running_server
from killing.source import CLIP_STEP, make_model, make_source
from killing.table import Difference, Rows, by_clip, compare
from killing.victims import VICTIMS, Processes, kill, let_go, stop

PLANNED: dict[tuple[str, str], tuple[str, ...]] = {
    ("driver", "plan"): ("begun", "started", "planning", "loading"),
    ("driver", "decode"): ("decoding",),
    ("driver", "commit"): ("writing", "written"),
    ("driver", "publish"): ("merging", "merged", "clearing"),
    ("raylet", "plan"): ("started", "planning", "loading"),
    ("raylet", "decode"): ("decoding",),
    ("raylet", "commit"): ("writing", "written"),
    ("raylet", "publish"): ("merging", "merged", "clearing"),
    ("planner", "plan"): ("planning",),
    ("decoder", "decode"): ("decoding",),
    ("decoder", "commit"): ("held",),
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
    ("decoder", "commit"),
    ("actor", "plan"),
)
"""A few kills with which each victim and each phase is met."""
TABLES = [(storage, is_file) for storage in ("local", "s3") for is_file in (True, False)]
BUSY_SECONDS = (0.01, 0.03, 0.05, 0.1, 0.2)
"""Processor time that a decoder has taken when it is killed: before its first batch, and after some."""
RUN_SECONDS = 600.0
"""A run that takes longer has stalled."""
COMMIT_SECONDS = 120.0
"""A commit without a decoder that is held comes in this time, or never."""
MAX_RUNS = 12
"""Runs of one command until it should have come to its end."""


@dataclass(frozen=True)
class Kill:
    """A kill that is planned.

    Attributes:
        seed: What all that is drawn for it depends on.
        victim: One of `VICTIMS`.
        phase: ``plan``, ``decode``, ``commit`` or ``publish``.
    """

    seed: int
    victim: str
    phase: str


@dataclass
class Record:
    """What became of a kill: one line of the report."""

    seed: int
    victim: str
    phase: str
    moment: str
    table: str
    num_struck: int = 0
    rows_committed: int = 0
    rows_planned: int = 0
    exit_code: int | None = None
    said: str = ""
    difference: Difference = field(default_factory=Difference)

    def __str__(self) -> str:
        """Return the line."""
        times = f" x{self.num_struck}" if self.num_struck > 1 else ""
        wrong = f"; {self.difference}" if self.difference else ""
        return (
            f"seed {self.seed:<6} {self.victim + times:10} {self.phase:8} {self.moment:14} {self.table:12} "
            f"{self.rows_committed:5} of {self.rows_planned} rows committed, exit {self.exit_code}: {self.said}{wrong}"
        )


class Stage:
    """Where all runs happen: one source, one model, and the rows that they should give."""

    def __init__(self, scratch: Path, server: Server) -> None:
        self._scratch = scratch
        self._server = server
        self._num_places = 0
        self.source, self.model = scratch / "videos", scratch / "model"
        make_source(self.source)
        make_model(self.model)
        self.expected: Rows = {}
        out = scratch / "undisturbed.parquet"
        done = subprocess.run(self.command(str(out)), capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"the undisturbed run failed: {done.stderr}")
        self.expected = by_clip(read_table(str(out)))
        assert all(len(rows) == 1 for rows in self.expected.values())
        assert pq.read_metadata(out).num_rows == len(self.expected)

    def command(self, out: str) -> list[str]:
        """Return the command that all runs are."""
        given = {"--out": out, "--model": self.model, "--step": CLIP_STEP, "--precision": "fp32", "--compile": "off"}
        options = [str(text) for option in given.items() for text in option]
        return [sys.executable, "-m", "vidcnn", "infer", str(self.source), *options, "--quiet", "--json"]

    def new_place(self, storage: str, *, is_file: bool) -> Place:
        """Return an output that nobody has written."""
        self._num_places += 1
        name = f"preds_{self._num_places}{'.parquet' if is_file else ''}"
        return on_disk(self._scratch, name) if storage == "local" else in_bucket(self._server, name)


class Run:
    """A run of the command on a place, which may be killed."""

    def __init__(self, stage: Stage, place: Place) -> None:
        self._stage = stage
        self._place = place
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the run has ended
        place.prepare()
        self._process = subprocess.Popen(
            stage.command(place.out), stdout=subprocess.DEVNULL, stderr=self._errors, stdin=subprocess.DEVNULL
        )
        self._processes = Processes(self._process.pid)
        self._deadline = time.monotonic() + RUN_SECONDS

    def strike(self, planned: Kill, record: Record, rng: random.Random) -> bool:
        """Wait for the moment of a kill, and kill; tell whether it met somebody, with something left to do."""
        busy_seconds = rng.choice(BUSY_SECONDS)
        moment = record.moment
        if not self._reach(moment, busy_seconds):
            return False
        victims = self._victims(planned.victim)
        if moment == "held" and not (victims := self._hold(victims)):
            return False
        committed = self._place.read() if victims else None
        if not victims or committed is None:
            self._let_on()
            return False
        record.rows_committed, record.rows_planned = committed.num_rows, len(self._stage.expected)
        if planned.victim != "decoder":
            victims = [rng.choice(victims)]
        begins = committed.num_rows > 0 or moment != "held"
        is_left = committed.num_rows < len(self._stage.expected) or (self._place.is_file and planned.phase != "plan")
        killed = [kill(victim) for victim in victims] if is_left and begins else []
        for victim in victims:
            let_go(victim)
        self._let_on()
        return any(killed)

    def end(self) -> tuple[int | None, str]:
        """Let the run come to its end, and return its exit code and the last line of what it said."""
        while self._process.poll() is None and time.monotonic() < self._deadline:
            self._place.events(0.02)
            self._place.let_on()
        code = self._process.poll()
        if code is None:
            self._process.kill()
            self._process.wait()
        self._place.let_on()
        self._processes.end()
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").split("\n")
        self._errors.close()
        return code, next((line for line in lines if line.strip()), "" if code == 0 else "(said nothing)")[:160]

    def _reach(self, moment: str, busy_seconds: float) -> bool:
        """Wait for a moment, and stop the driver in it."""
        while self._process.poll() is None and time.monotonic() < self._deadline:
            if moment in self._place.events(0.003):
                stop(self._process.pid)
                return True
            self._place.let_on()
            if self._is_at(moment, busy_seconds):
                stop(self._process.pid)
                return True
        return False

    def _hold(self, decoders: list[int]) -> list[int]:
        """Stop one of the decoders until something is committed; none are returned where that does not happen."""
        if not decoders:
            self._let_on()
            return []
        stop(decoders[0])
        self._let_on()
        deadline = self._deadline
        self._deadline = min(deadline, time.monotonic() + COMMIT_SECONDS)
        is_committed = self._reach("written", 0)
        self._deadline = deadline
        if is_committed:
            return decoders[:1]
        let_go(decoders[0])
        return []

    def _is_at(self, moment: str, busy_seconds: float) -> bool:
        if moment == "begun":
            return self._place.is_begun()
        if moment in ("decoding", "held"):
            return any(seconds >= busy_seconds for seconds in self._processes.busy_seconds("decoder").values())
        sought = {"started": "raylet", "planning": "planner", "loading": "actor"}.get(moment)
        return sought is not None and bool(self._processes.find(sought))

    def _victims(self, victim: str) -> list[int]:
        if victim == "decoder":
            return [pid for pid, seconds in self._processes.busy_seconds(victim).items() if seconds > 0]
        return self._processes.find(victim)

    def _let_on(self) -> None:
        let_go(self._process.pid)
        self._place.let_on()


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
        if planned is None:
            return run.end()[0]
        moment = self._rng.choice(PLANNED[planned.victim, planned.phase])
        record = Record(planned.seed, planned.victim, planned.phase, moment, self._table)
        times = (self._num_strikes or self._rng.choice((1, 2))) if planned.victim == "decoder" else 1
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
        if is_whole or difference:
            self.difference = difference
            if self.records:
                self.records[-1].difference = difference


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
    planned = draw(arguments.kills, arguments.seed, arguments.only, short=arguments.short)
    tables = deque(table for table in TABLES if table[0] in arguments.storage.split(","))
    records: list[Record] = []
    difference = Difference()
    num_runs = num_missed = 0
    began = time.monotonic()
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="faults-")))
        stage = Stage(scratch, stack.enter_context(running_server()))
        while planned and num_missed <= 2 * arguments.kills:
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
            records += trial.records
            num_missed += len(trial.missed)
            num_runs += trial.num_runs
            difference = difference.plus(trial.difference)
    seconds = time.monotonic() - began
    print(f"{len(records)} kills in {num_runs} runs, {num_missed} missed, {seconds:.0f} s")
    print(f"rows lost, double and changed: {difference.lost}, {difference.double}, {difference.changed}")
    report = {
        "date": datetime.now(UTC).date().isoformat(),
        "cores": len(os.sched_getaffinity(0)),
        "load_average": round(os.getloadavg()[0], 1),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("ray", "pyarrow", "av", "torch")},
        "seed": arguments.seed,
        "kills": len(records),
        "missed": num_missed,
        "runs": num_runs,
        "seconds": round(seconds),
        "rows": asdict(difference),
        "records": [asdict(record) for record in records],
    }
    if arguments.out:
        arguments.out.write_text(json.dumps(report, indent=2) + "\n")
    if difference or len(records) < arguments.kills:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
