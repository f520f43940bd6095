"""Decoding speed on one core: the planned way against libav's bare decode, in the same run.

Each way covers the same frames of the same file. ``raw`` decodes every frame and converts none: no way that decodes
every frame can be faster. ``reformat`` is libav's own resize and conversion of every frame. Times are of the processor,
not of the clock, so that other work on the machine disturbs little; the ways take turns, and medians are told.

    python benchmarks/decode.py [VIDEO ...] [--rounds 7]

Without files, three synthetic videos are written: 340x256, 720p and 1080p, H.264.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from vidcnn.sampling.preprocessing import Preprocessing
from vidcnn.sampling.segments import ClipSpec, Sampling, plan_segments
from vidcnn.video.decode import DecodeRequest, decode_segment
from vidcnn.video.probe import probe_video

PREPROCESSING = Preprocessing(resize=(128, 171), crop=(112, 112), mean=(0.45, 0.45, 0.45), std=(0.225, 0.225, 0.225))
SIZES = ((340, 256, 500), (1280, 720, 200), (1920, 1080, 120))


def write_synthetic(path: Path, width: int, height: int, num_frames: int) -> Path:
    """Write texture that drifts, under noise: some 2 bits for each ten pixels, as camera footage has."""
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


def decode_raw(path: Path) -> Iterator[Any]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        yield from container.decode(stream)


def raw(path: Path) -> None:
    for _ in decode_raw(path):
        pass


def reformat(path: Path) -> None:
    for frame in decode_raw(path):
        frame.reformat(171, 128, "rgb24", threads=1).to_ndarray()


def planned(stride: int, *, exact: bool = False) -> Callable[[Path], None]:
    spec = ClipSpec(Sampling(16, stride=stride))

    def run(path: Path) -> None:
        info = probe_video(str(path))
        for segment in plan_segments(info.times, spec):
            request = DecodeRequest(
                str(path), segment, timing=info.timing, preprocessing=PREPROCESSING, exact=exact, version=None
            )
            for clip in decode_segment(request):
                if clip.error is not None:
                    raise clip.error

    return run


WAYS: dict[str, Callable[[Path], None]] = {
    "raw": raw,
    "reformat": reformat,
    "stride 1": planned(1),
    "stride 4": planned(4),
    "exact, stride 1": planned(1, exact=True),
}


def measure(path: Path, rounds: int) -> None:
    info = probe_video(str(path))
    seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    for round_number in range(rounds + 1):
        for name, way in WAYS.items():
            begin = time.process_time()
            way(path)
            if round_number:  # the first is for warming up
                seconds[name].append(time.process_time() - begin)
    print(f"\n{path.name}: {info.width}x{info.height} {info.codec}, {info.times.num_frames} frames")
    rates = {name: info.times.num_frames / statistics.median(taken) for name, taken in seconds.items()}
    for name, rate in rates.items():
        spread = (max(seconds[name]) - min(seconds[name])) / statistics.median(seconds[name])
        print(f"  {name:16} {rate:8.0f} frames/s   {rate / rates['raw']:5.2f} of raw   (spread {spread:.0%})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("videos", nargs="*", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    libav = ".".join(str(part) for part in av.library_versions["libavcodec"])
    print(f"Python {platform.python_version()}, PyAV {av.__version__} (libavcodec {libav}), OpenCV {cv2.__version__}")
    print(f"{platform.machine()}, {processor()}, one thread; 16-frame clips, 128x171, crop 112x112; processor time")
    with tempfile.TemporaryDirectory() as folder:
        videos = options.videos or [
            write_synthetic(Path(folder) / f"{height}p.mp4", width, height, count) for width, height, count in SIZES
        ]
        for video in videos:
            measure(video, options.rounds)


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.processor())


if __name__ == "__main__":
    main()
