"""Reading the frames that a segment needs out of an open video.

Takes an open video and an assembler that asks for the frame it needs next, returns the clips that it completes. The
reader seeks to the keyframe before the next needed frame, decodes on from there, and seeks again where the next needed
frame is behind a later keyframe. Frames that no clip needs are not converted, and those that nothing refers to are
not even decoded.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Generator, Iterator, Sequence
from typing import Any, Literal, NamedTuple

import av.error
import av.logging

from vidcnn.errors import VideoError
from vidcnn.sampling.segments import Segment
from vidcnn.video.assembly import ClipAssembler, DecodedClip
from vidcnn.video.complaints import tells_of_damage
from vidcnn.video.container import OpenVideo, read_from_keyframe
from vidcnn.video.damage import FrameJudge, JudgedFrame
from vidcnn.video.encryption import packet_encryption, reason_of
from vidcnn.video.limits import NO_MEMORY, find_complaint
from vidcnn.video.missing import has_index
from vidcnn.video.packets import can_skip_frames, frame_counter, picture_finder

_SEEK_BACK_SECONDS = (0.0, 2.0, 15.0)
"""How far before a keyframe's time to look for it; after these, decoding starts at the beginning of the file."""

_SOUGHT_BY_DECODING_TIME = ("mpegts",)
"""Demuxers that look for the last packet that is decoded before a time, which is after the keyframe shown at it."""

_MAX_USUAL_DELAY_FRAMES = 8
"""How long before it is shown a keyframe is decoded: the B frames around it, hardly ever more than this."""

_MIN_SKIPPED_FRAMES = 12
"""Seeking pays where it saves this many frames."""

_UNRELIABLE_FLAGS = ("wmv1", "wmv2")
"""Decoders of libav that flag sound frames as corrupt, and not those that are."""

_NEVER = 2**63
"""Later than all times."""

_Outcome = Literal["done", "far", "too_late", "ended"]


class _Refusal(NamedTuple):
    """Frames that libav does not decode for their size.

    Attributes:
        reason: Why.
        start: Time of the last frame before them.
        noted: Time of the packet with which it was noted.
        end: Time of the first frame after them.
    """

    reason: str
    start: int
    noted: int
    end: int


class SegmentReader:
    """Reads the frames that an assembler needs, in the order of presentation.

    Args:
        video: The open video.
        segment: The planned clips.
        assembler: Takes the frames.
        by_order: Whether frames are known by counting from the file's beginning instead of by their time.
    """

    def __init__(self, video: OpenVideo, segment: Segment, assembler: ClipAssembler, *, by_order: bool) -> None:
        self._video = video
        self._codec = video.stream.codec_context
        self._assembler = assembler
        self._by_order = by_order
        self._keyframes: list[int] = segment.keyframe_pts.tolist()
        self._starts_at_beginning = segment.starts_at_beginning
        self._needed = frozenset(assembler.needed)
        self._skips = not by_order and can_skip_frames(self._codec)
        self._may_be_encrypted = has_index(video)  # of others, the first frame shows it
        self._encryption: str | None = None
        self._refusal: _Refusal | None = None  # the last one since the last seek
        self._log_capture = av.logging.Capture()
        self._has_picture = picture_finder(self._codec)
        self._heeds_flags = self._codec.name not in _UNRELIABLE_FLAGS
        self._has_read = False
        self._sought: int | None = None  # the keyframe that was last looked for
        self._starts_frame = frame_counter(self._codec) if by_order else None
        self._begins_frame = True  # whether the last packet did
        self._num_fed = self._num_begun = self._num_decoded = 0  # packets, and frames, since the last seek
        self._follows_corrupt = False
        self._shown: JudgedFrame | None = None  # the frame that is on screen
        self._judge = FrameJudge(by_order=by_order)

    def run(self) -> Iterator[DecodedClip]:
        """Settle every needed frame."""
        attempt = 0
        while not self._assembler.is_complete:
            outcome = yield from self._run_from_keyframe(attempt)
            attempt = attempt + 1 if outcome == "too_late" else 0
            if outcome == "ended":
                break
        while not self._assembler.is_complete:
            yield from self._settle_without_own_frame(is_sound=self._judge.is_clear)

    def _run_from_keyframe(self, attempt: int) -> Generator[DecodedClip, None, _Outcome]:
        """Decode from the keyframe before the next needed frame on.

        Returns:
            ``"ended"`` at the end of the file, ``"far"`` when the next needed frame is behind a later keyframe,
            ``"too_late"`` when decoding started after the needed frame, ``"done"`` when nothing more is needed.
        """
        assembler = self._assembler
        at_beginning = self._go_to_keyframe(attempt)
        if at_beginning is None:
            return "too_late"
        self._judge, self._shown = FrameJudge(by_order=self._by_order), None
        self._num_fed = self._num_begun = self._num_decoded = 0
        self._follows_corrupt = False
        self._refusal = None
        for packet in read_from_keyframe(self._video):
            if not self._num_fed and not at_beginning and not self._is_good_start(packet):
                return "too_late"
            for judged in self._decode(packet):
                if not at_beginning and self._is_bad_start(judged, attempt):
                    return "too_late"
                yield from self._show(judged)
                if assembler.is_complete:
                    return "done"
            if packet is not None and packet.size and self._is_far(packet):
                return "far"
        return "ended" if self._shown is not None or at_beginning else "too_late"

    def _is_good_start(self, packet: Any) -> bool:
        """Return whether decoding can start with a packet to reach the next needed frame."""
        return (
            packet is not None
            and packet.is_keyframe
            and packet.pts is not None
            and packet.pts <= self._assembler.next_needed
        )

    def _is_bad_start(self, judged: JudgedFrame, attempt: int) -> bool:
        """Return whether the first frame after a seek shows that decoding should start further back."""
        if self._shown is not None:
            return False
        needed = self._assembler.next_needed
        return judged.time > needed or (judged.time == needed and not judged.is_sound and attempt == 0)

    def _go_to_keyframe(self, attempt: int) -> bool | None:
        """Go to the keyframe before the next needed frame, further back with each attempt.

        Returns:
            Whether this is the beginning of the file; None where the container cannot go there.
        """
        container, stream = self._video.container, self._video.stream
        index = bisect_right(self._keyframes, self._assembler.next_needed) - 1
        beginning = self._by_order or index < 0 or (index == 0 and self._starts_at_beginning)
        self._sought = self._keyframes[max(index, 0)]
        if beginning or attempt >= len(_SEEK_BACK_SECONDS):
            if self._has_read:
                container.seek(container.start_time or 0)
            self._has_read = True
            return True
        self._has_read = True
        back = _SEEK_BACK_SECONDS[attempt]
        if container.format.name in _SOUGHT_BY_DECODING_TIME:
            back += _MAX_USUAL_DELAY_FRAMES / float(stream.guessed_rate or 25)
        try:
            container.seek(self._sought - int(back / stream.time_base), stream=stream)
        except av.error.FFmpegError:
            return None
        return False

    def _decode(self, packet: Any) -> Sequence[JudgedFrame]:
        """Decode a packet, or note the damage where it cannot be read or decoded."""
        judge = self._judge
        if packet is None:
            judge.note_damage()
            return ()
        has_picture = packet.size > 0 and self._has_picture(packet)
        time = self._feed(packet) if has_picture else None
        if time is None and packet.size == 0 and packet.dts is not None:
            return ()  # a frame left out by the recorder; to the decoder an empty packet would be the end
        if time is not None and self._may_be_encrypted and (scheme := packet_encryption(packet, self._video.stream)):
            self._encryption = scheme
            judge.note_damage(time)
            self._num_decoded += 1
            return ()
        try:
            with self._log_capture as log:
                frames = self._video.decode(packet)
        except (av.error.FFmpegError, ValueError) as error:
            if isinstance(error, MemoryError):
                self._refuse(time, NO_MEMORY)
            if has_picture or not packet.size:
                judge.note_damage(time)
                self._num_decoded += self._begins_frame
            frames = []
        if log:
            if complaint := find_complaint([message for _, _, message in log]):
                self._refuse(time, f"its frames become larger, and libav refuses them ({complaint})")
            if time is not None and tells_of_damage(log, self._codec.name):
                judge.note_damage(time)
            log.clear()
        ready: list[JudgedFrame] = []
        for frame in frames:
            is_damaged = self._heeds_flags and frame.is_corrupt
            num_pixels, time_shown = frame.width * frame.height, self._time_of(frame)
            # At the end of a file, the decoder returns frames from before those that it refused.
            if self._refusal is not None and self._refusal.noted < time_shown < self._refusal.end and packet.size:
                self._refusal = self._refusal._replace(end=time_shown)
            ready += judge.add(frame, time_shown, is_damaged=is_damaged, num_pixels=num_pixels)
        if packet.size == 0:
            ready += judge.finish()
        return ready

    def _refuse(self, time: int | None, reason: str) -> None:
        """Note that the frame of a packet is too large; where those before it were, too, they go on."""
        if time is None:  # at the end, when the decoder returns what it still keeps
            time = self._shown.time if self._shown is not None else 0
        if self._refusal is None or time >= self._refusal.end:
            start = self._shown.time if self._shown is not None else -_NEVER
            self._refusal = _Refusal(reason, start, time, _NEVER)

    def _feed(self, packet: Any) -> int:
        """Prepare decoder and judge for a packet, and return its time."""
        self._num_fed += 1
        if self._starts_frame is not None:
            self._begins_frame = self._starts_frame(packet)
            self._num_begun += self._begins_frame
            time = max(0, self._num_begun - 1)
        else:
            time = packet.pts if packet.pts is not None else packet.dts or 0
            if self._skips:
                self._codec.skip_frame = "DEFAULT" if time in self._needed else "NONREF"
        self._judge.feed(time, is_keyframe=packet.is_keyframe)
        # Where a transport stream lost data, libav may flag the packet before the one that lacks them.
        if packet.is_corrupt or self._follows_corrupt:
            self._judge.note_damage(time)
        self._follows_corrupt = packet.is_corrupt
        return int(time)

    def _time_of(self, frame: Any) -> int:
        self._num_decoded += 1
        if self._by_order:
            return self._num_decoded - 1
        time = frame.pts if frame.pts is not None else frame.dts
        return int(time) if time is not None else self._assembler.next_needed

    def _show(self, judged: JudgedFrame) -> Iterator[DecodedClip]:
        """Put a frame on screen, and settle what was needed up to its time."""
        assembler = self._assembler
        while not assembler.is_complete and assembler.next_needed < judged.time:
            yield from self._settle_without_own_frame(is_sound=judged.is_gap_sound)
        self._shown = judged
        if not assembler.is_complete and assembler.next_needed == judged.time:
            yield from self._settle(judged.frame if judged.is_sound else None)

    def _settle_without_own_frame(self, *, is_sound: bool) -> list[DecodedClip]:
        """Settle a needed time at which no frame came: the one on screen stays, unless one was lost to damage."""
        shown = self._shown
        return self._settle(shown.frame if is_sound and shown is not None and shown.is_sound else None)

    def _settle(self, frame: Any) -> list[DecodedClip]:
        if frame is not None:
            return self._assembler.put(frame)
        if self._encryption is not None:
            return self._assembler.fail_next(VideoError("unreadable", reason_of(self._encryption)))
        refusal = self._refusal
        if refusal is not None and refusal.start < self._assembler.next_needed < refusal.end:
            return self._assembler.fail_next(VideoError("too_large", refusal.reason))
        message = "frames of this clip, or frames that they build on, are damaged"
        return self._assembler.fail_next(VideoError("corrupt_frames", message))

    def _is_far(self, packet: Any) -> bool:
        """Return whether a seek reaches the next needed frame sooner than decoding on."""
        if self._by_order or packet.pts is None:
            return False
        index = bisect_right(self._keyframes, self._assembler.next_needed) - 1
        if index < 0 or self._keyframes[index] == self._sought:
            return False  # a container may not find its own keyframe: then decoding on is the only way
        return bool(self._keyframes[index] - packet.pts > _MIN_SKIPPED_FRAMES * max(1, packet.duration or 1))
