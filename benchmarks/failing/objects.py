"""Object storage that fails, is slow, breaks off, sends too little, or lists what was there a while ago.

Both the source and the output are in it.
"""

from __future__ import annotations

import random
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa
from killing.places import Place, in_bucket
from killing.server import BUCKET, Server, running_server
from pyarrow import fs

from failing.stage import MissedError, Stage

SHARES = (0.1, 0.5, 1.0)
"""Of requests that meet a fault."""
LAG_SECONDS = 4.0
_OBJECT = re.compile(rb"<Contents>.*?</Contents>", re.S)
_KEY = re.compile(rb"<Key>(.*?)</Key>", re.S)


class Weather:
    """What goes wrong with requests: a `killing.server.Weather`.

    Args:
        kind: ``500``, ``503``, ``slow``, ``cut``, ``short`` or ``stale``.
        share: Of requests that meet it.
        rng: Draws which.
    """

    def __init__(self, kind: str, share: float, rng: random.Random) -> None:
        self._kind = kind
        self.is_quiet = kind == "short"
        self._share = share
        self._rng = rng
        self._lock = threading.Lock()
        self._written: dict[str, float] = {}
        self.num_met = 0

    def refusal(self, method: str, path: str, query: str) -> str | None:
        """Return the status of a refusal; it may wait, too."""
        if method == "PUT":
            self._written[path.strip("/").removeprefix(f"{BUCKET}/")] = time.monotonic()
        statuses = {"500": "500 Internal Server Error", "503": "503 Slow Down"}
        if self._kind in statuses and self._is_met():
            return statuses[self._kind]
        if self._kind == "slow" and self._is_met():
            time.sleep(self._rng.uniform(0.1, 1.5))
        return None

    def spoil(self, method: str, path: str, query: str, body: bytes) -> bytes:
        """Return what is sent of an answer."""
        is_list = "list-type" in query
        if self._kind in ("cut", "short") and method == "GET" and not is_list and len(body) > 1 and self._is_met():
            return body[: len(body) // 2]
        if self._kind == "stale" and is_list:
            return _OBJECT.sub(self._if_known, body)
        return body

    def _if_known(self, found: re.Match[bytes]) -> bytes:
        key = _KEY.search(found[0])
        name = key[1].decode() if key else ""
        if "/lock" in name or time.monotonic() - self._written.get(name, -LAG_SECONDS) >= LAG_SECONDS:
            return found[0]
        self.num_met += 1
        return b""

    def _is_met(self) -> bool:
        with self._lock:
            is_met = self._rng.random() < self._share
            self.num_met += is_met
            return is_met


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


def _disturb(stage: Stage, rng: random.Random, kind: str) -> None:
    with _places(stage, rng) as (server, source, place):
        line = stage.command(source, place.out, stage.executor(rng))
        server.watch(None)
        server.weather = weather = Weather(kind, rng.choice(SHARES[:2] if kind == "slow" else SHARES), rng)
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
            with storage.open_output_stream(f"{BUCKET}/videos/{path.name}") as sink:
                sink.write(path.read_bytes())
        place = in_bucket(server, rng.choice(("preds", "preds.parquet")))
        yield server, location, place
        place.close()


def _read(place: Place) -> pa.Table:
    """Return what is committed, with the names that videos have in a folder."""
    table = place.read()
    names = [name.rpartition("/")[2] for name in table["video"].to_pylist()]
    return table.set_column(table.schema.get_field_index("video"), "video", pa.array(names, pa.string()))
