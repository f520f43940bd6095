"""From planned segments to batches of decoded clips.

Takes a unit of work, returns `ClipBatch`es of a fixed size, filled across the bounds of segments and videos, so that
a model that runs on fixed shapes computes little for nothing. Only the last batch of a unit may be smaller.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from vidcnn.choices import Sandbox
from vidcnn.errors import InternalError, StorageError, VideoError
from vidcnn.sampling.preprocessing import Preprocessing
from vidcnn.sampling.segments import MAX_SEGMENT_FRAMES, MAX_TASK_BYTES
from vidcnn.sources.keys import video_text
from vidcnn.video.cell_status import at
from vidcnn.video.cell_values import register
from vidcnn.video.decode import decode_segment
from vidcnn.video.file_client import NUM_AHEAD, expect
from vidcnn.video.golden import check_decoder
from vidcnn.video.limits import NO_MEMORY
from vidcnn.video.pixels import UInt8Array
from vidcnn.video.planning import DEFAULT_TIMEOUT_SECONDS, PlannedSegment
from vidcnn.video.stopwatch import StageTimes, Stopwatch

_MIN_CLIPS_PER_TASK = 16
"""Clips that travel together: handing a task to a model actor costs some milliseconds, whatever it contains."""

_MIN_BATCHES_PER_TASK = 2
"""Of two batches one is on its way to a GPU while the other is computed; of one, nothing."""

_MOST_SEGMENTS_PER_UNIT = 8
_USUAL_SEGMENT_CLIPS = 32
_UNITS_PER_DECODER = 4
"""Fewer, and some decoders would be done long before others."""


@dataclass(frozen=True)
class ClipRef:
    """Which clip of which segment.

    Attributes:
        segment: Index into the batch's segments.
        clip: Index of the clip in that segment.
    """

    segment: int
    clip: int


@dataclass(frozen=True, eq=False)
class ClipBatch:
    """Decoded clips of some segments.

    Attributes:
        segments: The segments that the clips belong to.
        clips: What each of the N clips in `pixels` is.
        pixels: uint8 (N, T, H, W, 3) RGB; N may be 0.
        failures: Clips that could not be decoded, and why.
        attempt: The attempt at decoding these segments that the batch is from; one is never mixed with another.
    """

    segments: tuple[PlannedSegment, ...]
    clips: tuple[ClipRef, ...]
    pixels: UInt8Array
    failures: tuple[tuple[ClipRef, VideoError | StorageError], ...] = ()
    attempt: str = ""


register(ClipRef, ClipBatch, StageTimes)


@dataclass(frozen=True)
class DecodeSettings:
    """What decoding depends on, besides the plan.

    Args:
        preprocessing: Resize and crop.
        exact: Resize with torchvision's own arithmetic.
        batch_size: Clips in a batch, N; see `clips_per_task`.
        max_pixels: Largest frame, width times height, that is decoded.
        timeout_seconds: How long reading may make no headway, besides what a segment's length allows.
        sandbox: How the process that decodes is confined.
    """

    preprocessing: Preprocessing
    exact: bool
    batch_size: int
    max_pixels: int
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
    sandbox: Sandbox = "auto"


def clips_per_task(model_batch_size: int, clip_bytes: int) -> int:
    """Return how many clips to hand to a model at once: enough to be worth a task, and no more than memory allows.

    Args:
        model_batch_size: Clips that go through the model at once. Whole batches are handed over, as long as one fits.
        clip_bytes: Size of a clip's pixels.

    Returns:
        At least 1, and otherwise no more than `MAX_TASK_BYTES` hold.
    """
    wanted = max(_MIN_BATCHES_PER_TASK, -(-_MIN_CLIPS_PER_TASK // model_batch_size)) * model_batch_size
    fitting = max(1, MAX_TASK_BYTES // clip_bytes)
    if fitting >= wanted:
        return wanted
    return fitting // model_batch_size * model_batch_size or fitting


def frames_per_unit(model_batch_size: int, num_clips: int, num_decoders: int) -> int:
    """Return how many frames of segments a decoder is handed at once, where videos have as many.

    A unit's last batch is not full, and the model computes what is missing for nothing: for batches of 32, as GPUs
    take them, a segment of 40 clips costs 64. So the larger the batches, the larger the units, as long as there remain
    several for each decoder.

    Args:
        model_batch_size: Clips that go through the model at once.
        num_clips: Clips of the whole run, as far as that is known.
        num_decoders: Decoders that share them.
    """
    wanted = min(_MOST_SEGMENTS_PER_UNIT, model_batch_size // 4)
    shared = num_clips // (_USUAL_SEGMENT_CLIPS * _UNITS_PER_DECODER * num_decoders)
    return MAX_SEGMENT_FRAMES * max(1, min(wanted, shared))


def decode_unit(unit: Sequence[PlannedSegment], settings: DecodeSettings) -> Iterator[ClipBatch]:
    """Decode the clips of some segments into batches.

    Yields:
        Batches in which every clip of the unit occurs once, in `clips` or in `failures`.

    Raises:
        InternalError: Something went wrong that is no fault of a video.
    """
    batch = _OpenBatch(settings.batch_size)
    for number, planned in enumerate(unit):
        at(number)
        expect(one.location for one in unit[number : number + NUM_AHEAD] if not one.is_frame_folder)
        request = planned.request(settings.preprocessing, max_pixels=settings.max_pixels, exact=settings.exact)
        missing = set(range(planned.segment.num_clips))
        try:
            for decoded in decode_segment(request):
                if decoded.error is not None:
                    batch.add_failure(planned, decoded.index, decoded.error)
                else:
                    assert decoded.pixels is not None
                    batch.add_clip(planned, decoded.index, decoded.pixels)
                missing.discard(decoded.index)
                if batch.is_full:
                    yield batch.take()
        except MemoryError:  # its decoder had all that there is
            for index in sorted(missing):
                batch.add_failure(planned, index, VideoError("too_large", NO_MEMORY))
        except Exception as error:
            raise InternalError.of(error, f"decoding {video_text(planned.video.name)}") from error
    if not batch.is_empty:
        yield batch.take()


def timed_batches(unit: Sequence[PlannedSegment], settings: DecodeSettings) -> Iterator[tuple[ClipBatch, StageTimes]]:
    """Decode as `decode_unit` does, and measure what each batch took; nothing is decoded while it is taken.

    Raises:
        DecoderError: This machine's decoder gives wrong pixels.
    """
    check_decoder(settings.preprocessing.interpolation, exact=settings.exact)
    watch = Stopwatch()
    for batch in decode_unit(unit, settings):
        spent = watch.read()
        yield batch, StageTimes(spent.seconds, spent.cpu_seconds, decode_queue_seconds=spent.queue_seconds)
        watch = Stopwatch()


class _OpenBatch:
    """A batch that is being filled."""

    def __init__(self, batch_size: int) -> None:
        self._batch_size = batch_size
        self._segments: list[PlannedSegment] = []
        self._clips: list[ClipRef] = []
        self._failures: list[tuple[ClipRef, VideoError | StorageError]] = []
        self._pixels: UInt8Array | None = None

    @property
    def is_full(self) -> bool:
        return len(self._clips) == self._batch_size

    @property
    def is_empty(self) -> bool:
        return not self._clips and not self._failures

    def add_clip(self, planned: PlannedSegment, clip: int, pixels: UInt8Array) -> None:
        if self._pixels is None:
            self._pixels = np.empty((self._batch_size, *pixels.shape), np.uint8)
        self._pixels[len(self._clips)] = pixels
        self._clips.append(self._refer(planned, clip))

    def add_failure(self, planned: PlannedSegment, clip: int, error: VideoError | StorageError) -> None:
        self._failures.append((self._refer(planned, clip), error))

    def take(self) -> ClipBatch:
        num_clips = len(self._clips)
        pixels = np.empty((0, 0, 0, 0, 3), np.uint8) if self._pixels is None else self._pixels[:num_clips]
        batch = ClipBatch(tuple(self._segments), tuple(self._clips), pixels, tuple(self._failures))
        self._segments, self._clips, self._failures, self._pixels = [], [], [], None
        return batch

    def _refer(self, planned: PlannedSegment, clip: int) -> ClipRef:
        if not self._segments or self._segments[-1] is not planned:
            self._segments.append(planned)
        return ClipRef(len(self._segments) - 1, clip)
