"""Decoding on the GPU itself: one decoder for many files, planes that stay on the device, and whether they are right.

Where there is no GPU, libav decodes on the processor and its frames are brought to the same layout (NV12): all that
comes after is the same code.

Letters: T frames, H height, W width; h and w are the crop's height and width.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from itertools import islice, pairwise
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate
from torch.utils.dlpack import from_dlpack

from on_device.report import Figures, LeftOutError
from on_device.videos import Supply, measure
from vidcnn.inference.classifier import Classifier
from vidcnn.models.bundle import Bundle
from vidcnn.sampling.preprocessing import Preprocessing

Planes = tuple[Tensor, Tensor]
"""Luma (H, W) and the two colour differences (H/2, W/2, 2), uint8."""

SIZES = ((340, 256), (350, 250), (338, 254), (640, 360), (340, 256))
"""Width and height of files that are decoded one after the other. The first three are coded in blocks of 16 pixels as
352x256: a decoder that is kept must still crop each as that file says."""

STRIDE = 2
"""Of 30 frames per second, as networks take 15."""


class KeptDecoder:
    """A decoder that is kept from file to file of one codec: to open one on a GPU takes 50 ms and more.

    Args:
        codec: ``h264`` or ``hevc``.
        device: Where it decodes.
    """

    def __init__(self, codec: str, device: torch.device) -> None:
        import av
        from av.codec.hwaccel import HWAccel

        self._codec = codec
        self._is_hardware = device.type == "cuda"
        accelerator = None
        if self._is_hardware:
            index = str(device.index or 0)
            accelerator = HWAccel("cuda", device=index, allow_software_fallback=False, is_hw_owned=True)
        self._context: Any = av.CodecContext.create(codec, "r", hwaccel=accelerator)
        self._context.thread_count = 1

    def frames(self, path: Path) -> Iterator[Any]:
        """Yield the frames of a file; of a GPU, each must be copied before the next few are decoded."""
        import av
        from av.bitstream import BitStreamFilterContext

        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            # Its parameters travel in the stream then, and the decoder needs to know nothing of the file.
            to_annex_b = BitStreamFilterContext(f"{self._codec}_mp4toannexb", stream)
            for packet in container.demux(stream):
                for part in to_annex_b.filter(packet if packet.size else None):
                    yield from self._checked(self._context.decode(part))
            yield from self._checked(self._context.decode(None))
            self._context.flush_buffers()

    def _checked(self, frames: list[Any]) -> list[Any]:
        for frame in frames:
            if self._is_hardware and frame.format.name != "cuda":
                raise RuntimeError(f"the frame is {frame.format.name}: it was not decoded on the GPU")
        return frames


def planes_of(frame: Any) -> Planes:
    """Return a frame's planes without copying them; they are the decoder's own memory."""
    if frame.format.name not in ("cuda", "nv12"):
        frame = frame.reformat(format="nv12")
    # A capsule, not the plane itself: torch would name a stream to it, which PyAV refuses. Decoder and torch both work
    # in the device's first stream, so what is read has been written.
    luma, chroma = (from_dlpack(plane.__dlpack__()) for plane in frame.planes)
    if luma.dtype != torch.uint8:
        raise RuntimeError("only frames of 8 bits are read")
    return luma, chroma


def to_rgb(luma: Tensor, chroma: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Resize, crop and convert frames as `vidcnn.video.pixels` does it fast: each plane first, then the colours.

    Args:
        luma: uint8 ``(T, H, W)``.
        chroma: uint8 ``(T, H/2, W/2, 2)``, BT.601 in the range of television.
        preprocessing: Resize and crop.

    Returns:
        uint8 ``(T, h, w, 3)``, on the device of the planes.
    """
    size = preprocessing.resized_size(*luma.shape[1:])
    top, left = preprocessing.crop_origin(*size)
    rows, columns = preprocessing.crop
    resized = [
        interpolate(plane.float(), size, mode="bilinear", align_corners=False).round()
        for plane in (luma[:, None], chroma.permute(0, 3, 1, 2))
    ]
    # (T, 1, ...) and (T, 2, ...) -> (T, 3, h, w) -> three of (T, h, w)
    merged = torch.cat(resized, dim=1)[:, :, top : top + rows, left : left + columns]
    y, cb, cr = (merged[:, 0] - 16) * (255 / 219), *((merged[:, 1:] - 128) * (255 / 224)).unbind(1)
    # From Y'CbCr of ITU-R BT.601; by hand, as a matrix product may round to fewer bits on a GPU.
    rgb = torch.stack([y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb], dim=-1)
    return rgb.round().clamp(0, 255).to(torch.uint8)


def correctness(
    folder: Path, device: torch.device, preprocessing: Preprocessing, codec: str = "h264", num_frames: int = 20
) -> Figures:
    """Compare every frame of files of several sizes with what the processor decodes, with one decoder for all."""
    from vidcnn.video.pixels import FrameConverter

    decoder = KeptDecoder(codec, device)
    figures: Figures = {"files": {}}
    for number, (width, height) in enumerate(SIZES):
        path = write_pattern(folder / f"{number}-{width}x{height}.mp4", width, height, codec, num_frames)
        converter = FrameConverter(preprocessing)
        same_planes, differences, num_found, num_expected = True, [], 0, 0
        found_frames = decoder.frames(path)
        for reference in _software_frames(path):
            num_expected += 1
            frame = next(found_frames, None)
            if frame is None:
                continue
            num_found += 1
            luma, chroma = planes_of(frame)
            wanted = planes_of(reference)
            same_planes &= all(_equal(a.cpu(), b) for a, b in zip((luma, chroma), wanted, strict=True))
            rgb = to_rgb(luma[None], chroma[None], preprocessing)[0].cpu().numpy().astype(int)
            differences.append(float(np.abs(rgb - converter.convert(reference)).mean()))
        num_found += sum(1 for _ in found_frames)
        figures["files"][path.name] = {
            "frames": num_found,
            "expected": num_expected,
            "same_planes": same_planes,
            "mean_difference": max(differences, default=float("inf")),
        }
    figures["is_right"] = all(
        one["frames"] == one["expected"] and one["same_planes"] and one["mean_difference"] < 1
        for one in figures["files"].values()
    )
    return figures


def _equal(found: Tensor, expected: Tensor) -> bool:
    """Compare planes; of an odd number of lines, DLPack leaves the last one of the colours out."""
    return found.shape == expected.shape and torch.equal(found, expected)


def opening(path: Path, device: torch.device, rounds: int = 5, codec: str = "h264") -> Figures:
    """Milliseconds to the first frame of a file, with a decoder of its own and with one that is kept."""

    def first_frame(decoder: KeptDecoder) -> float:
        began = time.perf_counter()
        frames = decoder.frames(path)
        luma, _ = planes_of(next(frames))
        luma.cpu()
        seconds = time.perf_counter() - began
        for _ in frames:
            pass
        return seconds

    kept = KeptDecoder(codec, device)
    first_frame(kept)
    figures: dict[str, list[float]] = {"kept": [], "new": []}
    for _ in range(rounds):
        figures["kept"].append(first_frame(kept))
        began = time.perf_counter()
        fresh = KeptDecoder(codec, device)
        creating = time.perf_counter() - began
        figures["new"].append(creating + first_frame(fresh))
    return {f"{name}_milliseconds": 1000 * median(seconds) for name, seconds in figures.items()}


def alone(paths: list[Path], device: torch.device, seconds: float, num_sessions: tuple[int, ...]) -> Figures:
    """Frames/s of decoding alone, by file and by the number of decoders at once."""
    figures: Figures = {}
    for path in paths:
        rates = {}
        for number in num_sessions:
            rates[number] = _frames_per_second(path, device, seconds, number)
        figures[path.name] = rates
    return figures


def _frames_per_second(path: Path, device: torch.device, seconds: float, num_sessions: int) -> float:
    counts = [0] * num_sessions
    failures: list[Exception] = []
    ready, is_over = threading.Barrier(num_sessions + 1), threading.Event()

    def decode(number: int) -> None:
        try:
            decoder = KeptDecoder("h264", device)
            for _ in decoder.frames(path):
                pass
            ready.wait(60)
            while not is_over.is_set():
                for _ in decoder.frames(path):
                    counts[number] += 1
        except Exception as error:
            failures.append(error)
            ready.abort()

    threads = [threading.Thread(target=decode, args=(number,), daemon=True) for number in range(num_sessions)]
    for thread in threads:
        thread.start()
    try:
        ready.wait(60)
        began = time.perf_counter()
        is_over.wait(seconds)
    except threading.BrokenBarrierError:
        raise failures[0] if failures else LeftOutError("decoders did not start in a minute") from None
    finally:
        is_over.set()
        for thread in threads:
            thread.join(60)
    if failures:
        raise failures[0]
    return sum(counts) / (time.perf_counter() - began)


def pipeline(path: Path, bundle: Bundle, device: torch.device, seconds: float, num_sessions: int) -> Figures:
    """Decoding on the GPU and the model at once, in clips/s; frames never leave the device."""
    judge = Classifier(bundle, device=str(device), precision="bf16")

    def score(made: tuple[Tensor, Any]) -> int:
        clips, mark = made
        if mark is not None:
            torch.cuda.current_stream(device).wait_event(mark)
        return len(judge.predict(clips).probabilities)

    def make() -> Iterator[tuple[Tensor, Any]]:
        return _clip_batches(path, bundle, device, judge.batch_size)

    supply = Supply([make] * num_sessions, ahead=2)
    # The first stream is the decoders', so the model needs another one to run beside them.
    on: Callable[[], Any] = _other_stream(device)
    try:
        with on():
            speed, waiting = measure(supply, score, seconds)
    finally:
        supply.close()
    return {
        "clips_per_second": speed,
        "frames_per_second": speed * STRIDE * bundle.sampling.num_frames,
        "model_waited": waiting,
        "sessions": num_sessions,
    }


def _clip_batches(path: Path, bundle: Bundle, device: torch.device, batch_size: int) -> Iterator[tuple[Tensor, Any]]:
    """Yield batches of clips (N, T, h, w, 3) on the device, and a mark after which they are there."""
    decoder = KeptDecoder("h264", device)
    num_frames = bundle.sampling.num_frames
    clips: list[Tensor] = []
    while True:
        kept = (planes_of(frame) for frame in islice(decoder.frames(path), 0, None, STRIDE))
        luma: list[Tensor] = []
        chroma: list[Tensor] = []
        for planes in kept:
            luma.append(planes[0].clone())
            chroma.append(planes[1].clone())
            if len(luma) == num_frames:
                clips.append(to_rgb(torch.stack(luma), torch.stack(chroma), bundle.preprocessing))
                luma, chroma = [], []
            if len(clips) == batch_size:
                batch, clips = torch.stack(clips), []
                mark = None
                if device.type == "cuda":
                    mark = torch.cuda.Event()  # type: ignore[no-untyped-call]
                    mark.record()
                yield batch, mark


def _other_stream(device: torch.device) -> Callable[[], Any]:
    from contextlib import nullcontext

    if device.type != "cuda":
        return nullcontext
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    return lambda: torch.cuda.stream(stream)


def write_pattern(path: Path, width: int, height: int, codec: str = "h264", num_frames: int = 20) -> Path:
    """Write frames in which every place differs from its neighbours, and every frame from the one before.

    A crop that is off by a pixel, or a frame that is shown twice, changes them all.
    """
    import av

    rows, columns = np.ogrid[:height, :width]
    with av.open(str(path), "w") as output:
        stream: Any = output.add_stream({"h264": "libx264", "hevc": "libx265"}[codec], rate=30)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"preset": "ultrafast"} | ({"x265-params": "log-level=none"} if codec == "hevc" else {})
        for index in range(num_frames):
            wave = [127 + 120 * np.sin((rows * a + columns * b) / 23 + index / 2) for a, b in ((1, 2), (2, 1), (1, -1))]
            pixels = np.stack(wave, axis=-1).astype(np.uint8)
            output.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        output.mux(stream.encode(None))
    return path


def _software_frames(path: Path) -> Iterator[Any]:
    import av

    with av.open(str(path)) as container:
        yield from container.decode(video=0)


def differ(folder: Path) -> bool:
    """Return whether frames of the pattern differ from those before: else the comparison would show nothing."""
    frames = [frame.to_ndarray() for frame in _software_frames(write_pattern(folder / "pattern.mp4", 340, 256))]
    return all(np.abs(a.astype(int) - b).mean() > 5 for a, b in pairwise(frames))
