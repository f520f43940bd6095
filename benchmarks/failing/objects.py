"""Object storage that fails, is slow, breaks off, sends too little, or lists what was there a while ago.

Both the source and the output are in it.
"""

from __future__ import annotations

import math
import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
from killing.places import Place, in_bucket
from killing.server import BUCKET, Server, running_server
from killing.source import write_walk
from killing.victims import let_go
from pyarrow import fs

from failing.stage import FRAMES, MissedError, Stage
from failing.weather import LAG_SECONDS, Weather

SHARES = (0.1, 0.5, 1.0)
"""Of requests that meet a fault."""
SPELLS = (3.0, 15.0, math.inf)
"""Seconds after which a fault that came in the middle of a run is over; the longest is never."""


def errors(stage: Stage, rng: random.Random) -> None:
    """Answer with status 500."""
    _disturb(stage, rng, "500")


def busy(stage: Stage, rng: random.Random) -> None:
    """Answer with status 503."""
    _disturb(stage, rng, "503")


def slow(stage: Stage, rng: random.Random) -> None:
    """Answer after a while."""
    _disturb(stage, rng, "slow")


def cut_off(stage: Stage, rng: random.Random) -> None:
    """Break off in the middle of a body."""
    _disturb(stage, rng, "cut")


def truncated(stage: Stage, rng: random.Random) -> None:
    """Send half of a body, as if that were all."""
    _disturb(stage, rng, "short")


def errors_later(stage: Stage, rng: random.Random) -> None:
    """Answer with status 500 from some request on."""
    _disturb(stage, rng, "500", is_late=True)


def busy_later(stage: Stage, rng: random.Random) -> None:
    """Answer with status 503 from some request on."""
    _disturb(stage, rng, "503", is_late=True)


def slow_later(stage: Stage, rng: random.Random) -> None:
    """Answer after a while from some request on."""
    _disturb(stage, rng, "slow", is_late=True)


def cut_off_later(stage: Stage, rng: random.Random) -> None:
    """Break off in the middle of bodies from some request on."""
    _disturb(stage, rng, "cut", is_late=True)


def truncated_later(stage: Stage, rng: random.Random) -> None:
    """Send half of bodies from some request on, as if that were all."""
    _disturb(stage, rng, "short", is_late=True)


def stale_lists(stage: Stage, rng: random.Random) -> None:
    """Kill a run, and start the next one while lists do not yet show what the first one wrote."""
    with _places(stage, rng) as (server, source, place):
        server.weather = weather = Weather("stale", 1.0, rng)
        place.prepare()
        line = stage.command(source, place.out)
        run = stage.start(line)
        while not run.is_over and "written" not in place.events(0.01):
            place.let_on()
        if run.is_over:
            stage.end(run)
            raise MissedError
        run.kill()
        place.let_on()
        stage.end(run)
        server.watch(None)
        stage.again(line)
        if not weather.num_met:
            raise MissedError
        time.sleep(LAG_SECONDS)
        stage.compare(_read(place), is_whole=True)


def lingering_lists(stage: Stage, rng: random.Random) -> None:
    """Change a video after a run that may be killed, and run again while lists show what was deleted before."""
    with _places(stage, rng) as (server, source, place):
        storage, _ = fs.FileSystem.from_uri(source)
        moment = rng.choice(("written", "merged", "clearing", "ended") if place.is_file else ("written", "ended"))
        server.weather = weather = Weather("lingering", 1.0, rng, storage=storage)
        line = stage.command(source, place.out)
        run = stage.start(line)
        while not run.is_over and moment not in place.events(0.01):
            place.let_on()
        run.kill()
        place.let_on()
        stage.end(run)
        server.watch(None)
        changed = stage.new_folder() / "videos"
        shutil.copytree(stage.source, changed)
        victim = changed / f"video_{rng.randrange(len(FRAMES))}.mp4"
        write_walk(victim, 60, seed=99)
        _put(storage, victim)
        stage.again(line)
        if not weather.num_met:
            raise MissedError
        time.sleep(LAG_SECONDS)
        stage.compare(_read(place), is_whole=True, expected=stage.undisturbed(changed))


def paused_lease(stage: Stage, rng: random.Random) -> None:
    """Stop a run until another one has taken its output over and done all, and then let it go on.

    A request that has reached the storage when the run is stopped is carried out when it goes on, too. The other run
    finds one more video.
    """
    with _places(stage, rng) as (server, source, place):
        storage, _ = fs.FileSystem.from_uri(source)
        more = stage.new_folder() / "videos"
        shutil.copytree(stage.source, more)
        write_walk(more / "video_9.mp4", 60, seed=9)
        expected = stage.undisturbed(more)
        moments = ("writing", "written", *(("merging", "merged", "clearing") if place.is_file else ()), "later")
        moment, wait_seconds = rng.choice(moments), rng.uniform(0, stage.span)
        num_left = rng.randrange(1, 4) if moment in ("writing", "written") else 1
        line = stage.command(source, place.out, stage.executor(rng))
        place.prepare()
        run = stage.start(line)
        begun: float | None = None
        while num_left:
            if run.is_over:
                stage.end(run)
                raise MissedError
            if begun is None and place.is_begun():
                begun = time.monotonic()
            seen = place.events(0.01)
            is_late = moment == "later" and begun is not None and time.monotonic() > begun + wait_seconds
            num_left -= moment in seen or is_late
            if num_left:
                place.let_on()
        stopped = run.tree()
        run.each(lambda pid: os.kill(pid, signal.SIGSTOP))
        let_on = server.keep()
        server.watch(None)
        _put(storage, more / "video_9.mp4")
        stage.again(line)
        stage.compare(_read(place), is_whole=True, expected=expected)
        let_on()
        for process in stopped:
            let_go(process.pid)
        stage.end(run)
        stage.compare(_read(place), is_whole=True, expected=expected)
        stage.again(line)
        stage.compare(_read(place), is_whole=True, expected=expected)


def _disturb(stage: Stage, rng: random.Random, kind: str, *, is_late: bool = False) -> None:
    """Run in a weather, which may come in the middle of the run and pass, and then run without it."""
    with _places(stage, rng) as (server, source, place):
        executor = stage.executor(rng)
        line = stage.command(source, place.out, executor)
        server.watch(None)
        share = rng.choice(SHARES[:2] if kind == "slow" else SHARES)
        after, seconds = None, math.inf
        if is_late:
            server.weather = fine = Weather("fine", 0.0, rng)
            stage.again(stage.command(source, place.out.replace("/preds", "/counted"), executor))
            after, seconds = rng.randrange(fine.num_seen), rng.choice(SPELLS)
        server.weather = weather = Weather(kind, share, rng, after=after, seconds=seconds)
        code = stage.end(stage.start(line))
        server.weather = None
        if not weather.num_met:
            raise MissedError
        stage.compare(_read(place), is_whole=code == 0)
        stage.again(line)
        stage.compare(_read(place), is_whole=True)


@contextmanager
def _places(stage: Stage, rng: random.Random) -> Iterator[tuple[Server, str, Place]]:
    with running_server() as server:
        location = f"s3://{BUCKET}/videos?endpoint_override={server.host}&scheme=http&region=us-east-1"
        storage, _ = fs.FileSystem.from_uri(location)
        for path in stage.source.iterdir():
            _put(storage, path)
        place = in_bucket(server, rng.choice(("preds", "preds.parquet")))
        yield server, location, place
        place.close()


def _put(storage: fs.FileSystem, path: Path) -> None:
    with storage.open_output_stream(f"{BUCKET}/videos/{path.name}") as sink:
        sink.write(path.read_bytes())


def _read(place: Place) -> pa.Table:
    """Return what is committed, with the names that videos have in a folder."""
    table = place.read()
    names = [name.rpartition("/")[2] for name in table["video"].to_pylist()]
    return table.set_column(table.schema.get_field_index("video"), "video", pa.array(names, pa.string()))
