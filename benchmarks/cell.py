"""What it costs to confine decoding processes: planning many files, and decoding clips, with and without.

Both ways do the same work in this process's own cells, as a run does: task by task, each cell with one child that lives
from task to task. They take turns in one program, each round in the other order than the round before, so that what
else happens on the machine meets both; what is told are medians, and the ratio of them. Besides the wall clock, the
seconds of processors count, those of the child and those of this process, which opens files for a child that is
confined. Starting a child is measured apart: until it has planned one file.

    python benchmarks/cell.py [--files DIR] [--s3] [--rounds 7] [--videos 400] [--out FILE]

Without files, three synthetic videos are decoded: 340x256, 720p and 1080p, H.264. What is planned are copies of a small
video, and with `--files` the files of that folder. With `--s3`, they come from object storage: moto's server, in a
process of its own on this machine, which answers in a few milliseconds. A child that is confined asks this process for
each piece of them. The server's own time counts only in the wall clock.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal

from decode import SIZES, write_synthetic
from environment import environment
from killing.server import BUCKET, running_server
from pyarrow import fs

from vidcnn.processes import cpu_seconds
from vidcnn.sampling.preprocessing import Preprocessing
from vidcnn.sampling.segments import ClipSpec, Sampling
from vidcnn.sources import Listing, SourceVideo
from vidcnn.video.attempts import decode_in_cell, plan_in_cell
from vidcnn.video.batching import DecodeSettings
from vidcnn.video.cell import Cell
from vidcnn.video.container import MAX_PIXELS
from vidcnn.video.planning import PlannedSegment, PlanSettings, group_segments

Way = Literal["auto", "off"]

WAYS: tuple[Way, Way] = ("auto", "off")
HALF = (0.5, 0.5, 0.5)
PREPROCESSING = Preprocessing(resize=(128, 171), crop=(112, 112), mean=HALF, std=HALF)
SMALL = (128, 96, 30)
"""Width, height and frames of the video whose copies are planned."""
VIDEOS_PER_TASK = 50
MAX_UNIT_FRAMES = 1024
BATCH_SIZE = 8
FIGURES = ("seconds", "cpu_seconds", "child_cpu_seconds", "parent_cpu_seconds")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=Path, help="folder of videos to plan and decode")
    parser.add_argument("--s3", action="store_true", help="let the videos come from object storage")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--videos", type=int, default=400, help="copies that are planned")
    parser.add_argument("--out", type=Path, help="write the figures as JSON too")
    arguments = parser.parse_args()
    if arguments.serve:
        serve()
        return
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        plannable = arguments.files or copies(Path(folder, "small"), arguments.videos)
        decodable = arguments.files or synthetic(Path(folder, "sizes"))
        sources, apart = (str(plannable), str(decodable)), frozenset[int]()
        if arguments.s3:
            server, host = stack.enter_context(served())
            sources, apart = (upload(plannable, host), upload(decodable, host)), frozenset([server])
        parts, strength = measure(list(listed(sources[0])), list(listed(sources[1])), arguments.rounds, apart)
    for name, part in parts.items():
        print(row(name, part))
    report = {
        **environment(("av", "numpy", "pyarrow", *(["moto"] if arguments.s3 else []))),
        "files": "real" if arguments.files else "synthetic",
        "storage": "s3" if arguments.s3 else "local",
        "rounds": arguments.rounds,
        "confinement": strength,
        "parts": parts,
    }
    if arguments.out:
        arguments.out.write_text(json.dumps(report, indent=2) + "\n")


def row(name: str, part: dict[str, Any]) -> str:
    """Return a line of the table."""
    figures = [f"{unit} {part['auto'][unit]:,.2f} and {part['off'][unit]:,.2f}" for unit in part["auto"]]
    ratios = ", ".join(f"{unit} {ratio:.3f}" for unit, ratio in part["ratios"].items())
    return f"{name:6} confined and not: {', '.join(figures)}; ratios: {ratios}"


def copies(folder: Path, number: int) -> Path:
    """Make copies of a small video."""
    folder.mkdir()
    width, height, num_frames = SMALL
    first = write_synthetic(folder / "0.mp4", width, height, num_frames)
    for index in range(1, number):
        shutil.copyfile(first, folder / f"{index}.mp4")
    return folder


def synthetic(folder: Path) -> Path:
    """Write a video of each usual size."""
    folder.mkdir()
    for width, height, num_frames in SIZES:
        write_synthetic(folder / f"{width}x{height}.mp4", width, height, num_frames)
    return folder


def serve() -> None:
    """Serve object storage until nobody listens any more."""
    with running_server() as server:
        print(server.host, flush=True)
        sys.stdin.read()


@contextmanager
def served() -> Iterator[tuple[int, str]]:
    """Run a server of object storage in another process, and yield its process and its address."""
    os.environ |= {"AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none", "AWS_EC2_METADATA_DISABLED": "true"}
    os.environ.pop("AWS_ENDPOINT_URL", None)
    line = [sys.executable, __file__, "--serve"]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield process.pid, process.stdout.readline().strip()
        finally:
            process.stdin.close()


def upload(folder: Path, host: str) -> str:
    """Put the files of a folder into object storage, and return where they are."""
    options = f"?endpoint_override={host}&scheme=http&region=us-east-1"
    storage, root = fs.FileSystem.from_uri(f"s3://{BUCKET}/{folder.name}{options}")
    for path in folder.rglob("*"):
        if path.is_file():
            with storage.open_output_stream(f"{root}/{path.relative_to(folder)}") as sink:
                sink.write(path.read_bytes())
    return f"s3://{root}{options}"


def listed(source: str) -> Iterator[SourceVideo]:
    """Yield the videos of a source."""
    return (video for video in Listing([source]) if video.error is None)


def plan_settings(way: Way) -> PlanSettings:
    return PlanSettings(ClipSpec(Sampling(16, stride=4)), 25.0, MAX_PIXELS, sandbox=way)


def plan(videos: list[SourceVideo], way: Way, cell: Cell) -> list[PlannedSegment]:
    """Plan videos task by task; those that cannot be read are left out."""
    planned: list[PlannedSegment] = []
    for start in range(0, len(videos), VIDEOS_PER_TASK):
        for _, found in plan_in_cell(videos[start : start + VIDEOS_PER_TASK], plan_settings(way), cell):
            planned += found if isinstance(found, tuple) else ()
    return planned


def decode(units: list[list[PlannedSegment]], way: Way, cell: Cell) -> int:
    """Decode units, and return the number of their clips."""
    settings = DecodeSettings(PREPROCESSING, exact=False, batch_size=BATCH_SIZE, max_pixels=MAX_PIXELS, sandbox=way)
    return sum(len(batch.clips) for unit in units for batch, _ in decode_in_cell(unit, settings, cell))


def measure(
    plannable: list[SourceVideo], decodable: list[SourceVideo], rounds: int, apart: frozenset[int]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the figures of each part, and what confined the children of one way.

    Args:
        plannable: What is planned.
        decodable: What is decoded.
        rounds: How often.
        apart: Children of this process whose time does not count.
    """
    with ExitStack() as stack:
        planners = {way: stack.enter_context(Cell()) for way in WAYS}
        decoders = {way: stack.enter_context(Cell()) for way in WAYS}
        units = list(group_segments(iter(plan(decodable, "auto", planners["auto"])), max_frames=MAX_UNIT_FRAMES))
        num_planned = len(plan(plannable, "auto", planners["auto"]))
        num_clips = decode(units, "auto", decoders["auto"])
        assert num_planned == len(plan(plannable, "off", planners["off"]))
        assert num_clips == decode(units, "off", decoders["off"])
        parts = {
            "plan": compared(lambda way: plan(plannable, way, planners[way]), rounds, apart),
            "decode": compared(lambda way: decode(units, way, decoders[way]), rounds, apart),
        }
        for name, number, unit in (("plan", len(plannable), "videos"), ("decode", num_clips, "clips")):
            parts[name] = {unit: number, **parts[name]}
            for way in WAYS:
                parts[name][way][f"{unit}_per_second"] = number / parts[name][way]["seconds"]
        strength = decoders["auto"].strength
        generations = [cell.generation for cell in (*planners.values(), *decoders.values())]
        assert generations == [1] * 4, "a child was replaced meanwhile"
    with ExitStack() as stack:
        fresh = {way: stack.enter_context(Cell()) for way in WAYS}

        parts["start"] = compared(
            lambda way: plan(decodable[:1], way, fresh[way]), rounds, apart, before=lambda way: fresh[way].close()
        )
    assert strength is not None
    return parts, strength._asdict()


def compared(
    work: Callable[[Way], object],
    rounds: int,
    apart: frozenset[int] = frozenset(),
    before: Callable[[Way], object] = lambda _: None,
) -> dict[str, Any]:
    """Do some work in both ways in turns; return medians for each of them, and ratios of confined to not.

    Args:
        work: The work; of all children of this process, only its own computes meanwhile.
        rounds: How often.
        apart: Children of this process whose time does not count.
        before: What is done before it, and does not count.
    """
    taken: dict[Way, list[tuple[float, ...]]] = {way: [] for way in WAYS}
    for number in range(rounds):
        for way in WAYS if number % 2 else WAYS[::-1]:
            before(way)
            began = clocks(apart)
            work(way)
            taken[way].append(tuple(max(0.0, new - old) for new, old in zip(clocks(apart), began, strict=True)))
    medians: dict[str, Any] = {
        way: dict(zip(FIGURES, map(statistics.median, zip(*taken[way], strict=True)), strict=True)) for way in WAYS
    }
    ratios = {name: medians["auto"][name] / medians["off"][name] for name in FIGURES if medians["off"][name] > 0}
    return {**medians, "ratios": ratios}


def clocks(apart: frozenset[int]) -> tuple[float, ...]:
    """Return the wall clock, and what this process and its other children have computed: together, they, and it."""
    children = {int(pid) for path in Path("/proc/self/task").glob("*/children") for pid in path.read_text().split()}
    theirs, own = sum(map(cpu_seconds, children - apart)), time.process_time()
    return time.perf_counter(), theirs + own, theirs, own


if __name__ == "__main__":
    main()
