"""How fast networks are in int8 beside float32, bfloat16, and bfloat16 compiled, on this machine's processors.

Each network is calibrated on noise, as its speed does not depend on what it sees, and all precisions take turns, so
that what else the machine does meets all of them. Medians are printed, in clips/s of all processors together.

With ``--peers``, OpenVINO (quantized by NNCF) and ONNX Runtime take their turns as well, each calibrated on the same
clips, as far as they are installed: ``pip install openvino nncf onnx onnxruntime onnxscript``. All compute on as many
threads, ``--threads``.

    python benchmarks/int8.py [--models r3d_18 r2plus1d_18] [--rounds 5] [--compiled] [--peers] [--out FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
from environment import environment
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor, nn

    from vidcnn.models.bundle import Bundle

PACKAGES = ("torch", "torchvision", "numpy", "openvino", "nncf", "onnxruntime")
MODELS = ("simple3d", "r3d_18", "mc3_18", "r2plus1d_18", "s3d")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--compiled", action="store_true", help="measure bfloat16 compiled, too")
    parser.add_argument("--peers", action="store_true", help="measure OpenVINO and ONNX Runtime, too")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--out", type=Path, help="write the figures as JSON too")
    arguments = parser.parse_args()
    figures = {}
    for model in arguments.models:
        figures[model] = measure(arguments, model)
        print(f"{model}: " + ", ".join(f"{name} {value:.3g}" for name, value in figures[model].items()), flush=True)
    report = {
        **environment(PACKAGES),
        "threads": arguments.threads,
        "features": features(),
        "rounds": arguments.rounds,
        "clips_per_second": figures,
    }
    if arguments.out:
        arguments.out.write_text(json.dumps(report, indent=2) + "\n")


def measure(arguments: argparse.Namespace, model: str) -> dict[str, float]:
    """Return the clips/s of a network in each precision, and how many times as fast int8 is as the others."""
    from vidcnn.inference.classifier import Classifier
    from vidcnn.inference.quantizing import calibrate
    from vidcnn.models.resolve import make_bundle

    bundle = make_bundle(model, weights="random")
    shape = (2, bundle.sampling.num_frames, *bundle.preprocessing.crop, 3)
    clips = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    bundle = replace(bundle, quantization=calibrate(bundle, clips))
    threads = arguments.threads
    options: dict[str, dict[str, Any]] = {name: {"precision": name} for name in ("fp32", "bf16", "int8")}
    if arguments.compiled:
        options["bf16 compiled"] = {"precision": "bf16", "compile": "on"}
    classifiers = {
        name: Classifier(bundle, device="cpu", num_threads=threads, **given) for name, given in options.items()
    }
    ways: dict[str, Callable[[], object]] = {
        name: partial(classifier.predict, clips) for name, classifier in classifiers.items()
    }
    if arguments.peers:
        ways |= peers(bundle, clips, threads)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(arguments.rounds + 1):
        for name, classify in ways.items():
            began = time.perf_counter()
            classify()
            if number:  # the first one is slower
                seconds[name].append((time.perf_counter() - began) / len(clips))
    speeds = {name: 1 / median(measured) for name, measured in seconds.items()}
    return speeds | {f"int8 to {name}": speeds["int8"] / speeds[name] for name in speeds if name != "int8"}


def peers(bundle: Bundle, clips: NDArray[np.uint8], threads: int) -> dict[str, Callable[[], object]]:
    """Return how other runtimes compute the same network in int8, those that are installed."""
    import torch

    from vidcnn.inference.network import Normalisation
    from vidcnn.models.build import build_model

    network = build_model(bundle).eval()
    pixels = Normalisation(bundle.preprocessing)(torch.from_numpy(clips)).contiguous()  # (N, C, T, H, W)
    found: dict[str, Callable[[], object]] = {}
    for name, make in (("OpenVINO int8", with_openvino), ("ONNX Runtime int8", with_onnxruntime)):
        try:
            found[name] = make(network, pixels, threads)
        except ImportError as error:
            print(f"{name} is left out: {error}")
    return found


def with_openvino(network: nn.Module, pixels: Tensor, threads: int) -> Callable[[], object]:
    """Return a call of the network as OpenVINO runs it, quantized by NNCF."""
    import nncf
    import openvino

    model = openvino.convert_model(network, example_input=pixels[:1], input=[tuple(pixels.shape)])
    values = pixels.numpy()
    quantized = nncf.quantize(model, nncf.Dataset([values]), subset_size=1)
    compiled = openvino.Core().compile_model(
        quantized, "CPU", {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    )
    return lambda: compiled([values])


def with_onnxruntime(network: nn.Module, pixels: Tensor, threads: int) -> Callable[[], object]:
    """Return a call of the network as ONNX Runtime runs it, quantized by its own tools."""
    import onnxruntime
    import torch
    from onnxruntime import quantization

    feed = {"pixels": pixels.numpy()}

    class Once(quantization.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._left = [feed]

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            return self._left.pop() if self._left else None

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    with tempfile.TemporaryDirectory() as scratch:
        plain, small = Path(scratch, "plain.onnx"), Path(scratch, "small.onnx")
        torch.onnx.export(network, (pixels,), plain, input_names=["pixels"], dynamo=False)
        quantization.quantize_static(
            plain,
            small,
            Once(),
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
        )
        session = onnxruntime.InferenceSession(small.read_bytes(), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, feed)


def features() -> list[str]:
    """Return what the processor has for such arithmetic."""
    from vidcnn.inference.devices import cpu_features

    return sorted(name for name in cpu_features() if "vnni" in name or "bf16" in name or "amx" in name)


if __name__ == "__main__":
    main()
