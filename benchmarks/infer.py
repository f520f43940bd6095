r"""How near `vidcnn infer` comes to what the machine can do, and how far it is ahead of other ways of doing it.

Measures, in one run and on one source, in clips/s:

- the model alone on all cores, in each precision, and decoding alone on all cores;
- the whole command in each precision: from its first rows to its last, and from its start to its end;
- the same work by others (`benchmarks/peers.py`): a script with PyAV and torchvision, in float32 and in bfloat16; plain
  Ray Data; Daft. Those that are not installed are left out (``pip install -e '.[bench]'``).

The ceiling is ``1 / (1/model + 1/decode)`` where model and decoders share the cores, and the smaller of both where a
GPU runs the model. int8 is of the same network, calibrated on the first videos of the source.

    python benchmarks/infer.py --source DIR [--model r3d_18] [--seconds 20] [--precisions int8 fp32] [--out FILE]

With a network that computes next to nothing, what remains is what the pipeline costs besides decoding::

    python benchmarks/infer.py --source DIR --videos 600 --no-peers \
        --model simple3d --arguments 'channels=[1]' hidden=1 --precisions fp32
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
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from environment import environment

PACKAGES = ("torch", "torchvision", "ray", "av", "pyarrow", "opencv-python-headless", "numpy", "daft")
PEERS = {
    "naive fp32": ("naive", "fp32"),
    "naive bf16": ("naive", "bf16"),
    "Ray Data": ("ray", ""),
    "Daft": ("daft", ""),
}
"""What each runs, and in which precision; ``""`` is the faster one of this machine."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, required=True, help="videos; copied until there are enough")
    parser.add_argument("--model", default="r3d_18")
    parser.add_argument("--arguments", nargs="*", default=[], metavar="NAME=VALUE", help="of the model")
    parser.add_argument("--videos", type=int, default=24, help="number of videos, copies counted")
    parser.add_argument("--seconds", type=float, default=20.0, help="time for each part that may be stopped")
    parser.add_argument("--precisions", nargs="+", default=["int8", "fp32", "bf16"])
    parser.add_argument("--compile", choices=("auto", "on", "off"), default="off")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of all parts; medians are reported")
    parser.add_argument("--peers-python", default=sys.executable, help="the Python that has the peers installed")
    parser.add_argument("--no-peers", action="store_true", help="leave the peers out")
    parser.add_argument("--out", type=Path, help="write the figures as JSON too")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        source = copy_videos(arguments.source, Path(scratch, "videos"), arguments.videos)
        models = make_models(Path(scratch), source, arguments)
        rounds = []
        for number in range(arguments.rounds):
            figures = measure(Path(scratch, f"round_{number}"), source, models, arguments)
            print(
                f"round {number + 1}: " + ", ".join(f"{name} {value:.3g}" for name, value in figures.items()),
                flush=True,
            )
            rounds.append(figures)
    result = {name: statistics.median(figures[name] for figures in rounds) for name in rounds[0]}
    report = {
        "date": datetime.now(UTC).date().isoformat(),
        **describe(arguments),
        "median": result,
        "ratios": ratios(result, arguments.precisions),
        "rounds": rounds,
    }
    print(json.dumps(report, indent=2))
    if arguments.out:
        arguments.out.write_text(json.dumps(report, indent=2) + "\n")


def make_models(scratch: Path, source: Path, arguments: argparse.Namespace) -> dict[str, str]:
    """Return the bundle to run in each precision: random weights, the same in all."""
    plain, quantized = scratch / "bundle", scratch / "bundle8"
    given = [word for text in arguments.arguments for word in ("--argument", text)]
    run("bundle", arguments.model, "--weights", "random", "--out", plain, *given)
    if "int8" in arguments.precisions:
        sample = scratch / "calibration"
        sample.mkdir()
        for path in sorted(source.iterdir())[:8]:
            shutil.copy(path, sample)
        # With random weights the likeliest class of a clip hangs by a thread; speed does not depend on it.
        run("quantize", plain, "--data", sample, "--out", quantized, "--min-agreement", "0", "--clips", "48")
    return {name: str(quantized if name == "int8" else plain) for name in arguments.precisions}


def measure(scratch: Path, source: Path, models: dict[str, str], arguments: argparse.Namespace) -> dict[str, float]:
    """Measure every part once, in clips/s."""
    scratch.mkdir()
    decode = decode_rate(source, arguments)
    figures = {"decode": decode}
    for precision, bundle in models.items():
        command = run_command(source, bundle, precision, scratch / f"{precision}.parquet", arguments.compile)
        model = run_alone("model", bundle, precision, str(arguments.seconds), arguments.compile)
        figures[f"model {precision}"] = model
        figures[f"ceiling {precision}"] = min(model, decode) if has_gpu() else 1 / (1 / model + 1 / decode)
        figures[f"vidcnn {precision}"] = command["steady"]
        figures[f"vidcnn {precision}, start to end"] = command["whole"]
    for name, (peer, precision) in ({} if arguments.no_peers else PEERS).items():
        found = run_peer(peer, precision or fastest(figures), source, arguments)
        if found is not None:
            figures[name], figures[f"{name}, start to end"] = found
    return figures


def fastest(figures: dict[str, float]) -> str:
    """Return the float precision in which the naive script is faster."""
    return "bf16" if figures.get("naive bf16", 0.0) > figures.get("naive fp32", 0.0) else "fp32"


def ratios(figures: dict[str, float], precisions: list[str]) -> dict[str, float]:
    """Return how the command compares with its ceiling and with the peers, all in steady state."""
    found: dict[str, float] = {}
    for precision in precisions:
        mine = figures[f"vidcnn {precision}"]
        others = {"its ceiling": figures[f"ceiling {precision}"], "decoding": figures["decode"]} | {
            name: figures[name] for name in PEERS if name in figures
        }
        found |= {f"vidcnn {precision} to {name}": mine / other for name, other in others.items()}
    return {name: round(value, 2) for name, value in found.items()}


def run(*arguments: str | Path) -> str:
    """Run vidcnn as a user does, and return what it printed."""
    line = [sys.executable, "-m", "vidcnn", *map(str, arguments)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    return done.stdout


def run_command(source: Path, bundle: str, precision: str, out: Path, compiled: str) -> dict[str, float]:
    """Run the whole command."""
    began = time.monotonic()
    printed = run(
        "infer", source, "--out", out, "--model", bundle, "--precision", precision, "--compile", compiled, "--json"
    )
    elapsed = time.monotonic() - began
    summary = json.loads(printed)
    return {"steady": summary["run"]["clips_per_second"], "whole": summary["clips"] / elapsed}


def run_peer(peer: str, precision: str, source: Path, arguments: argparse.Namespace) -> tuple[float, float] | None:
    """Return a peer's clips/s from its first result on, and those of its whole run; None where it is not installed."""
    line = [arguments.peers_python, str(Path(__file__).with_name("peers.py")), peer, str(source)]
    line += ["--model", arguments.model, "--precision", precision, "--seconds", str(2 * arguments.seconds)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    if done.returncode:
        if "ModuleNotFoundError" in done.stderr:
            return None
        sys.exit(f"{peer}: {done.stderr}")
    steady, whole = done.stdout.split()[-2:]
    return float(steady), float(whole)


def run_alone(part: str, *values: str) -> float:
    """Measure a part in a process of its own, so that no part leaves anything behind for another."""
    line = [sys.executable, __file__, "--part", part, *values]
    return float(subprocess.run(line, capture_output=True, text=True, check=True).stdout.split()[-1])


def model_rate(bundle: str, precision: str, seconds: float, compiled: str) -> float:
    """Return the clips/s of the model alone, warmed up, on clips in memory."""
    from vidcnn.inference.classifier import Classifier
    from vidcnn.models.resolve import resolve_model

    loaded = resolve_model(bundle)
    classifier = Classifier(
        loaded,
        precision=precision,  # type: ignore[arg-type]
        compile="on" if compiled == "on" and precision != "int8" else "off",
        num_threads=len(os.sched_getaffinity(0)),
    )
    shape = (classifier.batch_size, loaded.sampling.num_frames, *loaded.preprocessing.crop, 3)
    clips = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    return rate(lambda: len(classifier.predict(clips).probabilities), seconds)


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
        **environment(PACKAGES),
        "model": arguments.model,
        "arguments": arguments.arguments,
        "videos": arguments.videos,
        "source": arguments.source.name,
        "compile": arguments.compile,
    }


if __name__ == "__main__":
    if sys.argv[1:2] == ["--part"]:
        _, _, _, bundle, precision, seconds, compiled = sys.argv
        print(model_rate(bundle, precision, float(seconds), compiled))
    else:
        main()
