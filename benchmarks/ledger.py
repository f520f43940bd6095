"""How much time and memory a table of very many videos takes: written, opened, asked, added to and published anew.

    python benchmarks/ledger.py --videos 50000000 --json benchmarks/results/ledger.json

Each video has one made row. Each stage is a process of its own, so that its peak of memory is its own too.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
from apart import apart, peak_gb
from environment import environment

from vidcnn.predictions.files import check_file, metadata, write_file
from vidcnn.predictions.output import Output
from vidcnn.predictions.rows import ERROR_KIND_TYPE, error_rows, prediction_schema
from vidcnn.predictions.section import LedgerWriter
from vidcnn.sources.keys import SegmentKey, VideoKey

PACKAGES = ("vidcnn", "pyarrow", "numpy", "duckdb", "polars")
SCHEMA = prediction_schema(num_classes_for_probabilities=None, embedding_size=None)
SETTINGS = {"model": "made", "weights_sha256": "0" * 64}
PIECE_VIDEOS = 128 * 1024
NUM_ASKED = 200_000
NUM_ADDED = 1000


def main() -> None:
    """Run all stages, print a table, and file what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=50_000_000)
    parser.add_argument("--directory", type=Path)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.directory) as directory:
        out = str(Path(directory, "preds.parquet"))
        found: dict[str, Any] = {**environment(PACKAGES), "videos": arguments.videos}
        for stage in (write, ask, publish, read):
            found[stage.__name__] = apart(stage, out, arguments.videos)
            print(stage.__name__, json.dumps(found[stage.__name__]), flush=True)
            if arguments.json:
                arguments.json.write_text(json.dumps(found, indent=2) + "\n")


def write(out: str, num_videos: int) -> dict[str, Any]:
    """Write a table as publishing does, and read back what it says of itself."""
    began = time.perf_counter()
    with LedgerWriter() as ledger:
        with open(out, "wb") as sink:
            write_file(sink, pieces(num_videos, ledger), SCHEMA, metadata(SETTINGS, "made", 1), ledger)
            place = ledger_bytes(out, sink)
        written = time.perf_counter()
        check_file(pa.OSFile, out, ledger, rows=False)
    checked = time.perf_counter()
    return {
        "seconds": round(written - began, 1),
        "seconds_read_back": round(checked - written, 1),
        "file_bytes": os.path.getsize(out),
        "ledger_bytes": place,
    }


def ask(out: str, num_videos: int) -> dict[str, Any]:
    """Open the table, and ask for videos that are in it, and for some that are not."""
    began = time.perf_counter()
    with Output.open(out, schema=SCHEMA, settings=SETTINGS) as output:
        opened, peak = time.perf_counter(), peak_gb()
        choose = random.Random(0)
        keys = [key_of(choose.randrange(num_videos)) for _ in range(NUM_ASKED)]
        strange = [VideoKey(f"new/{key.name}", key.size_bytes, key.mtime_ns) for key in keys]
        changed = [VideoKey(key.name, key.size_bytes + 1, key.mtime_ns) for key in keys]
        answers = {}
        for name, asked in (("held", keys), ("not_held", strange), ("changed", changed)):
            start = time.process_time()
            num_done = sum(map(output.is_done, asked))
            answers[f"microseconds_{name}"] = round((time.process_time() - start) / NUM_ASKED * 1e6, 2)
            assert num_done == (NUM_ASKED if name == "held" else 0)
        start = time.process_time()
        assert all(output.partly_done(key) == (1, frozenset({0})) for key in keys)
        answers["microseconds_partly_done"] = round((time.process_time() - start) / NUM_ASKED * 1e6, 2)
    return {"seconds_to_open": round(opened - began, 1), "peak_gb_when_open": peak, **answers}


def publish(out: str, num_videos: int) -> dict[str, Any]:
    """Add some videos and change some others, and publish: the whole table is merged, written, and read back."""
    with Output.open(out, schema=SCHEMA, settings=SETTINGS) as output:
        began = time.perf_counter()
        for number in range(NUM_ADDED):
            for key in (
                VideoKey(f"{name_of(number * 997 % num_videos)}-new", 1, 1),
                VideoKey(name_of(number), 1, 1),
            ):
                rows = error_rows(SCHEMA, key.name, kind="unreadable", message="made")
                assert output.add(SegmentKey(key, 0, 1), rows)
        output.publish()
        ended = time.perf_counter()
        summary = output.summary()
        assert summary.num_videos == summary.num_errors["unreadable"] == num_videos + NUM_ADDED
    return {"seconds": round(ended - began, 1), "seconds_summary": round(time.perf_counter() - ended, 1)}


def read(out: str, num_videos: int) -> dict[str, Any]:
    """Read the table with readers that know nothing of the ledger."""
    import duckdb
    import polars

    relation = duckdb.sql(f"select count(*), count(distinct error_kind), max(video) from '{out}'")
    assert relation is not None
    assert relation.fetchall()[0][0] == num_videos + NUM_ADDED
    assert polars.scan_parquet(out).select(polars.len()).collect().item() == num_videos + NUM_ADDED
    return {"rows": num_videos + NUM_ADDED}


def pieces(num_videos: int, ledger: LedgerWriter) -> Iterator[pa.Table]:
    for start in range(0, num_videos, PIECE_VIDEOS):
        names = []
        for number in range(start, min(num_videos, start + PIECE_VIDEOS)):
            key = key_of(number)
            ledger.add((key.name, key.size_bytes, key.mtime_ns, 1, None, 1))
            names.append(key.name)
        columns = {
            "video": pa.array(names),
            "error": pa.repeat("made", len(names)),
            "error_kind": pa.repeat("unreadable", len(names)).cast(ERROR_KIND_TYPE),
        }
        yield pa.table([columns.get(field.name, pa.nulls(len(names), field.type)) for field in SCHEMA], schema=SCHEMA)


def name_of(number: int) -> str:
    return f"camera-{number // 100_000:04}/2026-01-{number // 4000 % 25 + 1:02}/clip_{number:08}.mp4"


def key_of(number: int) -> VideoKey:
    return VideoKey(name_of(number), 10**6 + number * 7919 % 10**6, 1_700_000_000_000_000_000 + number * 7_919_000_007)


def ledger_bytes(out: str, sink: Any) -> int:
    import pyarrow.parquet as pq

    sink.flush()
    return int(json.loads(pq.read_metadata(out).metadata[b"vidcnn.ledger_place"])["length"])


if __name__ == "__main__":
    main()
