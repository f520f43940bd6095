"""The report that each run of an inference job writes beside its output, however it ends.

One JSON file for each run, in the folder ``NAME.runs``, here or in object storage::

    preds.parquet    preds.runs/20261122T020000Z-ab12cd.json
    preds/           preds.runs/20261123T020000Z-34ef56.json

It is made of a spec and of what the run records while it works (`RunRecord`); `docs/runs.md` explains the values. A
report that cannot be written is a warning: it changes nothing about how a run ends.
"""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
import socket
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidcnn.config import InferSpec
from vidcnn.errors import Failure, OutputError, describe_failure
from vidcnn.reporting.confined import confinement_json
from vidcnn.reporting.live import say
from vidcnn.reporting.progress import iso_time
from vidcnn.safe_text import json_text
from vidcnn.sandbox.confinement import Strength
from vidcnn.version import __version__

if TYPE_CHECKING:
    from vidcnn.predictions import Summary
    from vidcnn.reporting.bottleneck import Bottleneck
    from vidcnn.reporting.progress import RunProgress


_REPORT_HINT = "runs leave reports with --report, or report: true in a job"


@dataclass
class RunRecord:
    """The results of a run so far.

    Attributes:
        run_id: Its name, also in the metadata of the files that it writes.
        num_listed: Videos of the source; None before they are listed.
        num_waiting: Those that are left to the next run.
        undone: Names of the videos that are left to the next run since they could not be read, with the reason.
        progress: What the run itself did; None before it began.
        settings: All that the rows depend on; None before it is known.
        batch_size: Clips that go through the model at once; None before it is known, and where nothing is left to do.
        summary: Counts of the whole table; None unless the run came to its end.
        bottleneck: What limited the run; None where that is not known.
        notices: Notices to the user on how it runs, in plain words.
        in_process: Whether it ran in the command's own process, without Ray; None before that is known.
        confinement: Machines on which videos were read, with what confined the processes that did so.
    """

    run_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    num_listed: int | None = None
    num_waiting: int | None = None
    undone: Mapping[str, str] = field(default_factory=dict)
    progress: RunProgress | None = None
    settings: Mapping[str, Any] | None = None
    batch_size: int | None = None
    summary: Summary | None = None
    bottleneck: Bottleneck | None = None
    notices: list[str] = field(default_factory=list)
    in_process: bool | None = None
    confinement: Mapping[str, Strength] = field(default_factory=dict)

    def notice(self, text: str) -> None:
        """Print a notice on how the run works, once."""
        if text not in self.notices:
            self.notices.append(text)
            say(f"vidcnn: {text}")


@contextmanager
def reported(spec: InferSpec) -> Iterator[RunRecord]:
    """Leave a report at the end of the block, if the spec wants one.

    Yields:
        What the block has to keep up to date.
    """
    record, started = RunRecord(), time.time()
    failure: Failure | None = None
    try:
        yield record
    except BaseException as error:
        failure = describe_failure(error)
        raise
    finally:
        if spec.report:
            _leave(spec, report_values(spec, record, started, time.time(), failure), started)


def report_values(
    spec: InferSpec, record: RunRecord, started: float, ended: float, failure: Failure | None
) -> dict[str, Any]:
    """Return a report as JSON values.

    Args:
        spec: The job.
        record: What the run came to.
        started: When it started, in seconds since 1970.
        ended: Seconds since 1970.
        failure: What ended it; None where it was done.
    """
    progress, summary = record.progress, record.summary
    speed = progress.mean_clips_per_second if progress else None
    return {
        "started": iso_time(started),
        "ended": iso_time(ended),
        "seconds": round(ended - started, 3),
        "exit_code": failure.exit_code if failure else 0,
        "error": {"message": failure.message, "hint": failure.hint} if failure else None,
        "videos_listed": record.num_listed,
        "videos_done": progress.num_videos_done if progress else 0,
        "videos_waiting": record.num_waiting,
        "videos_undone": len(record.undone),
        "clips": progress.num_clips if progress else 0,
        "predictions": progress.num_predictions if progress else 0,
        "error_rows": dict(sorted(progress.errors.items())) if progress else {},
        "bad_videos": progress.num_bad_videos if progress else 0,
        "clips_per_second": None if speed is None else round(speed, 3),
        "limited_by": record.bottleneck and record.bottleneck.text,
        "precision": record.settings and record.settings["precision"],
        "compiled": record.settings and record.settings["compiled"],
        "in_process": record.in_process,
        "batch_size": record.batch_size,
        "confinement": confinement_json(record.confinement),
        "notices": list(record.notices),
        "table": summary
        and {
            "videos": summary.num_videos,
            "clips": summary.num_clips,
            "predictions": summary.num_predictions,
            "error_rows": dict(summary.num_errors),
            "bad_videos": summary.num_bad_videos,
        },
        "out": _public(spec.out),
        "model": _public(spec.model),
        "settings_sha256": record.settings and _digest(record.settings),
        "run_id": record.run_id,
        "version": __version__,
        "host": socket.gethostname(),
    }


def reports_location(out: str) -> str:
    """Return the folder of the reports of an output: a path, or a URI with the options of the output's."""
    from vidcnn.storage.uris import is_remote, local_path, split_uri

    if is_remote(out):
        uri = split_uri(out)
        return uri.location_of(_runs(uri.path))
    return _runs(os.path.realpath(local_path(out)))


def read_reports(out: str) -> list[dict[str, Any]]:
    """Read the reports of the runs of an output, the oldest first. What is no report is left out.

    Raises:
        OutputError: There is none, or they cannot be read.
    """
    from vidcnn.storage.uris import failure_text

    folder = reports_location(out)
    try:
        texts = _read_all(folder)
    except FileNotFoundError as error:
        raise OutputError(f"there are no reports of runs of '{_public(out)}'", _REPORT_HINT) from error
    except OSError as error:
        raise OutputError(f"the reports of '{_public(out)}' {failure_text(error)}") from error
    found = []
    for text in texts:
        with suppress(ValueError, RecursionError):
            report = json.loads(text)
            if _is_report(report):
                found.append(report)
    if not found:
        raise OutputError(f"there are no reports of runs of '{_public(out)}'", _REPORT_HINT)
    return sorted(found, key=lambda report: str(report["started"]))


def _is_report(value: Any) -> bool:
    """Return whether a JSON value has what is shown of a report, as `report_values` writes it."""
    if not (isinstance(value, dict) and isinstance(value.get("started"), str) and type(value.get("exit_code")) is int):
        return False
    numbers = (value.get(name) for name in ("seconds", "videos_done", "clips", "clips_per_second"))
    return all(number is None or isinstance(number, int | float) for number in numbers) and isinstance(
        value.get("error"), dict | None
    )


def _read_all(folder: str) -> list[bytes]:
    """Return the content of the JSON files of a folder."""
    from pyarrow.fs import FileSelector, FileType

    from vidcnn.storage.uris import is_remote, open_filesystem

    if not is_remote(folder):
        files = sorted(path for path in Path(folder).iterdir() if path.suffix == ".json" and path.is_file())
        return [path.read_bytes() for path in files]
    filesystem, path = open_filesystem(folder)
    contents = []
    for info in filesystem.get_file_info(FileSelector(path)):
        if info.type == FileType.File and info.path.endswith(".json"):
            with filesystem.open_input_stream(info.path) as stream:
                contents.append(stream.read())
    return contents


def _runs(path: str) -> str:
    parent, name = posixpath.split(path)
    return posixpath.join(parent, (name[: -len(".parquet")] if name.lower().endswith(".parquet") else name) + ".runs")


def _leave(spec: InferSpec, values: dict[str, Any], started: float) -> None:
    """Write a report; a failure is a warning."""
    from vidcnn.storage.uris import failure_text

    moment = datetime.fromtimestamp(started, UTC).strftime("%Y%m%dT%H%M%SZ")
    content = (json_text(values, indent=2) + "\n").encode()
    try:
        _write(reports_location(spec.out), f"{moment}-{values['run_id'][:6]}.json", content)
    except Exception as error:
        reason = failure_text(error).removeprefix("cannot be read: ")
        print(f"vidcnn: the report of this run cannot be written: {reason}", file=sys.stderr)


def _write(folder: str, name: str, content: bytes) -> None:
    from vidcnn.storage.atomic import write_whole
    from vidcnn.storage.uris import is_remote, open_filesystem

    if not is_remote(folder):
        os.makedirs(folder, exist_ok=True)
        write_whole(Path(folder) / name, content)
        return
    filesystem, path = open_filesystem(folder)
    with filesystem.open_output_stream(f"{path}/{name}") as sink:
        sink.write(content)


def _digest(settings: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(dict(settings), sort_keys=True).encode()).hexdigest()


def _public(out: str) -> str:
    from vidcnn.storage.uris import public_location

    return public_location(out)
