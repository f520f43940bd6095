"""Where short runs happen: a small source, a model, the rows they should give, and a run that may be disturbed."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pyarrow as pa
from killing.places import on_disk, read_table
from killing.source import make_model, write_walk
from killing.table import Difference, Rows, by_clip, compare
from killing.victims import let_go, stop

RUN_SECONDS = 900.0
"""A run that takes longer has stalled."""
MAX_RUNS = 40
BUSY = 75
FRAMES = (150, 90, 40)
"""Of the videos; clips begin every 8 frames."""
STEP = 8
MOMENTS = ("begun", "later", "writing", "aside", "written", "merging", "merged", "clearing")
"""When a fault comes: with the lock, some time after it, or with a change of the files of the output."""
REPOSITORY = Path(__file__).parents[2]


class MissedError(Exception):
    """The run was over before its fault came, so nothing was tried."""


class UnfitError(Exception):
    """This machine cannot have the fault."""


class StallError(Exception):
    """A run did not end, or ended badly again and again."""


@dataclass
class Trial:
    """What one fault came to.

    Attributes:
        num_runs: Runs of the command.
        codes: Their exit codes.
        difference: What is wrong with the table.
        said: First lines of what they wrote to stderr.
    """

    num_runs: int = 0
    codes: list[int] = field(default_factory=list)
    difference: Difference = field(default_factory=Difference)
    said: list[str] = field(default_factory=list)


class Stage:
    """One source and one model.

    Args:
        scratch: A folder of its own.
        quick: Whether no run starts a Ray that need not.
    """

    def __init__(self, scratch: Path, *, quick: bool) -> None:
        self.scratch = scratch
        self.quick = quick
        self.trial = Trial()
        self._num_folders = 0
        self._runs: list[Run] = []
        self.source, self.model = scratch / "videos", scratch / "model"
        make_videos(self.source)
        make_model(self.model)
        self.span = 0.0
        self.expected: Rows = {}
        began = time.monotonic()
        self.expected = self.undisturbed(self.source)
        self.span = time.monotonic() - began
        assert all(len(rows) == 1 for rows in self.expected.values())

    def new_folder(self) -> Path:
        """Return a folder that is new."""
        self._num_folders += 1
        folder = self.scratch / f"place_{self._num_folders}"
        folder.mkdir()
        return folder

    def command(self, source: str | Path, out: str | Path, executor: str = "on") -> list[str]:
        """Return the command of a run; `executor` is ``on`` for one in a process, ``off`` for one with Ray."""
        given = [
            ("--out", out),
            ("--model", self.model),
            ("--step", STEP),
            ("--precision", "fp32"),
            ("--compile", "off"),
        ]
        options = [str(text) for option in given for text in option]
        line = [sys.executable, "-m", "vidcnn", "infer", str(source), *options]
        return [*line, f"--in-process={executor}", "--quiet", "--json"]

    def executor(self, rng: random.Random) -> str:
        """Choose how the videos are classified."""
        return "on" if self.quick or rng.random() < 0.5 else "off"

    def undisturbed(self, source: Path) -> Rows:
        """Return the rows that a source should give."""
        out = self.new_folder() / "undisturbed.parquet"
        done = subprocess.run(self.command(source, out), capture_output=True, text=True, check=False, env=environment())
        if done.returncode:
            raise StallError(f"the undisturbed run failed: {done.stderr}")
        return by_clip(read_table(str(out)))

    def start(
        self, line: Sequence[str], *, prefix: Sequence[str] = (), variables: Mapping[str, str] | None = None
    ) -> Run:
        """Start a command."""
        run = Run([*prefix, *line], environment() | dict(variables or {}))
        self._runs.append(run)
        return run

    def abandon(self) -> None:
        """Kill the runs that are not over, as where something unexpected ended a trial."""
        for run in self._runs:
            if not run.is_over:
                run.kill()
        self._runs.clear()

    def end(self, run: Run) -> int:
        """Wait for the end of a run, and take note of it."""
        code, said = run.end()
        self.trial.num_runs += 1
        self.trial.codes.append(code)
        if code and said:
            self.trial.said.append(said)
        return code

    def again(self, line: Sequence[str], variables: Mapping[str, str] | None = None) -> None:
        """Give the same command until it ends well.

        Raises:
            StallError: It does not.
        """
        for _ in range(MAX_RUNS):
            code = self.end(self.start(line, variables=variables))
            if code == 0:
                return
            if code == BUSY:
                time.sleep(5)
        raise StallError(f"{MAX_RUNS} runs did not end it: {self.trial.said[-1:]}")

    def compare(self, table: pa.Table, *, is_whole: bool, expected: Rows | None = None) -> None:
        """Hold a table against what it should be."""
        found = compare(by_clip(table), self.expected if expected is None else expected, is_whole=is_whole)
        self.trial.difference = self.trial.difference.plus(found)


class Run:
    """A process that was started, and what it starts."""

    def __init__(self, line: Sequence[str], environ: Mapping[str, str]) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the run has ended
        self.process = subprocess.Popen(
            line, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self._errors
        )
        self.deadline = time.monotonic() + RUN_SECONDS

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self.process.poll() is not None

    def tree(self) -> list[psutil.Process]:
        """Return the process and all that it has started."""
        with suppress(psutil.Error):
            whole = psutil.Process(self.process.pid)
            return [whole, *whole.children(recursive=True)]
        return []

    def each(self, act: Callable[[int], object]) -> None:
        """Do something to each of its processes."""
        for process in self.tree():
            with suppress(psutil.Error, OSError):
                act(process.pid)

    def kill(self) -> None:
        """Kill it with all that it has started."""
        for process in self.tree():
            with suppress(psutil.Error):
                process.kill()
        self.process.wait()

    def end(self) -> tuple[int, str]:
        """Wait for its end, and return its exit code and the first line that it wrote to stderr.

        Raises:
            StallError: It does not end.
        """
        try:
            code = self.process.wait(max(1.0, self.deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.kill()
            raise StallError(f"a run was not over after {RUN_SECONDS:.0f} s") from None
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").splitlines()
        self._errors.close()
        return code, next((line for line in lines if line.strip()), "")[:200]


class LocalTrial:
    """A run whose output is in a folder of a disk, and the moment in which its fault comes.

    Args:
        stage: The stage.
        folder: Where the output is.
        rng: Draws the executor, the kind of output, and the moment.
        source: The videos; None for those of the stage.
        with_ray: Whether the run has to start Ray: no other uses shared memory.
    """

    def __init__(
        self, stage: Stage, folder: Path, rng: random.Random, source: Path | None = None, *, with_ray: bool = False
    ) -> None:
        self.stage = stage
        self.place = on_disk(folder, rng.choice(("preds", "preds.parquet")))
        executor = "off" if with_ray else stage.executor(rng)
        self.line = stage.command(source or stage.source, self.place.out, executor)
        self.moment = rng.choice([moment for moment in MOMENTS if self.place.is_file or "merg" not in moment])
        self._rng = rng

    def reach(self, run: Run) -> None:
        """Wait for the moment, and stop the driver in it.

        Raises:
            MissedError: The run is over.
        """
        wait_seconds = self._rng.uniform(0, self.stage.span) if self.moment == "later" else 0.0
        begun: float | None = None
        while not run.is_over and time.monotonic() < run.deadline:
            if begun is None and self.place.is_begun():
                begun = time.monotonic()
            is_late = (
                self.moment in ("begun", "later") and begun is not None and time.monotonic() >= begun + wait_seconds
            )
            if self.moment in self.place.events(0.003) or is_late:
                stop(run.process.pid)
                if run.is_over:
                    break
                return
        self.stage.end(run)
        raise MissedError

    def start(self, **options: Sequence[str] | Mapping[str, str]) -> Run:
        """Start the run."""
        self.place.prepare()
        return self.stage.start(self.line, **options)  # type: ignore[arg-type]

    def finish(self, run: Run) -> None:
        """Let a run that was disturbed come to its end, see what is committed, and give the command again."""
        let_go(run.process.pid)
        code = self.stage.end(run)
        self.conclude(is_whole=code == 0)

    def conclude(self, *, is_whole: bool) -> None:
        """See what is committed, and give the command until it ends well."""
        self.stage.compare(self.place.read(), is_whole=is_whole)
        self.stage.again(self.line)
        self.stage.compare(self.place.read(), is_whole=True)
        self.place.close()


def environment() -> dict[str, str]:
    """Return the environment of a run."""
    return os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}


def make_videos(folder: Path) -> None:
    """Write small videos, and one that is none."""
    folder.mkdir()
    for index, num_frames in enumerate(FRAMES):
        write_walk(folder / f"video_{index}.mp4", num_frames, seed=index)
    (folder / "noise.mp4").write_bytes(b"no video" * 20)
