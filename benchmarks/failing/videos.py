"""Videos that change, shrink, grow, go or become directories while they are classified; and many runs at once."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

from killing.places import on_disk
from killing.source import write_walk
from killing.table import by_clip
from killing.victims import let_go

from failing.stage import BUSY, FRAMES, LocalTrial, Stage, StallError, make_videos

NUM_AT_ONCE = 10


def changed(stage: Stage, rng: random.Random) -> None:
    """Write another video in the place of one, by renaming."""

    def act(path: Path) -> None:
        aside = stage.new_folder() / path.name
        write_walk(aside, 60, seed=99)
        os.replace(aside, path)

    _disturb(stage, rng, act)


def truncated(stage: Stage, rng: random.Random) -> None:
    """Cut a video in two while it may be open."""
    _disturb(stage, rng, lambda path: os.truncate(path, path.stat().st_size // 2))


def grown(stage: Stage, rng: random.Random) -> None:
    """Append to a video while it may be open."""

    def act(path: Path) -> None:
        with path.open("ab") as file:
            file.write(bytes(5000))

    _disturb(stage, rng, act)


def deleted(stage: Stage, rng: random.Random) -> None:
    """Delete a video."""
    _disturb(stage, rng, lambda path: path.unlink())


def replaced_by_directory(stage: Stage, rng: random.Random) -> None:
    """Put a directory in the place of a video."""

    def act(path: Path) -> None:
        path.unlink()
        path.mkdir()

    _disturb(stage, rng, act)


def ten_on_one_output(stage: Stage, rng: random.Random) -> None:
    """Start ten runs on one output: one has it, the others are told so."""
    place = on_disk(stage.new_folder(), rng.choice(("preds", "preds.parquet")))
    line = stage.command(stage.source, place.out)
    runs = [stage.start(line) for _ in range(NUM_AT_ONCE)]
    codes = [stage.end(run) for run in runs]
    if set(codes) - {0, BUSY} or 0 not in codes:
        raise StallError(f"ten runs ended with {codes}: {stage.trial.said[-1:]}")
    stage.again(line)
    stage.compare(place.read(), is_whole=True)
    place.close()


def ten_on_ten_outputs(stage: Stage, rng: random.Random) -> None:
    """Start ten runs on ten outputs: none disturbs another."""
    places = [on_disk(stage.new_folder(), rng.choice(("preds", "preds.parquet"))) for _ in range(NUM_AT_ONCE)]
    runs = [stage.start(stage.command(stage.source, place.out)) for place in places]
    codes = [stage.end(run) for run in runs]
    if any(codes):
        raise StallError(f"ten runs ended with {codes}: {stage.trial.said[-1:]}")
    for place in places:
        stage.compare(place.read(), is_whole=True)
        place.close()


def _disturb(stage: Stage, rng: random.Random, act: Callable[[Path], object]) -> None:
    source = stage.new_folder() / "videos"
    make_videos(source)
    for path in source.iterdir():
        shutil.copystat(stage.source / path.name, path)
    victim = source / f"video_{rng.randrange(len(FRAMES))}.mp4"
    trial = LocalTrial(stage, stage.new_folder(), rng, source)
    trial.moment = rng.choice(("begun", "later", "later", "later", "writing"))
    run = trial.start()
    trial.reach(run)
    act(victim)
    let_go(run.process.pid)
    stage.end(run)
    stage.again(trial.line)
    expected = stage.undisturbed(source)
    table = trial.place.read()
    if not victim.is_file():  # its rows stay as they were, or one says what is there
        rows = {key: rows for key, rows in by_clip(table).items() if key[0] == victim.name}
        before = {key: rows for key, rows in stage.expected.items() if key[0] == victim.name}
        is_gone = [row[0]["error_kind"] for row in rows.values()] in (["changed"], ["unreadable"])
        expected |= rows if is_gone else before if rows else {}
    stage.compare(table, is_whole=True, expected=expected)
    trial.place.close()
