"""How fast videos become frames of 128x171, beside what libav alone takes, and beside other decoders.

Each way delivers the same frames of the same file. ``libav`` decodes every frame and converts none: nothing that does
the first can be faster. ``vidcnn`` is planning and decoding, from the name of the file to clips of 16 frames.
The others are PyAV with libav's own resize, OpenCV, torchcodec and decord, as their documentation tells to use them, as
far as they are installed (``pip install -e '.[bench]'``). With ``--stride 4`` every fourth frame is delivered.

Times are of the processor, not of the clock, so that other work on the machine disturbs little; each way runs in a
process of its own, so that one that crashes costs only its own figure; they take turns, and the best of all rounds
counts, as whatever else happens can only add to it.

    python benchmarks/decode.py [VIDEO or FOLDER ...] [--rounds 5] [--stride 1] [--out FILE]

Without files, three synthetic videos are written: 340x256, 720p and 1080p, H.264.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from environment import installed_versions, processor

SIZES = ((340, 256, 500), (1280, 720, 200), (1920, 1080, 120))
HEIGHT, WIDTH = 128, 171
MOST_SECONDS = 60.0
"""A way that takes longer over a file is given up there."""
MIN_FRAMES = 16
PACKAGES = ("av", "opencv-python-headless", "torchcodec", "decord")

Deliver = Callable[[str, int], int]
"""Delivers every n-th frame of a file, and returns how many these were."""


def libav(path: str, stride: int) -> int:
    return sum(1 for _ in _frames(path))


def pyav(path: str, stride: int) -> int:
    count = 0
    for number, frame in enumerate(_frames(path)):
        if number % stride == 0:
            frame.reformat(WIDTH, HEIGHT, "rgb24", threads=1).to_ndarray()
            count += 1
    return count


def _frames(path: str) -> Iterator[Any]:
    import av

    with av.open(path) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        yield from container.decode(stream)


def opencv(path: str, stride: int) -> int:
    import cv2

    cv2.setNumThreads(1)
    video = cv2.VideoCapture(path, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    number = count = 0
    while video.grab():
        if number % stride == 0:
            _, frame = video.retrieve()
            cv2.cvtColor(cv2.resize(frame, (WIDTH, HEIGHT)), cv2.COLOR_BGR2RGB)
            count += 1
        number += 1
    video.release()
    return count


def torchcodec(path: str, stride: int) -> int:
    import torch

    decoders, transforms = import_module("torchcodec.decoders"), import_module("torchcodec.transforms")
    torch.set_num_threads(1)
    decoder = decoders.VideoDecoder(path, num_ffmpeg_threads=1, transforms=[transforms.Resize((HEIGHT, WIDTH))])
    total, count = len(decoder), 0
    for start in range(0, total, 16 * stride):
        count += len(decoder.get_frames_in_range(start, min(total, start + 16 * stride), stride).data)
    return count


def decord(path: str, stride: int) -> int:
    reader = import_module("decord").VideoReader(path, width=WIDTH, height=HEIGHT, num_threads=1)
    total, count = len(reader), 0
    for start in range(0, total, 16 * stride):
        count += len(reader.get_batch(list(range(start, min(total, start + 16 * stride), stride))).asnumpy())
    return count


def vidcnn(path: str, stride: int) -> int:
    from vidcnn.sampling.preprocessing import Preprocessing
    from vidcnn.sampling.segments import ClipSpec, Sampling, plan_segments
    from vidcnn.video.decode import DecodeRequest, decode_segment
    from vidcnn.video.probe import probe_video

    half = (0.5, 0.5, 0.5)
    preprocessing = Preprocessing(resize=(HEIGHT, WIDTH), crop=(HEIGHT, WIDTH), mean=half, std=half)
    info = probe_video(path)
    spec = ClipSpec(Sampling(16, stride=stride))
    count = 0
    for segment in plan_segments(info.times, spec):
        request = DecodeRequest(path, segment, timing=info.timing, preprocessing=preprocessing)
        for clip in decode_segment(request):
            if clip.error is not None:
                raise clip.error
            count += 16
    return count


WAYS: dict[str, Deliver] = {
    "libav": libav,
    "vidcnn": vidcnn,
    "PyAV": pyav,
    "OpenCV": opencv,
    "torchcodec": torchcodec,
    "decord": decord,
}


class Worker:
    """A process that delivers frames in one way."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._process: Any = None
        self._channel: Connection | None = None

    def measure(self, path: Path, stride: int) -> tuple[float, int] | str:
        """Return the processor's seconds for a file and the number of its frames; or why there are none."""
        if self._process is None:
            context = multiprocessing.get_context("spawn")
            self._channel, other = context.Pipe()
            self._process = context.Process(target=_serve, args=(self.name, other), daemon=True)
            self._process.start()
            other.close()
        assert self._channel is not None
        try:
            self._channel.send((str(path), stride))
            if self._channel.poll(MOST_SECONDS):
                answer: tuple[float, int] | str = self._channel.recv()
                return answer
            reason = "too slow"
        except (EOFError, OSError):
            reason = "crashed"
        self.stop()
        return reason

    def stop(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process = None


def _serve(name: str, channel: Connection) -> None:
    deliver = WAYS[name]
    silence()
    with suppress(EOFError):
        while True:
            path, stride = channel.recv()
            began = time.process_time()
            try:
                count = deliver(path, stride)
                channel.send((time.process_time() - began, count))
            except Exception as error:
                reason = f"{type(error).__name__}: {error}".replace(path, Path(path).name)
                channel.send(reason.splitlines()[0][:120])


def silence() -> None:
    """Leave out what libraries write about odd files."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def measure(path: Path, workers: list[Worker], rounds: int, stride: int) -> dict[str, Any] | None:
    """Return the frames/s of each way on a file; None where libav or vidcnn cannot read it whole."""
    seconds: dict[str, list[float]] = {}
    counts: dict[str, int] = {}
    failures: dict[str, str] = {}
    for number in range(rounds + 1):
        for worker in workers:
            if worker.name in failures:
                continue
            answer = worker.measure(path, stride)
            if isinstance(answer, str):
                failures[worker.name] = answer
                continue
            counts[worker.name] = answer[1]
            if number:  # the first is for imports and warming up
                seconds.setdefault(worker.name, []).append(answer[0])
    total = counts.get("libav", 0)
    if failures.keys() & {"libav", "vidcnn"} or total < MIN_FRAMES:
        return None
    wanted = -(-total // stride)
    for name, count in counts.items():
        if name not in ("libav", "vidcnn") and count < 0.9 * wanted and name not in failures:
            failures[name] = f"{count} of {wanted} frames"  # it does not do the same work
    rates = {name: total / min(taken) for name, taken in seconds.items() if name not in failures}
    peers = {name: rate for name, rate in rates.items() if name not in ("libav", "vidcnn")}
    return {
        "frames": total,
        "frames_per_second": rates,
        "vidcnn_to_libav": rates["vidcnn"] / rates["libav"],
        "vidcnn_to_best_peer": rates["vidcnn"] / max(peers.values()) if peers else None,
        "failures": failures,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="*", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--stride", type=int, default=1)
    parser.add_argument("--out", type=Path, help="write the figures as JSON too")
    options = parser.parse_args()
    workers = [Worker(name) for name in WAYS if name not in ("torchcodec", "decord") or installed_versions([name])]
    print(f"{platform.machine()}, {processor()}, one thread, every frame of {options.stride} to {HEIGHT}x{WIDTH}")
    print("  ".join(f"{name} {number}" for name, number in versions().items()))
    print(f"{'frames/s':40}" + "".join(f"{worker.name:>11}" for worker in workers) + "   of libav  of best peer")
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        for path in find(options.videos) or write_all(Path(folder)):
            found = measure(path, workers, options.rounds, options.stride)
            if found is not None:
                figures[path.name] = found
                print(describe(path.name, found, workers), flush=True)
    for worker in workers:
        worker.stop()
    summary = summarise(figures)
    print(json.dumps(summary, indent=2))
    if options.out:
        report = {
            "date": datetime.now(UTC).date().isoformat(),
            "processor": processor(),
            "versions": versions(),
            "stride": options.stride,
            "rounds": options.rounds,
            "summary": summary,
            "files": figures,
        }
        options.out.write_text(json.dumps(report, indent=1) + "\n")


def describe(name: str, found: dict[str, Any], workers: list[Worker]) -> str:
    rates = found["frames_per_second"]
    columns = "".join(f"{rates[worker.name]:11.0f}" if worker.name in rates else f"{'-':>11}" for worker in workers)
    peer = found["vidcnn_to_best_peer"]
    return f"{name[:39]:40}{columns}{found['vidcnn_to_libav']:11.2f}{'' if peer is None else format(peer, '14.2f')}"


def summarise(figures: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return how many files there are, and the spread of the two ratios over them."""
    summary: dict[str, Any] = {"files": len(figures)}
    for name in ("vidcnn_to_libav", "vidcnn_to_best_peer"):
        ratios = sorted(found[name] for found in figures.values() if found[name] is not None)
        if ratios:
            summary[name] = {
                "least": round(ratios[0], 2),
                "median": round(statistics.median(ratios), 2),
                "most": round(ratios[-1], 2),
                "share_of_1_or_more": round(sum(ratio >= 1 for ratio in ratios) / len(ratios), 2),
            }
    return summary


def find(paths: list[Path]) -> list[Path]:
    """Return files, and the files in folders."""
    found = []
    for path in paths:
        inside = sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]
        found += [one for one in inside if one.suffix.lower() not in (".csv", ".tsv", ".txt", ".json", ".md")]
    return found


def write_all(folder: Path) -> list[Path]:
    return [write_synthetic(folder / f"{height}p.mp4", width, height, count) for width, height, count in SIZES]


def write_synthetic(path: Path, width: int, height: int, num_frames: int) -> Path:
    """Write texture that drifts, under noise: some 2 bits for each ten pixels, as camera footage has."""
    import av
    import cv2
    import numpy as np

    rng = np.random.default_rng(0)
    texture = cv2.resize(rng.integers(0, 255, (height // 16, width // 16, 3), np.uint8), (width * 2, height * 2))
    grain = rng.normal(0, 6, (height + 64, width + 64, 3)).astype(np.int16)
    with av.open(str(path), "w") as output:
        stream: Any = output.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"preset": "medium", "crf": "23"}
        stream.codec_context.gop_size = 60
        for index in range(num_frames):
            x, y = index * 3 % width, index * 2 % height
            shift = rng.integers(0, 64, 2)
            noise = grain[shift[0] : shift[0] + height, shift[1] : shift[1] + width]
            pixels = np.clip(texture[y : y + height, x : x + width] + noise, 0, 255).astype(np.uint8)
            output.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        output.mux(stream.encode(None))
    return path


def versions() -> dict[str, str]:
    return {"python": platform.python_version()} | installed_versions(PACKAGES)


if __name__ == "__main__":
    main()
