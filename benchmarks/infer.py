"""How near `vidcnn infer` comes to what the machine can do, and how far it is ahead of a naive script.

Measures, in one run and on one source:

- the model alone on all cores, m clips/s, and decoding alone on all cores, d clips/s;
- the whole command, from its first rows to its last;
- a naive script: PyAV frame by frame, torchvision's preset, the model as torchvision builds it.

The ceiling is ``1 / (1/m + 1/d)`` where model and decoders share the cores, and ``min(m, d)`` where a GPU runs the
model.

    python benchmarks/infer.py --source DIR [--model r3d_18] [--seconds 20]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

PACKAGES = ("torch", "torchvision", "ray", "av", "pyarrow", "opencv-python-headless", "numpy")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, required=True, help="videos; copied until there are enough")
    parser.add_argument("--model", default="r3d_18")
    parser.add_argument("--videos", type=int, default=24, help="number of videos, copies counted")
    parser.add_argument("--seconds", type=float, default=20.0, help="time for each part measured alone")
    parser.add_argument("--compile", choices=("auto", "on", "off"), default="auto")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of all parts; medians are reported")
    parser.add_argument("--out", type=Path, help="write the figures as JSON too")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        source = copy_videos(arguments.source, Path(scratch, "videos"), arguments.videos)
        rounds = []
        for number in range(arguments.rounds):
            figures = measure(source, arguments, Path(scratch, f"preds_{number}.parquet"))
            print(f"round {number + 1}: " + ", ".join(f"{name} {value:.3g}" for name, value in figures.items()))
            rounds.append(figures)
    result = {name: statistics.median(figures[name] for figures in rounds) for name in rounds[0]}
    report = {"date": datetime.now(UTC).date().isoformat(), **describe(arguments), "median": result, "rounds": rounds}
    print(json.dumps(report, indent=2))
    if arguments.out:
        arguments.out.write_text(json.dumps(report, indent=2) + "\n")


def measure(source: Path, arguments: argparse.Namespace, out: Path) -> dict[str, float]:
    """Measure every part once, in clips/s."""
    command = run_command(source, arguments, out)
    model = run_alone("model", source, arguments)
    decode = decode_rate(source, arguments)
    naive = run_alone("naive", source, arguments)
    gpu = has_gpu()
    ceiling = min(model, decode) if gpu else 1 / (1 / model + 1 / decode)
    return {
        "model": model,
        "decode": decode,
        "ceiling": ceiling,
        "command": command["steady"],
        "command_whole": command["whole"],
        "naive": naive,
        "command_to_ceiling": command["steady"] / ceiling,
        "command_to_naive": command["steady"] / naive,
        "command_whole_to_naive": command["whole"] / naive,
    }


def run_command(source: Path, arguments: argparse.Namespace, out: Path) -> dict[str, float]:
    """Run the whole command as a user does."""
    line = [sys.executable, "-m", "vidcnn", "infer", str(source), "--out", str(out), "--model", arguments.model]
    line += ["--weights", "random", "--compile", arguments.compile, "--json", "--quiet"]
    began = time.monotonic()
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    elapsed = time.monotonic() - began
    summary = json.loads(done.stdout)
    return {"steady": summary["run"]["clips_per_second"], "whole": summary["clips"] / elapsed}


def run_alone(part: str, source: Path, arguments: argparse.Namespace) -> float:
    """Measure a part in a process of its own, so that no part leaves anything behind for another."""
    line = [sys.executable, __file__, "--part", part, str(source), arguments.model, str(arguments.seconds)]
    line.append(arguments.compile)
    return float(subprocess.run(line, capture_output=True, text=True, check=True).stdout.split()[-1])


def model_rate(model: str, seconds: float, compiled: str) -> float:
    """Return the clips/s of the model alone, warmed up, on clips in memory."""
    from vidcnn.inference.classifier import Classifier
    from vidcnn.models.resolve import resolve_model

    bundle = resolve_model(model, weights="random")
    classifier = Classifier(
        bundle, compile="on" if compiled == "on" else "off", num_threads=len(os.sched_getaffinity(0))
    )
    crop = bundle.preprocessing.crop
    shape = (classifier.batch_size, bundle.sampling.num_frames, *crop, 3)
    clips = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    return rate(lambda: len(classifier.predict(clips).probabilities), seconds)


def naive_rate(source: Path, model: str, seconds: float) -> float:
    """Return the clips/s of a script as one writes it in an afternoon."""
    import av
    import torch
    from torchvision.models import get_model, get_model_weights

    network = get_model(model, weights=None).eval()
    preset = next(iter(get_model_weights(model))).transforms()

    def clips() -> Iterator[torch.Tensor]:
        while True:
            for path in sorted(source.iterdir()):
                with av.open(str(path)) as container:
                    stream = container.streams.video[0]
                    step = max(1, round(float(stream.average_rate or 15) / 15))
                    kept = []
                    for index, frame in enumerate(container.decode(stream)):
                        if index % step == 0:
                            kept.append(torch.from_numpy(frame.to_ndarray(format="rgb24")))
                        if len(kept) == 16:
                            yield torch.stack(kept).permute(0, 3, 1, 2)  # (T, C, H, W)
                            kept = []

    supply = clips()

    def classify() -> int:
        with torch.inference_mode():
            network(preset(next(supply))[None]).softmax(1)
        return 1

    return rate(classify, seconds)


def decode_rate(source: Path, arguments: argparse.Namespace) -> float:
    """Return the clips/s that as many decoders as cores give together."""
    workers = len(os.sched_getaffinity(0))
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        jobs = [(str(source), arguments.model, arguments.seconds / 2, worker) for worker in range(workers)]
        return sum(pool.map(decode_alone, jobs))


def decode_alone(job: tuple[str, str, float, int]) -> float:
    """Decode videos over and over in this process."""
    from vidcnn.config import InferSpec
    from vidcnn.models.registry import architecture
    from vidcnn.sampling.segments import ClipSpec
    from vidcnn.sources import Listing
    from vidcnn.video.batching import DecodeSettings, decode_unit
    from vidcnn.video.planning import PlanSettings, plan_video

    source, model, seconds, worker = job
    entry, spec = architecture(model), InferSpec(source=(source,))
    plan = PlanSettings(ClipSpec(entry.sampling), spec.image_fps, spec.max_pixels)
    settings = DecodeSettings(entry.preprocessing, exact=False, batch_size=8, max_pixels=spec.max_pixels)
    videos = list(Listing([source]))
    videos = videos[worker:] + videos[:worker]
    position = 0

    def decode() -> int:
        nonlocal position
        position += 1
        unit = plan_video(videos[position % len(videos)], plan)
        return sum(len(batch.clips) for batch in decode_unit(unit, settings))

    return rate(decode, seconds)


def rate(work: Any, seconds: float) -> float:
    """Return how much `work` does per second, after a warm-up."""
    for _ in range(2):
        work()
    began, done = time.monotonic(), 0
    while time.monotonic() - began < seconds:
        done += work()
    return done / (time.monotonic() - began)


def copy_videos(source: Path, target: Path, number: int) -> Path:
    """Copy videos until there are `number` of them."""
    found = sorted(path for path in source.rglob("*") if path.is_file()) if source.is_dir() else [source]
    target.mkdir()
    for index in range(number):
        path = found[index % len(found)]
        shutil.copy(path, target / f"{index:05d}{path.suffix}")
    return target


def has_gpu() -> bool:
    """Tell whether a GPU runs the model."""
    import torch

    return torch.cuda.is_available()


def describe(arguments: argparse.Namespace) -> dict[str, Any]:
    """Say what was measured, on what, with what."""
    return {
        "model": arguments.model,
        "videos": arguments.videos,
        "source": arguments.source.name,
        "compile": arguments.compile,
        "cores": len(os.sched_getaffinity(0)),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
    }


if __name__ == "__main__":
    if sys.argv[1:2] == ["--part"]:
        part, source, model, seconds, compiled = sys.argv[2:]
        if part == "model":
            print(model_rate(model, float(seconds), compiled))
        else:
            print(naive_rate(Path(source), model, float(seconds)))
    else:
        main()
