"""What goes wrong with the requests that a server of object storage gets."""

from __future__ import annotations

import math
import random
import re
import threading
import time
from urllib.parse import parse_qs

from killing.server import BUCKET
from pyarrow import fs

LAG_SECONDS = 4.0
"""How late lists are."""
_OBJECT = re.compile(rb"<Contents>.*?</Contents>", re.S)
_KEY = re.compile(rb"<Key>(.*?)</Key>", re.S)
_CONTENTS = (
    "<Contents><Key>{}</Key><LastModified>{}</LastModified><Size>{}</Size><StorageClass>STANDARD</StorageClass>"
    "</Contents>"
)


class Weather:
    """What goes wrong with requests: a `killing.server.Weather`.

    Args:
        kind: ``500``, ``503``, ``slow``, ``cut``, ``short``, ``stale``, ``lingering``, or ``fine``: nothing is wrong.
        share: Of requests that meet it.
        rng: Draws which.
        after: Requests that pass before it, from the first one on that reads a video; None where it comes at once.
        seconds: How long it stays.
        storage: The storage itself, for lists of what is there.

    Attributes:
        num_met: Requests that met it.
        num_seen: Requests since a video was first read.
    """

    def __init__(
        self,
        kind: str,
        share: float,
        rng: random.Random,
        *,
        after: int | None = None,
        seconds: float = math.inf,
        storage: fs.FileSystem | None = None,
    ) -> None:
        self._kind = kind
        self._storage = storage
        self._deleted: dict[str, tuple[float, bytes]] = {}
        self.is_quiet = kind == "short"
        self._share = share
        self._rng = rng
        self._after, self._seconds = after, seconds
        self._began: float | None = None if after is not None else time.monotonic()
        self._lock = threading.Lock()
        self._written: dict[str, float] = {}
        self.num_met = self.num_seen = 0

    def refusal(self, method: str, path: str, query: str) -> str | None:
        """Return the status of a refusal; it may wait, too."""
        self._count(method, path)
        if method == "PUT":
            self._written[path.strip("/").removeprefix(f"{BUCKET}/")] = time.monotonic()
        statuses = {"500": "500 Internal Server Error", "503": "503 Slow Down"}
        if self._kind == "lingering" and (method == "DELETE" or "delete" in query):
            self._remember()
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
        if self._kind == "lingering" and is_list:
            return self._with_deleted(body, parse_qs(query))
        return body

    def _remember(self) -> None:
        """Take note of all that is there: what of it is deleted now stays in lists for a while."""
        assert self._storage is not None
        now = time.monotonic()
        for info in self._storage.get_file_info(fs.FileSelector(BUCKET, recursive=True)):
            if info.is_file:
                key = info.path.removeprefix(f"{BUCKET}/")
                self._deleted[key] = now, _CONTENTS.format(key, info.mtime.isoformat(), info.size).encode()

    def _with_deleted(self, body: bytes, asked: dict[str, list[str]]) -> bytes:
        """Return a list with what was deleted in the last seconds."""
        prefix, delimiter = (asked.get(name, [""])[0] for name in ("prefix", "delimiter"))
        there = {found.decode() for found in _KEY.findall(body)}
        now = time.monotonic()
        shown = [
            content
            for key, (deleted, content) in self._deleted.items()
            if now - deleted < LAG_SECONDS
            and key.startswith(prefix)
            and not (delimiter and delimiter in key[len(prefix) :])
            and key not in there
        ]
        self.num_met += len(shown)
        return body.replace(b"</ListBucketResult>", b"".join(shown) + b"</ListBucketResult>")

    def _if_known(self, found: re.Match[bytes]) -> bytes:
        key = _KEY.search(found[0])
        name = key[1].decode() if key else ""
        if "/lock" in name or time.monotonic() - self._written.get(name, -LAG_SECONDS) >= LAG_SECONDS:
            return found[0]
        self.num_met += 1
        return b""

    def _count(self, method: str, path: str) -> None:
        """Count a request, and begin with the one that is due."""
        with self._lock:
            self.num_seen += self.num_seen > 0 or (method == "GET" and path.startswith(f"/{BUCKET}/videos/"))
            if self._began is None and self._after is not None and self.num_seen > self._after:
                self._began = time.monotonic()

    def _is_met(self) -> bool:
        with self._lock:
            is_there = self._began is not None and time.monotonic() - self._began < self._seconds
            is_met = is_there and self._kind != "fine" and self._rng.random() < self._share
            self.num_met += is_met
            return is_met
