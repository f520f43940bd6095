"""How fast this machine classifies and decodes, measured for some five seconds, and what that makes of an hour.

A video is encoded on the spot. Decoding processes decode it again and again, then threads run the model on clips of
noise. On processors both share them, so their times for a second of video add up; on GPUs the slower of the two counts.
On a machine of many processors a few are measured, and count for all.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidcnn.errors import StorageError, VidcnnError, VideoError
from vidcnn.reporting.findings import Finding, plain

if TYPE_CHECKING:
    from vidcnn.inference.job import InferenceJob

TOPIC = "speed"
SECONDS = 1.6
"""How long each of the two is measured; the rest of five seconds goes into the video, and into starting both."""
USUAL_MODEL = "simple3d"
_MOST_MEASURED = 8
_WIDTH, _HEIGHT, _FPS, _NUM_FRAMES = 1280, 720, 24, 96
_PIXELS_PER_FRAME = 4
_ITEM_SECONDS = 60.0


@dataclass(frozen=True)
class Speed:
    """What was measured.

    Attributes:
        model: Name of the model, and its precision.
        device: Where it ran.
        clips_per_second: Of the model, with all processors or GPUs.
        frames_per_second: Decoded, with all processors.
        video_seconds_per_clip: Seconds of video for each clip.
        num_cores: Processors that count.
        num_gpus: GPUs that count.
    """

    model: str
    device: str
    clips_per_second: float
    frames_per_second: float
    video_seconds_per_clip: float
    num_cores: float
    num_gpus: int

    @property
    def model_speed(self) -> float:
        """Hours of video that the model does in an hour, if it has all processors."""
        return self.clips_per_second * self.video_seconds_per_clip

    @property
    def decoding_speed(self) -> float:
        """Hours of video that are decoded in an hour, if decoding has all processors."""
        return self.frames_per_second / _FPS

    @property
    def hours_per_hour(self) -> float:
        """Hours of video that a run does in an hour."""
        if self.num_gpus:
            return min(self.model_speed, self.decoding_speed)
        return 1 / (1 / self.model_speed + 1 / self.decoding_speed)

    @property
    def limit(self) -> str:
        """What takes most of the time."""
        return "model" if self.model_speed < self.decoding_speed else "decoding"


def check_speed(model: str | None, cores: float) -> list[Finding]:
    """Measure, and say what it means.

    Args:
        model: Name of a model, or a bundle; None takes a small network with random weights.
        cores: Processors that may be used.
    """
    from vidcnn.video.abilities import ENCODER, can_encode

    if not can_encode():
        return [Finding(TOPIC, "speed", f"not measured: the FFmpeg of PyAV has no {ENCODER}", "note")]
    try:
        found = measure(model, cores)
    except (VidcnnError, VideoError) as error:
        hint = plain(error.hint) if isinstance(error, VidcnnError) else ""
        return [Finding(TOPIC, "speed", "not measured", "failure", plain(error.message), hint)]
    where = f"{found.num_gpus} GPUs" if found.num_gpus > 1 else "a GPU" if found.num_gpus else _cores(found.num_cores)
    hours = found.hours_per_hour
    shown = f"{hours:,.0f}" if hours >= 10 else f"{hours:.1f}"
    return [
        Finding(TOPIC, "model", f"{found.model}: {found.clips_per_second:,.1f} clips/s on {where}"),
        Finding(
            TOPIC, "decoding", f"{found.frames_per_second:,.0f} frames/s of 720p H.264 on {_cores(found.num_cores)}"
        ),
        Finding(
            TOPIC,
            "speed",
            f"about {shown} hours of video an hour, limited by {found.limit}",
            facts={
                "model": found.model,
                "device": found.device,
                "clips_per_second": round(found.clips_per_second, 3),
                "frames_per_second": round(found.frames_per_second, 1),
                "model_hours_per_hour": round(found.model_speed, 3),
                "decoding_hours_per_hour": round(found.decoding_speed, 3),
                "hours_per_hour": round(hours, 3),
            },
            short=f"{shown} h/h",
        ),
    ]


def measure(model: str | None, cores: float) -> Speed:
    """Measure the model and the decoder.

    Raises:
        VidcnnError: The model cannot be loaded, or nothing can be decoded.
        VideoError: The video that was made here cannot be read.
    """
    import torch

    from vidcnn.config import InferSpec
    from vidcnn.inference.job import InferenceJob
    from vidcnn.models.resolve import RANDOM, resolve_model

    bundle = resolve_model(model or USUAL_MODEL, weights=RANDOM if model is None else None)
    num_workers = max(1, min(int(cores), _MOST_MEASURED))
    scale = max(1.0, cores / num_workers) if cores >= 1 else 1.0
    with tempfile.TemporaryDirectory(prefix="vidcnn-") as folder:
        video = Path(folder, "doctor.mp4")
        encode(video)
        job = InferenceJob(InferSpec(source=(str(video),)), bundle)
        frames_per_second, seconds_per_clip = _decoding(job, num_workers)
    num_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    clips_per_second, name, device = _model(job, 1 if num_gpus else num_workers)
    return Speed(
        model=name,
        device=device,
        clips_per_second=clips_per_second * (num_gpus or scale),
        frames_per_second=frames_per_second * scale,
        video_seconds_per_clip=seconds_per_clip,
        num_cores=cores,
        num_gpus=num_gpus,
    )


def encode(path: Path) -> None:
    """Write a video of four seconds: a view that moves over a picture with coarse and fine structure."""
    import numpy as np

    from vidcnn.video.encode import write_video

    generator = np.random.default_rng(0)
    width = _WIDTH + _PIXELS_PER_FRAME * _NUM_FRAMES
    coarse = generator.integers(30, 220, (_HEIGHT // 40, width // 32 + 1, 3)).repeat(40, axis=0).repeat(32, axis=1)
    picture = (coarse[:, :width] + generator.integers(-20, 20, (_HEIGHT, width, 3))).astype(np.uint8)
    # A frame is a window of the picture: all of them together take no memory of their own.
    windows = np.lib.stride_tricks.sliding_window_view(picture, _WIDTH, axis=1)  # (H, places, C, W)
    frames = windows[:, : _PIXELS_PER_FRAME * _NUM_FRAMES : _PIXELS_PER_FRAME].transpose(1, 0, 3, 2)
    write_video(path, frames, fps=_FPS)


def _decoding(job: InferenceJob, num_workers: int) -> tuple[float, float]:
    """Return frames decoded in a second by all workers, and seconds of video for each clip."""
    from vidcnn.video.batching import timed_batches
    from vidcnn.video.cell import Cell, CellError
    from vidcnn.video.golden import decoding_with
    from vidcnn.video.grants import Grant
    from vidcnn.video.planning import plan_each

    video = next(iter(job.listing))
    settings = job.decode_settings(exact=False, batch_size=1)
    grant, prepared = Grant.of([video]), decoding_with(settings.preprocessing, exact=False)

    def decode(ready: threading.Barrier) -> tuple[int, float, int]:
        """Return how often the video was decoded, in what time, and how many clips it has."""
        try:
            with Cell() as cell:
                ((plan,),) = cell.run(
                    plan_each, [video], job.plan, 1, seconds=job.plan.allowed_seconds, grant=grant, preparation=prepared
                )
                if isinstance(plan, VideoError | StorageError):
                    raise plan

                def once() -> None:
                    for _ in cell.run(
                        timed_batches,
                        plan,
                        settings,
                        seconds=lambda _: _ITEM_SECONDS,
                        grant=grant,
                        preparation=prepared,
                    ):
                        pass

                once()
                ready.wait()
                times, seconds = _again_and_again(once)
                return times, seconds, sum(planned.segment.num_clips for planned in plan)
        except CellError as error:
            raise StorageError(f"a process for decoding failed: {error.message}") from error

    results = _together(decode, num_workers)
    speed = sum(_NUM_FRAMES * times / seconds for times, seconds, _ in results)
    return speed, _NUM_FRAMES / _FPS / results[0][2]


def _model(job: InferenceJob, num_workers: int) -> tuple[float, str, str]:
    """Return clips in a second of all workers, the name of the model with its precision, and its device."""
    import numpy as np

    from vidcnn.inference.runtime import load_safely

    classifier, _ = load_safely(job.bundle, precision="auto", num_threads=1)
    shape = (classifier.batch_size, *job.bundle.clip_size, 3)
    clips = np.random.default_rng(0).integers(0, 256, shape, np.uint8)

    def classify(ready: threading.Barrier) -> float:
        classifier.predict(clips)
        ready.wait()
        times, seconds = _again_and_again(lambda: classifier.predict(clips))
        return times * len(clips) / seconds

    speed = sum(_together(classify, num_workers))
    return speed, f"{job.bundle.architecture} in {classifier.precision}", classifier.device


def _again_and_again(work: Callable[[], Any]) -> tuple[int, float]:
    """Do something until the time is over; return how often, and in how many seconds."""
    times, began = 0, time.perf_counter()
    while (seconds := time.perf_counter() - began) < SECONDS:
        work()
        times += 1
    return times, seconds


def _together(work: Callable[[threading.Barrier], Any], num_workers: int) -> list[Any]:
    """Do something in several threads at once, which wait for each other where they are ready.

    Raises:
        Exception: What the first of them raised.
    """
    ready = threading.Barrier(num_workers)

    def guarded() -> Any:
        try:
            return work(ready)
        except BaseException:
            ready.abort()
            raise

    with ThreadPoolExecutor(num_workers) as pool:
        waiting = [pool.submit(guarded) for _ in range(num_workers)]
        errors = [error for one in waiting if (error := one.exception()) is not None]
    for error in sorted(errors, key=lambda error: isinstance(error, threading.BrokenBarrierError)):
        raise error
    return [one.result() for one in waiting]


def _cores(number: float) -> str:
    return f"{number:g} processor{'' if number == 1 else 's'}"
