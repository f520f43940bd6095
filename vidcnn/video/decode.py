"""Decoding a segment: from planned frames to the pixels of its clips.

In goes a `DecodeRequest`, out come `DecodedClip`s, one at a time in the order in which they are complete. This is the
narrow interface behind which decoding may move into a child process or onto a GPU: a request is plain data, and a clip
is an array or the reason why there is none.

Each needed frame is decoded once and converted once, whatever the number of clips that hold it. Frames that no clip
needs are not converted, and those that nothing refers to are not even decoded. Between clips that lie far apart the
decoder seeks, to a keyframe that is past what it would have to decode anyway. Memory is bounded by the clips that are
open at one time, for any length of video.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import av.error
import numpy as np

from vidcnn.clips import IntArray, Segment
from vidcnn.errors import VideoError
from vidcnn.transforms import Preprocessing
from vidcnn.video.container import MAX_PIXELS, OpenVideo, file_version, open_video
from vidcnn.video.frame_folders import decode_images, folder_frames
from vidcnn.video.pixels import FrameConverter, UInt8Array
from vidcnn.video.probe import Timing

_SEEK_BACK_SECONDS = (0.0, 2.0, 15.0)
"""How far before a keyframe's time to look for it; after these, decoding starts at the beginning of the file."""

_MIN_SKIPPED_FRAMES = 12
"""Seeking pays where it saves this many frames."""


_Outcome = Literal["done", "far", "too_late", "ended"]


@dataclass(frozen=True, eq=False)
class DecodeRequest:
    """What to decode, and into what.

    Args:
        location: Absolute path or URI of the file, or of a folder of numbered images.
        segment: The planned clips.
        is_frame_folder: Whether `location` is a folder of numbered images.
        timing: How decoded frames are matched to the plan (see `vidcnn.video.probe`).
        preprocessing: Resize and crop; None keeps frames at their own size.
        exact: Resize with torchvision's own arithmetic instead of the fast way.
        version: Size in bytes and modification time in nanoseconds that the file had when it was planned; None leaves
            this unchecked.
        max_pixels: Largest frame, width times height, that is decoded.
    """

    location: str
    segment: Segment
    is_frame_folder: bool = False
    timing: Timing = "pts"
    preprocessing: Preprocessing | None = None
    exact: bool = False
    version: tuple[int, int] | None = None
    max_pixels: int = MAX_PIXELS


@dataclass(frozen=True, eq=False)
class DecodedClip:
    """One clip's pixels, or the reason why there are none.

    Attributes:
        index: Index of the clip in its segment.
        pixels: uint8 (T, H, W, 3) RGB; None on failure.
        error: Why the clip cannot be had; None on success.
    """

    index: int
    pixels: UInt8Array | None = None
    error: VideoError | None = None


def decode_segment(request: DecodeRequest) -> Iterator[DecodedClip]:
    """Decode the clips of one segment.

    Yields:
        Each clip of the segment exactly once. Failures are values, not exceptions: where the file breaks off or cannot
        be opened, every clip that is lost by it carries the reason.
    """
    segment = request.segment
    assembler = _Assembler(
        segment, request.timing, FrameConverter(request.preprocessing, exact=request.exact)
    )
    yield from assembler.fail_truncated()
    try:
        if request.version is not None and file_version(request.location) != request.version:
            raise VideoError("changed", "the file changed while it was being read")
        if request.is_frame_folder:
            yield from _read_folder(request, assembler)
        elif not assembler.is_complete:
            with open_video(request.location, max_pixels=request.max_pixels) as video:
                yield from _SegmentReader(video, request, assembler).run()
    except VideoError as error:
        yield from assembler.fail_rest(error)


def _read_folder(request: DecodeRequest, assembler: _Assembler) -> Iterator[DecodedClip]:
    """Settle every needed frame with an image of the folder."""
    wanted = assembler.needed.tolist()
    for frame in decode_images(folder_frames(request.location), wanted, max_pixels=request.max_pixels):
        if isinstance(frame, VideoError):
            yield from assembler.fail_next(frame)
        else:
            yield from assembler.put(frame)


class _Assembler:
    """Puts frames into the clips that need them, and hands out each clip when its last frame has come."""

    def __init__(self, segment: Segment, timing: Timing, converter: FrameConverter) -> None:
        self._converter = converter
        self._num_frames = segment.frames.shape[1]
        self._open: dict[int, UInt8Array] = {}
        self._truncated = [int(clip) for clip in np.flatnonzero(segment.truncated)]
        wanted = segment.pts if timing == "pts" else segment.frames  # (num_clips, T)
        clips = np.flatnonzero(~segment.truncated)
        self._pending = {int(clip): self._num_frames for clip in clips}
        flat = wanted[clips].ravel()
        order = np.argsort(flat, kind="stable")
        self.needed: IntArray
        self.needed, first = np.unique(flat[order], return_index=True)
        self._slots = np.split(order, first[1:])  # for each needed time, positions in `flat`
        self._clips = clips
        self.cursor = 0

    @property
    def is_complete(self) -> bool:
        """Tell whether every needed frame has been settled."""
        return self.cursor >= len(self.needed) or not self._pending

    @property
    def next_needed(self) -> int:
        """The time of the first frame that has not come yet."""
        return int(self.needed[self.cursor])

    def needs_between(self, start: int, end: int) -> bool:
        """Tell whether a frame in ``[start, end)`` is needed."""
        index = int(np.searchsorted(self.needed, start))
        return index < len(self.needed) and int(self.needed[index]) < end

    def put(self, frame: Any) -> Iterator[DecodedClip]:
        """Settle the next needed time with a frame."""
        pixels: UInt8Array | None = None
        for slot in self._slots[self.cursor]:
            row, place = divmod(int(slot), self._num_frames)
            clip = int(self._clips[row])
            if clip not in self._pending:
                continue  # it failed already
            if pixels is None:
                pixels = self._converter.convert(frame)
            if clip not in self._open:
                self._open[clip] = np.empty((self._num_frames, *pixels.shape), np.uint8)
            if self._open[clip].shape[1:] != pixels.shape:
                yield self._fail(
                    clip, VideoError("corrupt_frames", "the size of its frames changes within a clip")
                )
                continue
            self._open[clip][place] = pixels
            self._pending[clip] -= 1
            if self._pending[clip] == 0:
                del self._pending[clip]
                yield DecodedClip(clip, self._open.pop(clip))
        self.cursor += 1

    def fail_next(self, error: VideoError) -> Iterator[DecodedClip]:
        """Settle the next needed time with a failure of every clip that needs it."""
        for slot in self._slots[self.cursor]:
            clip = int(self._clips[int(slot) // self._num_frames])
            if clip in self._pending:
                yield self._fail(clip, error)
        self.cursor += 1

    def fail_truncated(self) -> Iterator[DecodedClip]:
        """Fail the clips of which the plan knows that their frames are cut off."""
        for clip in self._truncated:
            yield DecodedClip(
                clip, error=VideoError("truncated", "the file was cut off before this clip's end")
            )

    def fail_rest(self, error: VideoError) -> Iterator[DecodedClip]:
        """Fail every clip that has not been handed out."""
        for clip in sorted(self._pending):
            yield self._fail(clip, error)

    def _fail(self, clip: int, error: VideoError) -> DecodedClip:
        del self._pending[clip]
        self._open.pop(clip, None)
        return DecodedClip(clip, error=error)


class _SegmentReader:
    """Reads the frames that an assembler needs, in the order of presentation."""

    def __init__(self, video: OpenVideo, request: DecodeRequest, assembler: _Assembler) -> None:
        self._container = video.container
        self._stream = video.stream
        self._codec = video.stream.codec_context
        self._assembler = assembler
        self._keyframes = request.segment.keyframe_pts
        self._starts_at_beginning = request.segment.starts_at_beginning
        self._by_order = request.timing == "order"
        self._has_read = False
        self._sought: int | None = None  # the keyframe that was last looked for
        self._num_decoded = 0  # since the beginning of the file
        self._num_failures = 0  # since the last seek
        self._shown: Any = None  # the frame that is on screen

    def run(self) -> Iterator[DecodedClip]:
        """Settle every needed frame."""
        attempt = 0
        while not self._assembler.is_complete:
            outcome = yield from self._run_from_keyframe(attempt)
            attempt = attempt + 1 if outcome == "too_late" else 0
            if outcome == "ended":
                break
        while not self._assembler.is_complete:
            yield from self._settle_without_own_frame()

    def _run_from_keyframe(self, attempt: int) -> Generator[DecodedClip, None, _Outcome]:
        """Decode from the keyframe before the next needed frame on.

        Returns:
            ``"ended"`` at the end of the file, ``"far"`` when the next needed frame is behind a later keyframe,
            ``"too_late"`` when decoding started after the needed frame, ``"done"`` when nothing more is needed.
        """
        at_beginning = self._seek(attempt)
        self._shown, self._num_failures = None, 0
        awaits_keyframe, first_frame = not at_beginning, True
        for packet in self._container.demux(self._stream):
            if awaits_keyframe and packet.size:
                if not packet.is_keyframe:
                    continue
                if packet.pts is None or packet.pts > self._assembler.next_needed:
                    return "too_late"
                awaits_keyframe = False
            for frame in self._decode(packet):
                time = self._time_of(frame)
                if first_frame and not at_beginning and time > self._assembler.next_needed:
                    return "too_late"
                first_frame = False
                yield from self._show(frame, time)
                if self._assembler.is_complete:
                    return "done"
            if packet.pts is not None and self._is_far(packet):
                return "far"
        return "too_late" if awaits_keyframe else "ended"

    def _seek(self, attempt: int) -> bool:
        """Go to the keyframe before the next needed frame, further back with each attempt.

        Returns:
            True where this is the beginning of the file.
        """
        index = int(np.searchsorted(self._keyframes, self._assembler.next_needed, side="right")) - 1
        beginning = self._by_order or index < 0 or (index == 0 and self._starts_at_beginning)
        if beginning or attempt >= len(_SEEK_BACK_SECONDS):
            if self._has_read:
                self._container.seek(self._container.start_time or 0)
            self._has_read, self._num_decoded = True, 0
            return True
        self._has_read = True
        self._sought = int(self._keyframes[index])
        back = int(_SEEK_BACK_SECONDS[attempt] / self._stream.time_base)
        self._container.seek(self._sought - back, stream=self._stream)
        return False

    def _decode(self, packet: Any) -> list[Any]:
        """Return the frames that a packet brings forth; none, and a failure noted, where it is damaged."""
        if not self._by_order and packet.pts is not None and packet.size:
            end = packet.pts + max(1, packet.duration or 1)
            needed = self._assembler.needs_between(packet.pts, end)
            self._codec.skip_frame = "DEFAULT" if needed else "NONREF"
        try:
            frames: list[Any] = packet.decode()
        except (av.error.FFmpegError, ValueError):
            self._num_failures += 1
            return []
        return frames

    def _time_of(self, frame: Any) -> int:
        self._num_decoded += 1
        if self._by_order:
            return self._num_decoded - 1
        time = frame.pts if frame.pts is not None else frame.dts
        return int(time) if time is not None else self._assembler.next_needed

    def _show(self, frame: Any, time: int) -> Iterator[DecodedClip]:
        """Put a frame on screen, and settle what was needed up to its time."""
        assembler = self._assembler
        while not assembler.is_complete and assembler.next_needed < time:
            yield from self._settle_without_own_frame()
        self._shown = frame
        if not assembler.is_complete and assembler.next_needed == time:
            yield from assembler.put(frame)

    def _settle_without_own_frame(self) -> Iterator[DecodedClip]:
        """Settle a needed time at which no frame came: the one on screen stays, unless one was lost to damage."""
        if self._shown is not None and not self._num_failures:
            yield from self._assembler.put(self._shown)
        else:
            yield from self._assembler.fail_next(
                VideoError("corrupt_frames", "frames of this clip cannot be decoded")
            )

    def _is_far(self, packet: Any) -> bool:
        """Tell whether a seek reaches the next needed frame sooner than decoding on."""
        if self._by_order:
            return False
        index = int(np.searchsorted(self._keyframes, self._assembler.next_needed, side="right")) - 1
        if index < 0 or self._keyframes[index] == self._sought:
            return False  # a container may not find its own keyframe: then decoding on is the only way
        return bool(self._keyframes[index] - packet.pts > _MIN_SKIPPED_FRAMES * max(1, packet.duration or 1))
