"""From labelled videos to the clips that a network is trained and validated on.

Takes videos and which clips of them are wanted, returns uint8 clips of one size, or the reason why there is none.
This runs on any machine that can read the videos, in any number of processes.

Frames are always resized first, without a crop, and cropped after that, whether they come from the file or from the
cache: the pixels do not depend on which it was.

Letters: n clips, T frames, H height, W width; h and w are the crop's height and width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Generic, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from vidcnn.annotations import LabelledVideo
from vidcnn.choices import Sandbox, ShortClips
from vidcnn.errors import StorageError, VideoError
from vidcnn.sampling.grid import Grid
from vidcnn.sampling.preprocessing import Preprocessing
from vidcnn.sampling.segments import ClipSpec, FrameTimes, Sampling, Segment, plan_clips_at, plan_segments
from vidcnn.sources import SourceVideo
from vidcnn.training.augment import Augmentation, augment_clip
from vidcnn.training.cache import FrameCache, entry_name
from vidcnn.training.samples import Sample
from vidcnn.version import __version__
from vidcnn.video.container import plain_errors
from vidcnn.video.decode import decode_segment
from vidcnn.video.pixels import UInt8Array
from vidcnn.video.planning import PlannedSegment, read_times
from vidcnn.video.timeline import FrameMatching

_MAX_CACHED_BYTES = 256 * 2**20
"""Videos of more are not kept as a whole: they would be decoded in one piece, in memory."""

_MAX_KNOWN_FRAMES = 8_000_000
"""Frames whose times a process remembers, in all videos together: some 70 MB; as many numbers of kept ones."""

_Item = TypeVar("_Item")
_Value = TypeVar("_Value")


@dataclass(frozen=True)
class ClipSettings:
    """What the pixels of clips depend on.

    Args:
        sampling: How the frames of a clip are taken.
        preprocessing: Resize and crop.
        short_clips: What becomes of a clip that reaches past the end of its video.
        image_fps: Images per second of a folder of numbered images.
        max_pixels: Largest frame, width times height, that is decoded.
        sandbox: How the process that decodes is confined.
    """

    sampling: Sampling
    preprocessing: Preprocessing
    short_clips: ShortClips
    image_fps: float
    max_pixels: int
    sandbox: Sandbox = "auto"

    @property
    def clip_bytes(self) -> int:
        """Size of a clip, uint8 (T, h, w, 3)."""
        return self.sampling.num_frames * self.preprocessing.frame_bytes


@dataclass(frozen=True, eq=False)
class LoadedClips:
    """Clips of a network's input size.

    Attributes:
        pixels: uint8 (n, T, h, w, 3) RGB; where a clip failed, what is there means nothing.
        flipped: bool (n,): clips whose left and right were exchanged.
        failures: Indexes of the clips that failed, and why.
        short: bool (n,): clips that are longer than their video, or the part of it that they may come from.
    """

    pixels: UInt8Array
    flipped: npt.NDArray[np.bool_]
    failures: tuple[tuple[int, VideoError], ...]
    short: npt.NDArray[np.bool_]


class ClipReader:
    """Reads clips of labelled videos.

    Args:
        settings: What the pixels depend on.
        cache: Where decoded frames are kept; None decodes each clip from its file.
        num_uses: How often a video will be used: one is kept where all its frames are no more than those of its clips.
    """

    def __init__(self, settings: ClipSettings, cache: FrameCache | None = None, num_uses: int = 1) -> None:
        self._settings = settings
        self._cache = cache
        self._num_uses = num_uses
        self._not_kept: set[SourceVideo] = set()
        self._known = _Memory[SourceVideo, tuple[FrameTimes, FrameMatching]]()
        self._entries = _Memory[LabelledVideo, _Entry]()

    def load_samples(
        self, videos: Sequence[LabelledVideo], samples: Sequence[Sample], augmentation: Augmentation
    ) -> LoadedClips:
        """Load samples of a training run.

        Args:
            videos: The video of each sample, n of them.
            samples: Which part of the video, and the seed of its augmentation; those of one video are decoded
                together.
            augmentation: What is done to each clip.
        """
        settings = self._settings
        pixels = np.zeros((len(samples), settings.sampling.num_frames, *augmentation.crop, 3), np.uint8)
        flipped, short = np.zeros(len(samples), np.bool_), np.zeros(len(samples), np.bool_)
        failures: list[tuple[int, VideoError]] = []
        by_video: dict[int, list[int]] = {}
        for index, sample in enumerate(samples):
            by_video.setdefault(sample.video, []).append(index)
        for indexes in by_video.values():
            clips, is_short = self._read(videos[indexes[0]], [samples[i] for i in indexes])
            short[indexes] = is_short
            for index, clip in zip(indexes, clips, strict=True):
                if isinstance(clip, VideoError):
                    failures.append((index, clip))
                else:
                    augmented = augment_clip(clip, augmentation, samples[index].seed)
                    pixels[index], flipped[index] = augmented.pixels, augmented.is_flipped
        return LoadedClips(pixels, flipped, tuple(failures), short)

    def load_views(self, video: LabelledVideo, num_clips: int) -> LoadedClips:
        """Load clips spread uniformly over a video, as many as it has room for, cropped at the centre."""
        settings = self._settings
        spec = ClipSpec(settings.sampling, num_clips=num_clips, short_clips=settings.short_clips)
        try:
            times, _ = self._times(video.video)
            with plain_errors():
                segments = plan_segments(times, spec, interval=_interval(video))
            is_short = any(segment.is_short for segment in segments)
            clips = [clip for segment in segments for clip in self._decode(video, segment)]
        except VideoError as error:
            clips, is_short = [error], False
        pixels = np.zeros((len(clips), settings.sampling.num_frames, *settings.preprocessing.crop, 3), np.uint8)
        failures = []
        for index, clip in enumerate(clips):
            if isinstance(clip, VideoError):
                failures.append((index, clip))
            else:
                pixels[index] = _centre_crop(clip, settings.preprocessing)
        return LoadedClips(
            pixels, np.zeros(len(clips), np.bool_), tuple(failures), np.full(len(clips), is_short, np.bool_)
        )

    def plan(self, video: LabelledVideo, places: Sequence[float]) -> Segment:
        """Plan the clips at some places of a video, each in [0, 1).

        Raises:
            VideoError: The video cannot be read, or has no clip.
        """
        times, _ = self._times(video.video)
        with plain_errors():
            return plan_clips_at(
                times,
                self._settings.sampling,
                places,
                interval=_interval(video),
                short_clips=self._settings.short_clips,
            )

    def _read(self, video: LabelledVideo, samples: Sequence[Sample]) -> tuple[list[UInt8Array | VideoError], bool]:
        """Return clips (T, H, W, 3) of the resized size, and whether they are longer than the video."""
        try:
            segment = self.plan(video, [sample.place for sample in samples])
            return self._decode(video, segment), segment.is_short
        except VideoError as error:
            return [error] * len(samples), False

    def _decode(self, video: LabelledVideo, segment: Segment) -> list[UInt8Array | VideoError]:
        """Return the clips of a segment, (T, H, W, 3) each, from the cache or from the file."""
        times, timing = self._times(video.video)
        kept = self._kept_frames(video, times, timing)
        if kept is not None:
            numbers, frames = kept
            return [frames[np.searchsorted(numbers, clip)] for clip in segment.frames]
        return self._decode_file(video.video, segment, timing)

    def _decode_file(
        self, video: SourceVideo, segment: Segment, timing: FrameMatching
    ) -> list[UInt8Array | VideoError]:
        settings = self._settings
        planned = PlannedSegment.of(video, timing, segment)
        request = planned.request(settings.preprocessing, max_pixels=settings.max_pixels, uncropped=True)
        clips: list[UInt8Array | VideoError] = [VideoError("unreadable", "")] * segment.num_clips
        for decoded in decode_segment(request):
            if isinstance(decoded.error, StorageError):
                raise decoded.error
            if decoded.error is not None:
                clips[decoded.index] = decoded.error
            else:
                assert decoded.pixels is not None
                clips[decoded.index] = decoded.pixels
        return clips

    def _kept_frames(
        self, video: LabelledVideo, times: FrameTimes, timing: FrameMatching
    ) -> tuple[npt.NDArray[np.int64], UInt8Array] | None:
        """Return all frames that clips of a video can take, and their numbers; None where they are not kept."""
        if self._cache is None or video.video in self._not_kept:
            return None
        known = self._entries.get(video)
        frames = self._cache.get(known.name) if known is not None else None
        if known is None or frames is None:
            # The clip that is as long as the video's part: all its frames, or those at the ticks of the grid.
            whole = self._whole(times, video)
            if whole is None:
                return None
            known = _Entry(entry_of(video, self._settings), np.unique(whole.frames))
            self._entries.put(video, known, len(known.numbers))
            frames = self._cache.get(known.name)
            if frames is None:
                (clip,) = self._decode_file(video.video, whole, timing)
                if isinstance(clip, VideoError):
                    self._not_kept.add(video.video)
                    return None
                frames = clip[np.searchsorted(whole.frames[0], known.numbers)]
                if not self._cache.put(known.name, frames):
                    self._not_kept.add(video.video)
        return (known.numbers, frames) if len(frames) == len(known.numbers) else None

    def _whole(self, times: FrameTimes, video: LabelledVideo) -> Segment | None:
        """Plan all frames that clips of a video can take; None where that is too much."""
        sampling = self._settings.sampling
        step = Sampling(1, stride=1) if sampling.fps is None else Sampling(1, fps=sampling.fps)
        num_positions = len(Grid(times, step).bounds(_interval(video)))
        resize = self._settings.preprocessing.resize
        height, width = (resize, 2 * resize) if isinstance(resize, int) else resize  # wider ones are rare
        max_frames = min(_MAX_CACHED_BYTES // (3 * height * width), self._num_uses * sampling.num_frames)
        if num_positions > max_frames:
            return None
        return plan_clips_at(times, replace(step, num_frames=num_positions), [0.0], interval=_interval(video))

    def _times(self, video: SourceVideo) -> tuple[FrameTimes, FrameMatching]:
        known = self._known.get(video)
        if known is None:
            with plain_errors():
                known = read_times(video, image_fps=self._settings.image_fps, max_pixels=self._settings.max_pixels)
            self._known.put(video, known, known[0].num_frames)
        return known


def entry_of(video: LabelledVideo, settings: ClipSettings) -> str:
    """Return the name of the entry that contains a video's frames, which stands for all that they depend on."""
    return entry_name(repr((__version__, video.video, _interval(video))) + _settings_of_entries(settings))


@lru_cache(maxsize=4)
def _settings_of_entries(settings: ClipSettings) -> str:
    resizing = replace(settings.preprocessing, crop=(1, 1), mean=(0, 0, 0), std=(1, 1, 1))
    return repr((settings.sampling.fps, resizing, settings.image_fps))


class _Entry(NamedTuple):
    """A video's entry in the cache: its name, and the numbers of its F frames, int64 (F,)."""

    name: str
    numbers: npt.NDArray[np.int64]


class _Memory(Generic[_Item, _Value]):
    """What is known of items with frames, of `_MAX_KNOWN_FRAMES` at most; the oldest is forgotten first."""

    def __init__(self) -> None:
        self._known: dict[_Item, tuple[_Value, int]] = {}
        self._num_frames = 0

    def get(self, item: _Item) -> _Value | None:
        found = self._known.get(item)
        return None if found is None else found[0]

    def put(self, item: _Item, value: _Value, num_frames: int) -> None:
        self._num_frames += num_frames - self._known.pop(item, (value, 0))[1]
        self._known[item] = (value, num_frames)
        while self._num_frames > _MAX_KNOWN_FRAMES:
            self._num_frames -= self._known.pop(next(iter(self._known)))[1]


def _interval(video: LabelledVideo) -> tuple[float | None, float | None]:
    return video.start_seconds, video.end_seconds


def _centre_crop(clip: UInt8Array, preprocessing: Preprocessing) -> UInt8Array:
    """Cut (T, h, w, 3) from the centre of a resized clip."""
    top, left = preprocessing.crop_origin(*clip.shape[1:3])
    rows, columns = preprocessing.crop
    return clip[:, top : top + rows, left : left + columns]
