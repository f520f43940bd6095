"""What becomes of files that are damaged or forged: each must give its rows, in bounded time and memory.

Changes small videos of many kinds at random (bits, bytes, cuts, boxes, elements and packets swapped, foreign headers,
forged numbers), and takes each file through the stages of a run: planned and decoded in child processes, scored by a
stub whose scores are a checksum of the pixels. A file has one row for each planned clip, or one error row; no file ends
the run, is left to the next one, takes too long or too much memory, or leaves anything behind; and of some it is seen
that a second attempt in new processes gives the same rows. Mutation K of a seed is always the same file.

    python benchmarks/mutations.py [--mutations 10000] [--minutes 60] [--seed 1] [--files FOLDER] [--only K]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import av
from environment import environment
from mutating.bases import real_files, written_files
from mutating.changes import mutate
from mutating.trial import TIMEOUT_SECONDS, Outcome, Trial, leftovers

MAX_CPU_SECONDS = 2 * TIMEOUT_SECONDS + 20
"""What a file of at most 3 MB may cost a processor: two tries of one step, each up to its end, and the rest."""
MAX_CHILD_BYTES = 2 * 2**30
MAX_GROWTH_BYTES = 300 * 2**20
"""How much the process that hands out the work may grow after the first hundred files."""
_REPEATED = 20
"""One of so many files is taken through a second time."""
_EACH_MANY = 100


@dataclass
class Account:
    """What all mutations come to."""

    num_done: int = 0
    num_repeated: int = 0
    num_clips: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    failures: list[dict[str, object]] = field(default_factory=list)
    slowest: tuple[float, int] = (0.0, -1)
    largest: tuple[int, int] = (0, -1)
    crashes: list[int] = field(default_factory=list)
    timeouts: list[int] = field(default_factory=list)

    def add(self, number: int, done: str, outcome: Outcome) -> None:
        """Count a file."""
        self.num_done += 1
        self.num_clips += outcome.num_planned or 0
        self.kinds.update(outcome.kinds)
        self.slowest = max(self.slowest, (round(outcome.cpu_seconds, 1), number))
        self.largest = max(self.largest, (outcome.peak_bytes, number))
        for kind, numbers in (("decoder_crash", self.crashes), ("timeout", self.timeouts)):
            if kind in outcome.kinds:
                numbers.append(number)
        faults = list(outcome.faults)
        if outcome.cpu_seconds > MAX_CPU_SECONDS:
            faults.append(f"it took {outcome.cpu_seconds:.0f} s of a processor")
        if outcome.peak_bytes > MAX_CHILD_BYTES:
            faults.append(f"a process of {outcome.peak_bytes / 2**20:.0f} MiB")
        if faults:
            self.fail(number, done, faults)

    def fail(self, number: int, done: str, faults: list[str]) -> None:
        """Note what is wrong."""
        self.failures.append({"mutation": number, "done": done, "faults": faults[:5]})
        print(f"FAILED --only {number} ({done}): {'; '.join(faults[:5])}", flush=True)


class Mutations:
    """The mutations of a seed.

    Args:
        bases: The files that are changed.
        seed: Chooses all that is chosen.
    """

    def __init__(self, bases: list[Path], seed: int) -> None:
        self._names = [base.name for base in bases]
        self._bases = [base.read_bytes() for base in bases]
        self._seed = seed

    def write(self, number: int, folder: Path) -> tuple[Path, str]:
        """Write a mutation, and return it with what was done to which file."""
        rng = random.Random(f"{self._seed} {number}")
        which = rng.randrange(len(self._bases))
        done, data = mutate(self._bases[which], self._bases, rng)
        path = folder / f"{number}{Path(self._names[which]).suffix}"
        path.write_bytes(data)
        return path, f"{self._names[which]}: {done}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutations", type=int, default=10_000)
    parser.add_argument("--minutes", type=float, default=600.0, help="begin no other file after so long")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="number of the first mutation")
    parser.add_argument("--only", type=int, help="one mutation, by its number, which is printed in full")
    parser.add_argument("--files", type=Path, help="take files of this folder too")
    parser.add_argument("--num-files", type=int, default=40, help="how many files are changed")
    parser.add_argument("--keep", type=Path, help="copy files that fail, crash or time out into this folder")
    parser.add_argument("--out", type=Path, help="write the figures as JSON too")
    arguments = parser.parse_args()
    os.environ.setdefault("SVT_LOG", "1")  # its encoder tells of errors only
    with tempfile.TemporaryDirectory() as scratch:
        bases = written_files(Path(scratch, "written"))
        if arguments.files:
            bases += real_files(arguments.files, max(0, arguments.num_files - len(bases)), arguments.seed)
        mutations = Mutations(bases[: arguments.num_files], arguments.seed)
        print(f"{min(len(bases), arguments.num_files)} files; seed {arguments.seed}", flush=True)
        if arguments.only is not None:
            return show_one(mutations, arguments.only, Path(scratch), arguments.keep)
        numbers = range(arguments.first, arguments.first + arguments.mutations)
        account = run(mutations, numbers, arguments.minutes * 60, Path(scratch), arguments.keep)
    report = {
        **environment(("av", "vidcnn")),
        "libavcodec": av.library_versions["libavcodec"],
        "seed": arguments.seed,
        "files": min(len(bases), arguments.num_files),
        "mutations": account.num_done,
        "repeated": account.num_repeated,
        "clips": account.num_clips,
        "files_with_rows_of_kind": dict(account.kinds.most_common()),
        "slowest_cpu_seconds": account.slowest,
        "largest_process_mib": (account.largest[0] >> 20, account.largest[1]),
        "crashes": account.crashes,
        "timeouts": account.timeouts,
        "failures": account.failures,
    }
    print(json.dumps(report, indent=2))
    if arguments.out:
        arguments.out.write_text(json.dumps(report, indent=2) + "\n")
    return 1 if account.failures else 0


def run(mutations: Mutations, numbers: range, seconds: float, scratch: Path, keep: Path | None) -> Account:
    """Take mutations through the stages, until all are done or the time is over."""
    account, trial = Account(), Trial()
    before, grown_from = leftovers(), 0
    deadline = time.monotonic() + seconds
    try:
        for number in numbers:
            if time.monotonic() > deadline:
                break
            path, done = mutations.write(number, scratch)
            outcome = trial.run(path)
            num_failures = len(account.failures)
            account.add(number, done, outcome)
            if number % _REPEATED == 0:
                account.num_repeated += 1
                trial.close()
                if (again := trial.run(path)).rows != outcome.rows and "timeout" not in outcome.kinds | again.kinds:
                    pairs = [(a, b) for a, b in zip(outcome.rows, again.rows, strict=False) if a != b]
                    account.fail(number, done, [f"other rows the second time: {pairs[:2]}"])
            if keep and (len(account.failures) > num_failures or {"decoder_crash", "timeout"} & outcome.kinds):
                keep.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, keep)
            path.unlink()
            if account.num_done % _EACH_MANY == 0:
                trial.close()
                if (now := leftovers()) != before:
                    account.fail(number, "the last hundred files", [f"left over: {now}, before: {before}"])
                    before = now
                memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
                grown_from = grown_from or memory
                if memory > grown_from + MAX_GROWTH_BYTES:
                    account.fail(number, "all files", [f"this process grew to {memory >> 20} MiB"])
                    grown_from = memory
                print(f"{account.num_done} done, {len(account.failures)} failed, {dict(account.kinds)}", flush=True)
    finally:
        trial.close()
    return account


def show_one(mutations: Mutations, number: int, scratch: Path, keep: Path | None) -> int:
    """Take one mutation through the stages twice, and print what became of it."""
    path, done = mutations.write(number, scratch)
    if keep:
        keep.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, keep)
    outcomes = []
    for _ in range(2):
        trial = Trial()
        began = time.monotonic()
        outcomes.append(outcome := trial.run(path))
        seconds = time.monotonic() - began
        trial.close()
        print(f"{done}, {path.stat().st_size} bytes: {outcome.num_planned} clips, {sorted(outcome.kinds)}", end=", ")
        print(f"{seconds:.1f} s, {outcome.cpu_seconds:.1f} s of a processor, {outcome.peak_bytes >> 20} MiB")
        print(*outcome.rows[:40], outcome.message, *outcome.faults, sep="\n")
    return int(any(outcome.faults for outcome in outcomes) or outcomes[0].rows != outcomes[1].rows)


if __name__ == "__main__":
    raise SystemExit(main())
