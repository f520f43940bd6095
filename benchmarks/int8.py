"""How fast networks are in int8 beside float32, bfloat16, and bfloat16 compiled, on this machine's processors.

Each network is calibrated on noise, as its speed does not depend on what it sees, and all precisions take turns, so
that what else the machine does meets all of them. Medians are printed, in clips/s of all processors together.

    python benchmarks/int8.py [--models r3d_18 r2plus1d_18] [--rounds 5] [--compiled] [--out FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

MODELS = ("simple3d", "r3d_18", "mc3_18", "r2plus1d_18", "s3d")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--compiled", action="store_true", help="measure bfloat16 compiled, too")
    parser.add_argument("--out", type=Path, help="write the figures as JSON too")
    arguments = parser.parse_args()
    figures = {}
    for model in arguments.models:
        figures[model] = measure(model, arguments.rounds, compiled=arguments.compiled)
        print(f"{model}: " + ", ".join(f"{name} {value:.3g}" for name, value in figures[model].items()), flush=True)
    report = {
        "date": datetime.now(UTC).date().isoformat(),
        "cores": len(os.sched_getaffinity(0)),
        "machine": platform.machine(),
        "features": features(),
        "versions": {name: version(name) for name in ("torch", "torchvision", "numpy")},
        "rounds": arguments.rounds,
        "clips_per_second": figures,
    }
    if arguments.out:
        arguments.out.write_text(json.dumps(report, indent=2) + "\n")


def measure(model: str, rounds: int, *, compiled: bool) -> dict[str, float]:
    """Return the clips/s of a network in each precision, and how many times as fast int8 is as the others."""
    from vidcnn.inference.classifier import Classifier
    from vidcnn.inference.quantizing import calibrate
    from vidcnn.models.resolve import make_bundle

    bundle = make_bundle(model, weights="random")
    shape = (2, bundle.sampling.num_frames, *bundle.preprocessing.crop, 3)
    clips = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    bundle = replace(bundle, quantization=calibrate(bundle, clips))
    threads = len(os.sched_getaffinity(0))
    options: dict[str, dict[str, Any]] = {name: {"precision": name} for name in ("fp32", "bf16", "int8")}
    if compiled:
        options["bf16 compiled"] = {"precision": "bf16", "compile": "on"}
    classifiers = {
        name: Classifier(bundle, device="cpu", num_threads=threads, **given) for name, given in options.items()
    }
    seconds: dict[str, list[float]] = {name: [] for name in classifiers}
    for number in range(rounds + 1):
        for name, classifier in classifiers.items():
            began = time.perf_counter()
            classifier.predict(clips)
            if number:  # the first one is slower
                seconds[name].append((time.perf_counter() - began) / len(clips))
    speeds = {name: 1 / median(measured) for name, measured in seconds.items()}
    return speeds | {f"int8 to {name}": speeds["int8"] / speeds[name] for name in speeds if name != "int8"}


def features() -> list[str]:
    """Return what the processor has for such arithmetic."""
    from vidcnn.inference.devices import cpu_features

    return sorted(name for name in cpu_features() if "vnni" in name or "bf16" in name or "amx" in name)


if __name__ == "__main__":
    main()
