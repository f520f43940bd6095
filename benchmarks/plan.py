"""What a very long list of videos costs the driver: listing, planning, continuing, publishing.

Makes a source of empty files and takes it through the pipeline's own code in processes of their own. **Reading and
computing are stubbed**: a video "is" ten seconds at 25 frames a second, decoding gives black clips of a few pixels, and
the model one class. What is measured is all else: listing and looking up files, what is committed, Ray Data, planning
arithmetic, the table. Parts:

- `first`: `vidcnn infer` over a new source, ended some time after its first rows: the time until the first video is
  decoded, until the first rows are committed, and the driver's memory while the listing goes on;
- `list`: listing a source to its end, as a run does beside all else, and asking of each video whether it is done;
- `plan`: `vidcnn infer --dry-run` over a new source;
- `restart`: `vidcnn infer` where all but ten videos are committed: the time until the first of these is decoded, and
  until the table is published anew;
- `run`: `vidcnn infer` over the first `--run-videos`, to see what the driver's memory grows by.

    python benchmarks/plan.py [--videos 1000000,3000000] [--shapes tree,list,deep] [--parts first,plan] [--out FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from itertools import islice, product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from environment import environment
from stubs import MARKER, StubbedCount, StubbedDecode, StubbedPlan, StubbedScore

STEADY_SECONDS = 20.0
"""How long a run goes on after its first rows."""
NUM_LEFT = 10
"""Videos that a restart has left to do."""
SHAPES = {"tree": "folders of 1,000 files each", "list": "a list of paths", "deep": "a folder for each 10 files"}
CLIPS_PER_VIDEO = 10
LINKS = 30_000
"""Names of one file: file systems have a limit."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", default="1000000", help="how many; several are measured one after the other")
    parser.add_argument("--run-videos", type=int, default=20_000)
    parser.add_argument("--shapes", default="tree,list,deep", help="; ".join(f"{k}: {v}" for k, v in SHAPES.items()))
    parser.add_argument("--parts", default="first,list,plan,restart,run")
    parser.add_argument("--out", type=Path, help="write the figures as JSON too")
    parser.add_argument("--scratch", type=Path, help="where the empty files go; kept, and used again")
    arguments = parser.parse_args()
    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary:
        scratch = arguments.scratch or Path(temporary)
        for shape, number in product(arguments.shapes.split(","), map(int, arguments.videos.split(","))):
            source = make_source(shape, scratch / f"{shape}_{number}", number)
            for part in arguments.parts.split(","):
                num_videos = min(number, arguments.run_videos) if part == "run" else number
                figures = run_part(part, source, num_videos)
                results.append({"shape": shape, "part": part, "videos": num_videos, **figures})
                print(row(results[-1]), flush=True)
    report = {
        **environment(("ray", "pyarrow", "numpy")),
        "stubbed": "opening, decoding and classifying videos",
        "results": results,
    }
    if arguments.out:
        arguments.out.write_text(json.dumps(report, indent=2) + "\n")


def row(result: dict[str, Any]) -> str:
    """Return a line of the table."""
    figures = ", ".join(f"{name} {value:,.1f}" for name, value in result.items() if isinstance(value, float))
    return f"{result['shape']:5} {result['part']:8} {result['videos']:>10,} {figures}"


def make_source(shape: str, base: Path, number: int) -> Path:
    """Make a source of empty files, unless it is there from before. Files are links to others, which is faster."""
    source = base / "videos.txt" if shape == "list" else base
    done = base.with_suffix(f".{number}")
    if done.exists():
        return source
    per_folder = 10 if shape == "deep" else 1000
    paths = []
    linked = Path()
    for start in range(0, number, per_folder):
        folder = base / (f"{start // 10_000:03d}/{start // 100:05d}" if shape == "deep" else f"camera_{start:07d}")
        if shape == "deep":
            folder /= f"recording_{start:07d}"
        folder.mkdir(parents=True)
        for index in range(start, min(number, start + per_folder)):
            path = folder / f"part_{index:07d}.mp4"
            if index % LINKS:
                os.link(linked, path)
            else:
                linked = path
                path.touch()
            if shape == "list":
                paths.append(str(path.relative_to(base)))
    if shape == "list":
        source.write_text("\n".join(paths))
    done.touch()
    return source


def run_part(part: str, source: Path, number: int) -> dict[str, Any]:
    """Measure one part in a process of its own."""
    with tempfile.TemporaryDirectory() as scratch:
        line = [sys.executable, __file__, "--part", part, str(source), scratch, str(number)]
        environment = os.environ | {MARKER: str(Path(scratch, "began"))}
        if part == "restart":
            line[3] = "prepare"
            subprocess.run(line, env=environment, check=True)
            line[3] = part
        began = time.time()
        done = subprocess.run(line, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        figures["whole_seconds"] = time.time() - began
        marker = Path(scratch, "began")
        if marker.exists():
            figures["seconds_to_first_decode"] = float(marker.read_text()) - began
        for name in [name for name in figures if name.startswith("moment_")]:
            figures[f"seconds_to_{name.removeprefix('moment_')}"] = figures.pop(name) - began
        return figures


def work(part: str, source: str, scratch: Path, number: int) -> dict[str, Any]:
    """Do one part in this process."""
    from vidcnn.config import InferSpec
    from vidcnn.models.registry import architecture
    from vidcnn.models.resolve import make_bundle
    from vidcnn.pipelines import dataset, dry_run, infer, prepare

    stubs = {"PlanStage": StubbedPlan, "CountStage": StubbedCount, "DecodeStage": StubbedDecode}
    for name, stub in {**stubs, "ScoreStage": StubbedScore}.items():
        setattr(dataset, name, stub)
    bundle, labels = scratch / "bundle", scratch / "labels.txt"
    if not bundle.exists():
        labels.write_text("one\n")
        made = make_bundle("simple3d", weights="random", labels=str(labels), arguments={"width": 0.25})
        size = (architecture("simple3d").min_size,) * 2  # what is measured is not the filling of clips
        replace(made, preprocessing=replace(made.preprocessing, resize=size, crop=size)).save(bundle)
    spec = InferSpec(
        source=(source,), out=str(scratch / "preds.parquet"), model=str(bundle), compile="off", precision="fp32"
    )
    if part == "prepare":
        from vidcnn.inference.job import InferenceJob

        commit_all_but(InferenceJob(spec, prepare.load_bundle(spec)), number, NUM_LEFT)
        return {}
    if part == "plan":
        plan = dry_run.plan_source(spec)
        assert (plan.num_videos_planned, plan.bad_videos) == (number, ())
        assert plan.num_clips == number * CLIPS_PER_VIDEO
        return {"driver_mb": peak_mb(), "driver_cpu_seconds": time.process_time()}
    if part == "list":
        return list_all(spec, number)
    if part == "first":
        return first_rows(spec)
    if part == "run":
        spec = spec.model_copy(update={"limit": number})
    report = infer.run_inference(spec, show_progress=False)
    assert report.summary.num_videos == number
    assert not report.summary.num_errors, report.summary.bad_videos
    assert report.num_videos_done == (NUM_LEFT if part == "restart" else number)
    assert report.num_clips_done == report.num_videos_done * CLIPS_PER_VIDEO
    return {"driver_mb": peak_mb(), "driver_cpu_seconds": time.process_time()}


def list_all(spec: Any, number: int) -> dict[str, Any]:
    """List a source to its end."""
    from vidcnn.inference.job import InferenceJob
    from vidcnn.pipelines import prepare
    from vidcnn.pipelines.pending import list_pending, not_done
    from vidcnn.predictions.output import Output

    job = InferenceJob(spec, prepare.load_bundle(spec))
    with Output.open(spec.out, schema=job.schema, settings={}) as output:
        began, own = time.process_time(), memory_mb()["own"]
        with list_pending(job.listing, output, None, 0.0) as pending:
            pending.wait()
            listed = time.process_time()
            assert sum(1 for _ in not_done(pending, output)) == number
            return {
                "cpu_seconds_listing": listed - began,
                "cpu_seconds_asking": time.process_time() - listed,
                "driver_mb_more": memory_mb()["own"] - own,
                "spool_mb": pending.videos.path.stat().st_size / 2**20,
            }


def first_rows(spec: Any) -> dict[str, Any]:
    """Run until the first rows are committed, and a while longer."""
    from vidcnn.errors import RunInterruptedError
    from vidcnn.pipelines import infer
    from vidcnn.predictions.output import Output
    from vidcnn.reporting.run_report import RunRecord

    signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell runs in the background ignores it
    record, commit = RunRecord(), Output.commit
    moments: dict[str, float] = {}

    def commit_and_note(output: Output) -> None:
        commit(output)
        if not output.is_empty:
            moments.setdefault("moment_first_rows", time.time())
            moments.setdefault("driver_mb_at_first_rows", peak_mb())

    def watch() -> None:
        while "moment_first_rows" not in moments:
            time.sleep(0.1)
        time.sleep(STEADY_SECONDS)
        moments["videos_listed"] = float(record.num_listed or 0)
        moments.update((f"driver_mb_{name}", value) for name, value in memory_mb().items())
        os.kill(os.getpid(), signal.SIGINT)

    Output.commit = commit_and_note  # type: ignore[method-assign,assignment]
    threading.Thread(target=watch, daemon=True).start()
    with suppress(RunInterruptedError):
        infer.run_inference(spec, show_progress=False, record=record)
    assert record.progress is not None
    done = float(record.progress.num_videos_done)
    return {**moments, "videos_done": done, "driver_mb": peak_mb(), "driver_cpu_seconds": time.process_time()}


def commit_all_but(job: Any, number: int, num_left: int) -> None:
    """Write the table that a stubbed run would have left, but for the last few videos."""
    from vidcnn.inference.runtime import Runtime
    from vidcnn.predictions.ledger import Entry
    from vidcnn.predictions.output import Output
    from vidcnn.predictions.output_storage import open_storage
    from vidcnn.predictions.section import LedgerWriter
    from vidcnn.video.planning import video_key

    clips = CLIPS_PER_VIDEO
    with ExitStack() as stack:
        storage = open_storage(job.spec.out)
        stack.callback(storage.close)
        output = stack.enter_context(Output.in_storage(storage, schema=job.schema))
        output.use_settings(job.settings(Runtime("fp32", False)))
        videos = sorted((video.name, video) for video in islice(job.listing, number - num_left))
        keys = [video_key(video) for _, video in videos]
        held = {key.name: Entry(key.size_bytes, key.mtime_ns, 1, 1, clips) for key in keys}
        with LedgerWriter.of(held) as ledger:
            assert storage.final_path is not None
            output._write(storage.final_path, ledger, row_tables(job, [key.name for key in keys]))


def row_tables(job: Any, names: list[str], videos_per_table: int = 10_000) -> Iterator[pa.Table]:
    """Make the rows of videos, in order."""
    from vidcnn.predictions import prediction_rows

    for start in range(0, len(names), videos_per_table):
        some = names[start : start + videos_per_table]
        clips = np.tile(np.arange(CLIPS_PER_VIDEO), len(some))
        rows = prediction_rows(
            job.schema,
            "",
            clips=clips,
            start_seconds=clips * 1.0,
            end_seconds=clips + 1.0,
            labels=job.bundle.labels,
            top_indices=np.zeros((len(clips), 1), np.int64),
            top_scores=np.ones((len(clips), 1), np.float32),
        )
        yield rows.set_column(0, "video", pa.array(np.repeat(some, CLIPS_PER_VIDEO), pa.string()))


def memory_mb() -> dict[str, float]:
    """Return the memory that this process has now: of its own, of files, and shared with others."""
    fields = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    names = {"own": "RssAnon", "files": "RssFile", "shared": "RssShmem"}
    return {name: int(fields[field].split()[0]) / 1024 for name, field in names.items()}


def peak_mb() -> float:
    """Return the largest memory that this process has had, pages shared with others included."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return float("nan")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--part"]:
        print(json.dumps(work(sys.argv[2], sys.argv[3], Path(sys.argv[4]), int(sys.argv[5]))))
    else:
        main()
