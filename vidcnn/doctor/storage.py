"""Whether a storage location can be written, gives back what was written, shows it at once, and has the right time.

A small file is written, read, replaced, renamed where there is such a thing, and deleted: what a run does with its
output. Nothing else there is touched.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from vidcnn.errors import describe_reason
from vidcnn.reporting.findings import Finding, Level, plain
from vidcnn.storage.atomic import write_whole
from vidcnn.storage.uris import failure_text, is_remote, local_path, open_filesystem, public_location

TOPIC = "storage"
_PROBE_BYTES = 2**20
_SKEW_SECONDS, _REFUSED_SKEW_SECONDS = 10.0, 600.0
"""More than the first spoils what is decided by times of files; S3 refuses requests that are some 15 minutes off."""

_ACCESS = "check the rights to it, the bucket's region, and the login in the environment"


class _WrongError(Exception):
    """The storage does something else than it should; the text continues a sentence after its name."""


def check_storage(location: str) -> Finding:
    """Write, read, replace, list and delete a file of 1 MiB.

    Args:
        location: A folder, or ``s3://BUCKET/PREFIX``.
    """
    shown = plain(public_location(location))
    try:
        steps = _remote(location) if is_remote(location) else _local(local_path(location))
    except _WrongError as error:
        return Finding(TOPIC, shown, "fails", "failure", f"{shown} {error}", "use other storage for outputs")
    except Exception as error:  # pyarrow's own errors have no common type
        if isinstance(error, OSError) and error.errno is not None and not is_remote(location):
            reason = f"cannot be used: {describe_reason(error)}"
            remedy = "make the folder, or check its owner, its mode and how it is mounted"
        else:
            reason, remedy = failure_text(error).replace("cannot be read", "cannot be used"), _ACCESS
        return Finding(TOPIC, shown, "fails", "failure", f"{shown} {plain(reason)}", remedy)
    return _judge(shown, steps, is_signed=is_remote(location))


def _judge(shown: str, steps: dict[str, float], *, is_signed: bool) -> Finding:
    """Return the finding of a storage that works.

    Args:
        shown: Its name.
        steps: What was measured.
        is_signed: Whether requests are signed with the time, and refused where that is wrong.
    """
    skew = steps["clock_ahead_seconds"]
    clock = "same clock" if abs(skew) < 1.5 else f"clock {abs(skew):,.0f} s {'ahead' if skew > 0 else 'behind'}"
    written, read = (f"{1000 * steps[name]:,.0f} ms" for name in ("write_seconds", "read_seconds"))
    value = f"1 MiB written in {written}, read in {read}, {clock}"
    facts = {name: round(number, 4) for name, number in steps.items()}
    if abs(skew) <= _SKEW_SECONDS:
        return Finding(TOPIC, shown, value, facts=facts)
    refused = is_signed and abs(skew) > _REFUSED_SKEW_SECONDS
    level: Level = "failure" if refused else "warning"
    problem = f"the clock of {shown} is {abs(skew):,.0f} s {'ahead of' if skew > 0 else 'behind'} that of this machine"
    problem += ": requests are refused" if refused else ": --settle and the age of locks are wrong by that"
    return Finding(TOPIC, shown, value, level, problem, "set this machine's clock: timedatectl set-ntp true", facts)


def _remote(location: str) -> dict[str, float]:
    """Try object storage, where a PUT is whole or not there."""
    from pyarrow import fs

    filesystem, folder = open_filesystem(location)
    path = f"{folder.rstrip('/')}/.vidcnn-doctor-{secrets.token_hex(8)}"

    def write(content: bytes) -> None:
        with filesystem.open_output_stream(path) as sink:
            sink.write(content)

    def read() -> bytes:
        with filesystem.open_input_file(path) as source:
            return bytes(source.read())

    def listed() -> bool:
        return path in {one.path for one in filesystem.get_file_info(fs.FileSelector(folder, allow_not_found=True))}

    def modified() -> float:
        return float(filesystem.get_file_info(path).mtime_ns or 0) / 1e9

    try:
        steps = _try(write, read, listed, modified)
        filesystem.delete_file(path)
        if filesystem.get_file_info(path).type != fs.FileType.NotFound:
            raise _WrongError("still shows a file that was deleted")
    finally:
        with suppress(Exception):
            filesystem.delete_file(path)
    return steps


def _local(folder: str) -> dict[str, float]:
    """Try a folder, where files are written aside and renamed, and locks are the kernel's."""
    path = Path(folder, f".vidcnn-doctor-{secrets.token_hex(8)}")
    renamed = path.with_name(f"{path.name}.renamed")
    try:
        steps = _try(
            lambda content: write_whole(path, content),
            path.read_bytes,
            lambda: path.name in os.listdir(folder),
            lambda: path.stat().st_mtime,
        )
        with open(path, "rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise _WrongError(
                    f"has no locks ({describe_reason(error)}): two runs could write one output"
                ) from error
        renamed.write_bytes(b"old")
        os.replace(path, renamed)
        if path.exists() or renamed.stat().st_size != _PROBE_BYTES:
            raise _WrongError("does not rename a file as a whole over another")
        renamed.unlink()
        if renamed.exists():
            raise _WrongError("still shows a file that was deleted")
    finally:
        for left in (path, renamed):
            with suppress(OSError):
                left.unlink()
    return steps


def _try(
    write: Callable[[bytes], Any], read: Callable[[], bytes], listed: Callable[[], bool], modified: Callable[[], float]
) -> dict[str, float]:
    """Write a file twice, and see that the second one is there each time."""
    write(b"old")
    content = secrets.token_bytes(_PROBE_BYTES)
    before, began = time.time(), time.perf_counter()
    write(content)
    written, after = time.perf_counter(), time.time()
    found = read()
    was_read = time.perf_counter()
    if found != content:
        raise _WrongError("does not give back what was written to it")
    if not listed():
        raise _WrongError("does not list a file that was just written: two runs could write one output")
    stamp = modified()
    # Object storage has whole seconds: only what is certain counts.
    ahead = stamp - after if stamp > after else min(0.0, stamp + 1.0 - before)
    return {"write_seconds": written - began, "read_seconds": was_read - written, "clock_ahead_seconds": ahead}
