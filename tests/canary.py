"""A login that is to be found nowhere, and a search for it in all that a command leaves or shows while it runs."""

from __future__ import annotations

import io
import os
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from tests.s3 import Server

MARK = b"CANARY"
KEY, SECRET = "IDOFCANARY", "se/cret+ofCANARY="
LOGIN = f"{KEY}:{SECRET}@"
"""As those of AWS often are: with a slash, a plus, and an equals sign."""

_POLL_SECONDS = 0.1


def location(s3: Server, path: str) -> str:
    """Return a URI with the login."""
    return f"s3://{LOGIN}{path}{s3.query}"


def holders(*folders: Path) -> list[str]:
    """Return the files that hold the login: as they are, or in what they pack."""
    found = []
    for folder in folders:
        for top, _, names in os.walk(folder):
            for name in names:
                path = Path(top, name)
                if not path.is_file() or path.is_symlink():
                    continue
                with suppress(FileNotFoundError):
                    if holds(path.read_bytes(), name):
                        found.append(str(path))
    return found


def holds(content: bytes, name: str) -> bool:
    """Tell whether the login is in a file's content."""
    if MARK in content or MARK in name.encode(errors="surrogateescape"):
        return True
    with suppress(zipfile.BadZipFile):
        if content.startswith(b"PK"):
            packed = zipfile.ZipFile(io.BytesIO(content))
            return any(holds(packed.read(entry), entry) for entry in packed.namelist())
    with suppress(pa.ArrowException):
        if content.startswith(b"PAR1"):
            table = pq.read_table(io.BytesIO(content))
            return MARK in f"{table.schema.metadata} {table.to_pylist()}".encode()
    return False


@dataclass
class Sightings:
    """Where the login was seen."""

    command_lines: set[str] = field(default_factory=set)
    files: set[str] = field(default_factory=set)
    num_processes: int = 0
    num_files: int = 0


@contextmanager
def watched(*folders: Path, root: int | None = None) -> Iterator[Sightings]:
    """Search the command lines of all processes below one, and all files of folders, while the block runs.

    Args:
        *folders: The folders, also of what is deleted again before the block ends.
        root: The process; None is this one.
    """
    seen, ended = Sightings(), threading.Event()
    pids: set[int] = set()
    files: dict[str, tuple[int, int]] = {}

    def look() -> None:
        with suppress(psutil.Error):
            for process in psutil.Process(root).children(recursive=True):
                with suppress(psutil.Error):
                    pids.add(process.pid)
                    line = " ".join(process.cmdline())
                    if MARK.decode() in line:
                        seen.command_lines.add(line)
        for folder in folders:
            for top, _, names in os.walk(folder):
                for name in names:
                    path = os.path.join(top, name)
                    with suppress(OSError):
                        status = os.stat(path)
                        stamp = (status.st_size, status.st_mtime_ns)
                        if os.path.isfile(path) and files.get(path) != stamp:
                            files[path] = stamp
                            if holds(Path(path).read_bytes(), name):
                                seen.files.add(path)

    def watch() -> None:
        while not ended.wait(_POLL_SECONDS):
            look()

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        ended.set()
        watcher.join()
        look()
        seen.num_processes, seen.num_files = len(pids), len(files)
