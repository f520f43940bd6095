"""A run of the command, and the moment in which one of its processes is killed.

A moment is reached by looking at files, requests, titles and processor times; then the driver is stopped, so that the
moment does not pass while the victim is found and killed.
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.parquet as pq

from killing.places import Place, in_bucket, on_disk, read_table
from killing.server import Server
from killing.source import CLIP_STEP, make_model, make_source
from killing.table import Difference, Rows, by_clip
from killing.victims import Processes, kill, let_go, stop

BUSY_SECONDS = (0.01, 0.03, 0.05, 0.1, 0.2)
"""Processor time that a decoder has taken when it is killed: before its first batch, and after some."""
RUN_SECONDS = 600.0
"""A run that takes longer has stalled."""
COMMIT_SECONDS = 120.0
"""A commit without a decoder that is held comes in this time, or never."""


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
        said = self.said or "(said nothing)" if self.exit_code else "well"
        wrong = f"; {self.difference}" if self.difference else ""
        return (
            f"seed {self.seed:<6} {self.victim + times:10} {self.phase:8} {self.moment:14} {self.table:12} "
            f"{self.rows_committed:5} of {self.rows_planned} rows committed, exit {self.exit_code}: {said}{wrong}"
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
        return [
            sys.executable,
            "-m",
            "vidcnn",
            "infer",
            str(self.source),
            *options,
            "--in-process=off",
            "--quiet",
            "--json",
        ]

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
        if planned.victim not in ("decoder", "task"):
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
        return code, next((line for line in lines if line.strip()), "")[:160]

    def abandon(self) -> None:
        """Kill the run, if it is still there, and all that it has started."""
        self._process.kill()
        self._process.wait()
        self._place.let_on()
        self._processes.end()

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
            return any(seconds >= busy_seconds for seconds in self._processes.decoding_seconds().values())
        sought = {"started": "raylet", "planning": "planner", "loading": "actor"}.get(moment)
        return sought is not None and bool(self._processes.find(sought))

    def _victims(self, victim: str) -> list[int]:
        if victim in ("decoder", "task"):
            return self._processes.decoding(victim)
        return self._processes.find(victim)

    def _let_on(self) -> None:
        let_go(self._process.pid)
        self._place.let_on()
