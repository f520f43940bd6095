"""Videos, rows and whole runs for the tests of the predictions table; importable by child processes."""

from __future__ import annotations

import base64
import json
import os
import random
import signal
import time
import zlib
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vidcnn.predictions.files import read_ledger
from vidcnn.predictions.ledger import Entry, intervals_of
from vidcnn.predictions.output import Output
from vidcnn.predictions.rows import error_rows, prediction_rows, prediction_schema
from vidcnn.sources.keys import SegmentKey, VideoKey

SCHEMA = prediction_schema(num_classes_for_probabilities=3, embedding_size=2)
SETTINGS = {"model": "tiny", "weights_sha256": "ab" * 32, "stride": 4, "labels": ["run", "jump", "fall"]}
CLIPS_PER_SEGMENT = 3
MODES = ["preds.parquet", "preds"]


def hidden(out: Path) -> Path:
    """Return the hidden folder of an output."""
    return out.with_name(f".{out.name}.vidcnn")


def video(name: str, version: int = 0) -> VideoKey:
    return VideoKey(name, 1000 + version, 1_700_000_000_000_000_000 + version)


def segment(name: str, index: int = 0, count: int = 1, version: int = 0) -> SegmentKey:
    return SegmentKey(video(name, version), index, count)


def rows_of(key: SegmentKey, schema: pa.Schema = SCHEMA) -> pa.Table:
    """Make the rows of a segment: a function of its key, and different for each version and plan.

    A video called ``bad...`` is unreadable; the last clip of an odd segment is an error.
    """
    name = key.video.name
    if name.startswith("bad"):
        return error_rows(schema, name, kind="unreadable", message=f"version {key.video.mtime_ns % 100}")
    clips = np.arange(CLIPS_PER_SEGMENT) + key.index * CLIPS_PER_SEGMENT
    good = clips[: -1 if key.index % 2 else None]
    rng = np.random.default_rng([key.index, key.count, key.video.mtime_ns % 1000, *os.fsencode(name)])
    probabilities = rng.dirichlet(np.ones(3), len(good)).astype(np.float32)
    top = np.argsort(-probabilities, axis=1)[:, :2]
    tables = [
        prediction_rows(
            schema,
            name,
            clips=good,
            start_seconds=good * 0.5,
            end_seconds=good * 0.5 + 1,
            labels=SETTINGS["labels"],
            top_indices=top,
            top_scores=np.take_along_axis(probabilities, top, axis=1),
            probabilities=probabilities if "probabilities" in schema.names else None,
            embedding=rng.normal(size=(len(good), 2)) if "embedding" in schema.names else None,
        )
    ]
    if key.index % 2:
        bad = clips[-1:]
        tables.append(
            error_rows(
                schema,
                name,
                kind="truncated",
                message=f"ends too early ({key.count}, version {key.video.mtime_ns % 100})",
                clips=bad,
                start_seconds=bad * 0.5,
                end_seconds=bad * 0.5 + 1,
            )
        )
    return pa.concat_tables(tables)


@cache
def row_dicts(key: SegmentKey) -> list[dict[str, Any]]:
    return rows_of(key).to_pylist()


def expected_rows(segments: Iterable[SegmentKey]) -> list[dict[str, Any]]:
    """Return the rows of a table that holds these segments, in the order of the table."""
    return in_order(row for key in segments for row in row_dicts(key))


def in_order(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: (row["video"], -1 if row["clip"] is None else row["clip"]))


def visible_rows(out: Path) -> list[dict[str, Any]]:
    """Read what a reader that knows nothing of vidcnn sees at this moment.

    It opens each file once: whoever opens a path twice may meet two states of it.
    """
    if out.suffix == ".parquet":
        return pq.ParquetFile(out).read().to_pylist() if out.exists() else []
    while True:
        try:
            files = sorted(out.iterdir()) if out.exists() else []
            assert all(path.name.startswith("part-") and path.suffix == ".parquet" for path in files)
            return [row for path in files for row in pq.ParquetFile(path).read().to_pylist()]
        except FileNotFoundError:
            continue  # an emptied part file was removed between listing and reading


def open_output(out: Path | str, **changes: Any) -> Output:
    arguments = {"settings": SETTINGS, "schema": SCHEMA, "run_id": "test"} | changes
    return Output.open(str(out), **arguments)


def write(out: Path | str, segments: Iterable[SegmentKey], *, publish: bool = True) -> None:
    """Do a whole run that commits these segments at once."""
    with open_output(out) as output:
        for key in segments:
            output.add(key, rows_of(key))
        output.commit()
        if publish:
            output.publish()


def old_ledger(ledger: Mapping[str, Entry]) -> str:
    """Write a ledger as versions before this one did: one string of a file's metadata."""
    names = sorted(ledger)
    entries = [ledger[name] for name in names]
    columns = {
        "video": names,
        **{field: [getattr(entry, field) for entry in entries] for field in ("size_bytes", "mtime_ns", "num_segments")},
        "segments": [None if entry.is_complete else intervals_of(entry.segments) for entry in entries],
        "num_rows": [entry.num_rows for entry in entries],
    }
    text = json.dumps(columns, ensure_ascii=False, separators=(",", ":"))
    return base64.b64encode(zlib.compress(text.encode())).decode()


def make_old(path: Path, padding: int = 0) -> None:
    """Make a file of predictions one as an earlier version wrote it: its ledger is in the metadata, nothing else.

    `padding` is what more videos would add to it.
    """
    with path.open("rb") as source:
        rows, values = pq.read_table(source, schema=SCHEMA), pq.read_metadata(path).metadata
    ledger = read_ledger(pa.OSFile, str(path))
    kept = {key.decode(): value.decode() for key, value in values.items() if key.startswith(b"vidcnn.")}
    kept = {key: value for key, value in kept.items() if key not in ("vidcnn.ledger_place", "vidcnn.generation")}
    with pq.ParquetWriter(path, SCHEMA) as writer:
        if rows.num_rows:
            writer.write_table(rows)
        text = old_ledger(ledger)
        writer.add_key_value_metadata({**kept, "vidcnn.ledger": " " * padding + text})


OLD = [segment(name, index, 2) for name in ("a", "b", "c") for index in (0, 1)] + [segment("bad-0")]
NEW = [
    *(segment("a", index, 2, version=1) for index in (0, 1)),  # changed
    *(segment("b", index, 3) for index in range(3)),  # planned in another way
    *(segment("d", index, 4) for index in range(4)),  # new
    segment("bad-0", version=1),
    segment("bad-1"),
]


def resume(out: str, seed: int, pause_seconds: float = 0.0) -> None:
    """Do what is not done of NEW, in an order and grouping of its own, and publish."""
    choose = random.Random(seed)
    todo = choose.sample(NEW, len(NEW))
    with open_output(out) as output:
        for key in todo:
            if key.index in output.done_segments(key.video, key.count):
                continue
            output.add(key, rows_of(key))
            if choose.random() < 0.3:
                output.commit()
            time.sleep(pause_seconds)
        output.publish()


def resume_and_die(out: str, seed: int, step: int) -> None:
    """Do the same, but be killed at one step of the file system, before it takes effect.

    The exit status is 0 when the run has fewer steps.
    """
    steps = 0

    def deadly(call: Callable[..., Any]) -> Callable[..., Any]:
        def step_or_die(*args: Any, **kwargs: Any) -> Any:
            nonlocal steps
            steps += 1
            if steps == step:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*args, **kwargs)

        return step_or_die

    for name in ("mkdir", "replace", "unlink", "rmdir", "fsync"):
        setattr(os, name, deadly(getattr(os, name)))
    resume(out, seed)
