"""What a GPU could do at most, and how near vidcnn comes: in one process, without Ray, in under eight minutes.

Measures ceilings first: copies alone, the network alone by batch size, decoding alone on the processors and on the
GPU's own decoders (NVDEC). Then what puts them together, and its ratio to the slower of its ceilings. It also looks
whether results are right: logits beside those of float32, scores beside those in other company, pixels that NVDEC
decodes beside libav's, with one decoder for files of several sizes.

    python benchmarks/gpu.py [--out gpu.json] [--minutes 7] [--model r3d_18] [--video FILE]
    python benchmarks/gpu.py --device cpu --short        the same code without a GPU, in a minute

It needs torch 2.11 or newer, torchvision, safetensors and OpenCV, and PyAV for all that has to do with videos; what is
missing leaves its parts out. The report is written after each part, so what ends the program costs one part only.
"""

from __future__ import annotations

import argparse
import faulthandler
import tempfile
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from environment import environment
from on_device import network
from on_device.report import Figures, LeftOutError, Report

from vidcnn.inference.batch_sizes import default_batch_size
from vidcnn.models.bundle import Bundle
from vidcnn.models.resolve import make_bundle

PACKAGES = ("torch", "torchvision", "av", "opencv-python-headless", "numpy", "triton", "nvidia-cudnn-cu13")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--model", default="r3d_18")
    parser.add_argument("--video", type=Path, help="decoded over and over; by default one of 340x256 is written")
    parser.add_argument("--minutes", type=float, default=7.0, help="time for all parts")
    parser.add_argument("--short", action="store_true", help="measure each part for a moment only: a trial")
    parser.add_argument("--out", type=Path, help="write the figures as JSON too")
    arguments = parser.parse_args()
    faulthandler.enable()
    device = torch.device(arguments.device, 0) if arguments.device == "cuda" else torch.device(arguments.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise SystemExit("there is no GPU: --device cpu walks through the same code")
    report = Report(describe(device, arguments), 60 * arguments.minutes, arguments.out)
    try:
        with tempfile.TemporaryDirectory() as folder:
            run(report, device, arguments, Path(folder))
    finally:
        report.close()


def run(report: Report, device: torch.device, arguments: argparse.Namespace, folder: Path) -> None:
    """Measure all parts, what matters most and may fail least first."""
    seconds = 0.1 if arguments.short else 6.0
    sizes = (1, 2) if arguments.short else (1, 2, 4, 8, 16, 32, 64)
    bundle = make_bundle(arguments.model, weights="random")
    report.part("copies", lambda: network.copies(bundle, device, seconds))
    report.part("network", lambda: network.batch_sizes(bundle, device, seconds / 3, sizes))
    report.part("classifier", lambda: network.classifier(bundle, device, seconds))
    if find_spec("av") is None:
        report.part("videos", _without_av)
        run_compilers(report, bundle, device, seconds)
        return
    from on_device import nvdec, videos

    video: Path = arguments.video or folder / "340x256.mp4"
    report.part("videos", lambda: _write(video, folder, arguments))
    cores = videos.num_processors()
    size = default_batch_size(bundle, str(device))
    report.part("decoding", lambda: videos.decoding(video, bundle, size, 2 * seconds, cores))
    report.part("pipeline", lambda: videos.pipeline(video, bundle, device, 2 * seconds, cores))
    report.part("variants", lambda: network.variants(bundle, device, seconds))
    for codec in ("h264", "hevc"):
        num_frames = 4 if arguments.short else 20
        check = partial(nvdec.correctness, folder, device, bundle.preprocessing, codec, num_frames)
        report.part(f"nvdec_correctness_{codec}", check)
    report.part("nvdec_opening", lambda: nvdec.opening(video, device))
    sessions = (1, 2) if arguments.short else (1, 2, 4, 8)
    files = [video, *sorted(folder.glob("*p.mp4"))]
    report.part("nvdec", lambda: nvdec.alone(files, device, seconds / 3, sessions))
    rates = report.parts["nvdec"].get(video.name, {1: 0.0})
    best = max(rates, key=rates.__getitem__)
    report.part("nvdec_pipeline", lambda: nvdec.pipeline(video, bundle, device, 2 * seconds, best))
    report.part("ratios", lambda: ratios(report.parts, nvdec.STRIDE * bundle.sampling.num_frames))
    run_compilers(report, bundle, device, seconds)


def run_compilers(report: Report, bundle: Bundle, device: torch.device, seconds: float) -> None:
    """Measure what graphs and compilers give; the last may take all the time that is left."""
    report.part("graph", lambda: network.graph(bundle, device, seconds))
    report.part("compiled", lambda: network.compiled(bundle, device, seconds, None), least_seconds=60)
    mode = "max-autotune-no-cudagraphs"
    report.part("compiled_max_autotune", lambda: network.compiled(bundle, device, seconds, mode), least_seconds=120)


def ratios(parts: dict[str, Figures], frames_per_clip: int) -> Figures:
    """Hold what was reached against the slower of its ceilings.

    Args:
        parts: What was measured; parts that failed have no ratios.
        frames_per_clip: Frames that are decoded for a clip.
    """
    figures: Figures = {}
    try:
        model = max(parts["network"]["bf16"].values())
        upload = parts["copies"]["from_locked_memory"]
        figures["classifier_to_slower_of_network_and_copies"] = parts["classifier"]["many_batches"] / min(model, upload)
    except (KeyError, ValueError):
        return figures
    if "clips_per_second" in parts.get("pipeline", {}) and "clips_per_second" in parts["decoding"]:
        slower = min(model, parts["decoding"]["clips_per_second"])
        figures["pipeline_to_slower_of_network_and_decoding"] = parts["pipeline"]["clips_per_second"] / slower
    rates = [rate for file in parts.get("nvdec", {}).values() if isinstance(file, dict) for rate in file.values()]
    if "clips_per_second" in parts.get("nvdec_pipeline", {}) and rates:
        slower = min(model, max(rates) / frames_per_clip)
        figures["nvdec_pipeline_to_slower_of_network_and_nvdec"] = parts["nvdec_pipeline"]["clips_per_second"] / slower
    return figures


def describe(device: torch.device, arguments: argparse.Namespace) -> Figures:
    """Say what was measured, on what, with what."""
    figures: dict[str, Any] = {
        **environment(PACKAGES),
        "model": arguments.model,
        "is_trial": arguments.short,
        "device": "cpu",
    }
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        figures["device"] = properties.name
        figures["memory_gib"] = properties.total_memory / 2**30
        figures["processors_of_device"] = properties.multi_processor_count
        figures["cuda"] = torch.version.cuda
        figures["cudnn"] = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
    print(", ".join(f"{name} {value}" for name, value in figures.items()), flush=True)
    return figures


def _write(video: Path, folder: Path, arguments: argparse.Namespace) -> Figures:
    from decode import write_synthetic

    if arguments.video is None:
        write_synthetic(video, 340, 256, 96 if arguments.short else 480)
    if not arguments.short:
        write_synthetic(folder / "720p.mp4", 1280, 720, 120)
    return {"video": video.name, "bytes": video.stat().st_size}


def _without_av() -> Figures:
    raise LeftOutError("PyAV is not installed")


if __name__ == "__main__":
    main()
