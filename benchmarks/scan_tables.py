"""How much time and memory the ends of a scan take for very many videos: to compare, put together, count and read them.

    python benchmarks/scan_tables.py --rows 100000 1000000 --json benchmarks/results/scan-tables-2cpu.json
    python benchmarks/scan_tables.py --rows 5000000 --kinds mixed --stages compare

Rows are made. There are two tables of them: `mixed` has videos of many lengths and looks, a twentieth of them copies of
another and a twentieth nearly so; `crowded` has those of fifty cameras that do not move, all equally long, so that
thousands agree in each group of bits, of half of the cameras nearly the same and of the others not. Each stage is a
process of its own, so that its peak of memory is its own too.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from apart import apart, peak_gb
from environment import environment

from vidcnn.predictions.files import metadata, write_file
from vidcnn.predictions.ledger import Entry
from vidcnn.predictions.output import Output
from vidcnn.predictions.rows import ERROR_KIND_TYPE
from vidcnn.predictions.section import LedgerWriter
from vidcnn.scans import scan_schema
from vidcnn.scans.duplicates import Repeats
from vidcnn.scans.summary import COLUMNS, summarize_scan
from vidcnn.sources.filters import Filter
from vidcnn.sources.lists import SCAN, read_list

KINDS = ("mixed", "crowded")
SETTINGS = {"table": SCAN, "source_root": "/made"}
WHERE = "readable and duration_seconds > 5 and near_duplicate_of is null and video_codec in ('h264', 'hevc')"
PART_ROWS = 64 * 1024
NUM_CAMERAS = 50
COPY_EVERY = 20

_Words = npt.NDArray[np.uint64]


def main() -> None:
    """Run all stages, print what they took, and file it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000])
    parser.add_argument("--kinds", choices=KINDS, nargs="+", default=list(KINDS))
    parser.add_argument("--stages", choices=list(STAGES), nargs="+", default=list(STAGES))
    parser.add_argument("--directory", type=Path)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    found: dict[str, Any] = {**environment(("vidcnn", "pyarrow", "numpy")), "tables": []}
    for num_rows in arguments.rows:
        for kind in arguments.kinds:
            with tempfile.TemporaryDirectory(dir=arguments.directory) as directory:
                out = str(Path(directory, "scan.parquet"))
                table: dict[str, Any] = {"rows": num_rows, "kind": kind}
                found["tables"].append(table)
                for stage in (STAGES[name] for name in arguments.stages):
                    table[stage.__name__] = apart(stage, out, kind, num_rows)
                    print(kind, num_rows, stage.__name__, json.dumps(table[stage.__name__]), flush=True)
                    if arguments.json:
                        arguments.json.write_text(json.dumps(found, indent=2) + "\n")


def compare(out: str, kind: str, num_rows: int) -> dict[str, Any]:
    """Compare all videos, without a table to read them from."""

    def tables(columns: list[str]) -> Iterator[pa.Table]:
        for start in range(0, num_rows, PART_ROWS):
            numbers = np.arange(start, min(num_rows, start + PART_ROWS))
            values: dict[str, Any] = {"video": pa.array([name_of(number) for number in numbers.tolist()])}
            if columns != ["video"]:
                values |= looks(numbers, kind)
            yield pa.table({name: values[name] for name in columns})

    repeats = Repeats(tables)
    return {"same": repeats.num_same, "near": repeats.num_near}


def write_parts(out: str, kind: str, num_rows: int) -> dict[str, Any]:
    """Write what a run leaves before its end: part files, two at a time, each with every second video."""
    folder = Path(out).with_name(f".{Path(out).name}.vidcnn")
    folder.mkdir()
    for number, start in enumerate(range(0, num_rows, 2 * PART_ROWS)):
        for half in range(2):
            numbers = np.arange(start + half, min(num_rows, start + 2 * PART_ROWS), 2)
            rows = made_rows(numbers, kind)
            ledger = {name: Entry(1, 1, 1, 1, 1, ()) for name in rows["video"].to_pylist()}
            with LedgerWriter.of(ledger) as writer, open(folder / f"part-{number:06}-{half}.parquet", "wb") as sink:
                write_file(sink, [rows], scan_schema(), metadata(SETTINGS, "made", 1), writer)
    return {"file_bytes": sum(path.stat().st_size for path in folder.iterdir())}


def publish(out: str, kind: str, num_rows: int) -> dict[str, Any]:
    """Compare all videos, and put the parts together."""
    began = time.perf_counter()
    with Output.open(out, schema=scan_schema(), settings=SETTINGS) as output:
        opened, peak = time.perf_counter(), peak_gb()
        repeats = Repeats(output.read_in_order)
        num_same, num_near = repeats.num_same, repeats.num_near
        compared, peak_compared = time.perf_counter(), peak_gb()
        output.publish(repeats)
    return {
        "seconds_to_open": round(opened - began, 1),
        "peak_gb_when_open": peak,
        "seconds_to_compare": round(compared - opened, 1),
        "peak_gb_when_compared": peak_compared,
        "seconds_to_put_together": round(time.perf_counter() - compared, 1),
        "same": num_same,
        "near": num_near,
    }


def summarize(out: str, kind: str, num_rows: int) -> dict[str, Any]:
    """Count the rows of the table."""
    with Output.open(out, schema=scan_schema(), settings=SETTINGS) as output:
        began = time.perf_counter()
        found = summarize_scan(output.read(COLUMNS))
        assert found.num_videos == num_rows
        return {"seconds": round(time.perf_counter() - began, 1), "bad_videos": found.num_bad_videos}


def read_source(out: str, kind: str, num_rows: int) -> dict[str, Any]:
    """Read the names of the videos that meet a condition, as `vidcnn infer` does before it looks for them."""
    began = time.perf_counter()
    num_found = sum(1 for _ in read_list(out, where=Filter(WHERE)))
    return {"seconds": round(time.perf_counter() - began, 1), "found": num_found}


def made_rows(numbers: npt.NDArray[np.int64], kind: str) -> pa.Table:
    """Return rows of some videos, by their number."""
    num = len(numbers)
    is_bad = (numbers % 100 == 99) & (kind == "mixed")
    seen = looks(numbers, kind)
    lengths = seen["duration_seconds"].to_numpy()
    shares = random_words(numbers, 1, seed=6)[:, 0] % 100
    codecs = np.array(["h264", "hevc", "vp9", "av1"])[np.searchsorted([60, 85, 95], shares, side="right")]
    stretches = pa.array(
        [[{"start_seconds": 1.0, "end_seconds": 2.5}] if share < 3 else [] for share in shares.tolist()],
        scan_schema().field("black").type,
    )
    values: dict[str, Any] = {
        "readable": pa.array(~is_bad),
        "size_bytes": 10**6 + shares.astype(np.int64) * 7919,
        "modified": pa.array(numbers * 1_000_003 + 1_700_000_000_000_000, pa.timestamp("us", tz="UTC")),
        "container": pa.array(np.where(shares < 80, "mp4", "matroska"), mask=is_bad),
        "video_codec": pa.array(codecs, mask=is_bad),
        "width": pa.array(np.where(shares < 70, 1920, 1280).astype(np.int32), mask=is_bad),
        "height": pa.array(np.where(shares < 70, 1080, 720).astype(np.int32), mask=is_bad),
        "pixel_format": pa.array(np.full(num, "yuv420p"), mask=is_bad),
        "bit_depth": pa.array(np.full(num, 8, np.int32), mask=is_bad),
        "is_hdr": pa.array(shares == 0, mask=is_bad),
        "duration_seconds": pa.array(lengths, mask=is_bad),
        "num_frames": pa.array((lengths * 25).astype(np.int64), mask=is_bad),
        "frame_rate": pa.array(np.full(num, 25.0), mask=is_bad),
        "is_variable_rate": pa.array(shares < 10, mask=is_bad),
        "num_gaps": pa.array((shares < 2).astype(np.int64), mask=is_bad),
        "longest_gap_seconds": pa.array(np.where(shares < 2, 3.5, 0.0), mask=is_bad),
        "num_keyframes": pa.array((lengths / 2).astype(np.int64) + 1, mask=is_bad),
        "longest_keyframe_seconds": pa.array(np.full(num, 2.0), mask=is_bad),
        "num_audio_streams": pa.array(np.ones(num, np.int32), mask=is_bad),
        "is_encrypted": np.zeros(num, bool),
        "num_samples": pa.array(lengths.astype(np.int64), mask=is_bad),
        "num_damaged": pa.array((shares == 1).astype(np.int64), mask=is_bad),
        "black": stretches,
        "black_seconds": pa.array(np.where(shares < 3, 1.5, 0.0), mask=is_bad),
        "content_hash": seen["content_hash"],
        "perceptual_hash": pc.if_else(pa.array(is_bad), None, seen["perceptual_hash"]),
        "error": pa.array(np.full(num, "it has no video stream (only audio)"), mask=~is_bad),
        "error_kind": pa.array(np.full(num, "no_video"), mask=~is_bad).cast(ERROR_KIND_TYPE),
        "video": [name_of(number) for number in numbers.tolist()],
    }
    columns = [
        pa.array(values[field.name], field.type) if field.name in values else pa.nulls(num, field.type)
        for field in scan_schema()
    ]
    return pa.table(columns, schema=scan_schema())


def looks(numbers: npt.NDArray[np.int64], kind: str) -> dict[str, pa.Array]:
    """Return what videos are compared by, by column."""
    num = len(numbers)
    is_copy, is_near = numbers % COPY_EVERY == 7, numbers % COPY_EVERY == 11
    original = numbers - np.where(is_copy, 7, 0) - np.where(is_near, 11, 0)
    content = random_words(np.where(is_copy, original, numbers), 4, seed=1)
    if kind == "mixed":
        prints = random_words(original, 8, seed=2)
        prints ^= np.where(is_near[:, None], sparse_words(numbers, 8), 0).astype(np.uint64)  # a pair of 32 bits
        lengths = 2 + random_words(original, 1, seed=3)[:, 0] % 100_000 / 100
    else:
        camera = numbers % NUM_CAMERAS
        noise = sparse_words(numbers, 8)
        more = sparse_words(numbers + (1 << 40), 8) & random_words(numbers, 8, seed=4)
        prints = random_words(camera, 8, seed=2) ^ np.where((camera < NUM_CAMERAS // 2)[:, None], noise, noise | more)
        prints = np.where(is_copy[:, None], random_words(original, 8, seed=5), prints)
        lengths = np.full(num, 60.0)
    return {
        "content_hash": pa.array([row.tobytes().hex() for row in content]),
        "perceptual_hash": pa.array([row.tobytes() for row in prints], pa.binary(64)),
        "duration_seconds": pa.array(lengths),
    }


def name_of(number: int) -> str:
    return f"camera-{number // 100_000:04}/2026-01-{number // 4000 % 25 + 1:02}/clip_{number:08}.mp4"


def random_words(numbers: npt.NDArray[Any], width: int, *, seed: int) -> _Words:
    """Return words (N, width) that depend on the numbers alone, and look random (splitmix64)."""
    state: _Words = np.add.outer(numbers.astype(np.uint64) * np.uint64(width), np.arange(width, dtype=np.uint64))
    state = (state + np.uint64(seed << 56)) * np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ state >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ state >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return state ^ state >> np.uint64(31)


def sparse_words(numbers: npt.NDArray[Any], width: int) -> _Words:
    """Return words in which one bit in sixteen is set."""
    words = [random_words(numbers, width, seed=seed) for seed in range(8, 12)]
    return words[0] & words[1] & words[2] & words[3]


STAGES = {stage.__name__: stage for stage in (compare, write_parts, publish, summarize, read_source)}

if __name__ == "__main__":
    main()
