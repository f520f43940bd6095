"""How much of a run is left, and how long that takes, learned from what it has done so far. Pure arithmetic.

Finished segments are added one by one. How many clips are left is known for videos that have begun, and estimated for
the others from those: clips are proportional to size, or a like number for each video, or something between. The time
of a video is proportional to its clips, where the model is what takes time, or to its size, where decoding is. Both
mixtures are found by least squares, under the condition that they explain what was seen in all.

Videos that cannot be read take no time, whatever their size, and teach nothing but how many of them there are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

_CAUTION = 0.05
"""How much of a mixture is kept without evidence, as a share of what has been seen."""
_EXPECTED_WEIGHT = 3
"""For how many videos that have been seen an expectation counts."""
_LIKE = 3.0
"""Videos are like others that are at most so much larger."""
_NUM_WINDOWS = 32
_SHORTEST_WINDOW_SECONDS = 0.5
_SHORTEST_SPAN_SECONDS = 5.0
"""The first rows come in a burst, which does not show the speed."""


class Work(NamedTuple):
    """Some of the work of a run.

    Attributes:
        num_clips: Finished clips.
        size_bytes: Its share in the size of its videos.
    """

    num_clips: float
    size_bytes: float


@dataclass
class _Video:
    """A video that has begun: its size, its segments, and what is done of them."""

    size_bytes: int
    num_segments: int
    num_clips: int | None
    segments_done: int = 0
    clips_done: int = 0

    @property
    def expected_clips(self) -> float:
        """Its clips, all in all: its segments have about as many each."""
        if self.num_clips is not None:
            return self.num_clips
        return self.clips_done * self.num_segments / self.segments_done

    @property
    def left(self) -> Work:
        """What is not done of it."""
        share = 1 - self.segments_done / self.num_segments
        return Work(max(0.0, self.expected_clips - self.clips_done), self.size_bytes * share)


class Forecast:
    """Learns how much is left, and how long it takes.

    Args:
        num_videos: Videos to do.
        size_bytes: Their size, all together.
    """

    def __init__(self, num_videos: int, size_bytes: int) -> None:
        self._num_videos = num_videos
        self._size_bytes = size_bytes
        self._expected_clips: float | None = None
        self._open: dict[str, _Video] = {}
        self._num_begun = self._num_unreadable = 0
        self._bytes_begun = self._bytes_unreadable = 0
        self._sizes = _Sums()
        self._done = Work(0.0, 0.0)
        self._windows: list[tuple[float, Work]] = []  # ends, and what was done by then
        self._window_seconds = _SHORTEST_WINDOW_SECONDS
        self._last = 0.0

    def expect(self, num_clips: int) -> None:
        """Add what a sample of the source shows about the clips of all of it."""
        self._expected_clips = float(num_clips)

    def grow(self, num_videos: int, size_bytes: int) -> None:
        """Take more videos to do, of which the same is expected as of those before.

        Args:
            num_videos: Videos to do, all together.
            size_bytes: Their size.
        """
        if self._expected_clips is not None and self._num_videos:
            by_number = num_videos / self._num_videos
            self._expected_clips *= size_bytes / self._size_bytes if self._size_bytes else by_number
        self._num_videos, self._size_bytes = num_videos, size_bytes

    def add(
        self, now: float, video: str, size_bytes: int, num_segments: int, num_clips: int, video_clips: int | None = None
    ) -> bool:
        """Count a finished segment.

        Args:
            now: When it was finished, in seconds.
            video: Name of its video.
            size_bytes: Size of the video.
            num_segments: Segments of the video.
            num_clips: Clips of the segment; none where the video cannot be read.
            video_clips: Clips of all these segments; None where that is not known.

        Returns:
            Whether the video is done.
        """
        found = self._open.get(video)
        if found is None:
            found = self._open[video] = _Video(size_bytes, num_segments, video_clips)
            self._num_begun += 1
            self._bytes_begun += size_bytes
        found.segments_done += 1
        found.clips_done += num_clips
        is_done = found.segments_done >= num_segments
        if is_done:
            del self._open[video]
            if found.clips_done:
                self._sizes.add(found.size_bytes, found.clips_done)
            else:
                self._num_unreadable += 1
                self._bytes_unreadable += found.size_bytes
        if num_clips:
            done = Work(self._done.num_clips + num_clips, self._done.size_bytes + size_bytes / num_segments)
            self._done = done
        self._note(now)
        return is_done

    @property
    def left(self) -> Work | None:
        """What is left to do; None before anything is known of it."""
        begun = [video.left for video in self._open.values()]
        others = self._not_begun()
        if others is None:
            return None
        return Work(
            sum(work.num_clips for work in begun) + others.num_clips,
            sum(work.size_bytes for work in begun) + others.size_bytes,
        )

    @property
    def fraction(self) -> float:
        """Share of the clips that is done, in [0, 1]."""
        left = self.left
        if left is None:
            return self._num_begun / self._num_videos if self._num_videos else 0.0
        total = self._done.num_clips + left.num_clips
        return self._done.num_clips / total if total else 0.0

    def seconds(self, now: float) -> float | None:
        """Return how long the rest takes; None before that is known, some seconds after the first rows.

        Nothing is known of why nothing is finished for a long time, so that may continue for as long as it has.
        """
        left = self.left
        if left is None or not self._windows:
            return None
        start, first = self._windows[0]
        span, clips, size = (
            now - start,
            self._done.num_clips - first.num_clips,
            self._done.size_bytes - first.size_bytes,
        )
        if span < _SHORTEST_SPAN_SECONDS or clips <= 0:
            return None
        with_clips = left.num_clips / clips
        with_size = left.size_bytes / size if size > 0 else with_clips
        share = _mixture(self._paces(span, clips, size), 1.0)
        return max(span * (share * with_clips + (1 - share) * with_size), now - self._last if left.num_clips else 0.0)

    def _not_begun(self) -> Work | None:
        """Return the work of the videos that have not begun; None where nothing is known of it."""
        number, size = self._num_videos - self._num_begun, self._size_bytes - self._bytes_begun
        if number <= 0:
            return Work(0.0, 0.0)
        sums = self._sizes.with_open(self._open.values())
        expected = None
        if self._expected_clips is not None:
            expected = self._expected_clips * (size / self._size_bytes if size > 0 else number / self._num_videos)
        if not sums.number:
            return None if expected is None else Work(expected, size)
        num_readable, readable_bytes = self._readable(sums, number, size)
        clips = sums.predict(num_readable, readable_bytes)
        if expected is not None:
            # What was seen is weak evidence for what is much larger, and so are a few videos of many.
            likeness = _LIKE * (sums.b / sums.number) * num_readable / readable_bytes if readable_bytes else 1.0
            trust = min(1.0, likeness) * sums.number / (sums.number + _EXPECTED_WEIGHT)
            clips = trust * clips + (1 - trust) * expected
        return Work(clips, readable_bytes)

    def _readable(self, sums: _Sums, number: int, size: float) -> tuple[float, float]:
        """Return how many of the videos that have not begun can be read, and their size.

        The others' share is that among the videos that have ended. What is left when their size is taken away is the
        size of the rest, unless they are most of it: then the mean size of a video is the better estimate.
        """
        share = self._num_unreadable / (sums.number + self._num_unreadable + 1)
        usual = number * (1 - share) * sums.b / sums.number
        unreadable = number * share * self._bytes_unreadable / max(1, self._num_unreadable)
        if not unreadable:
            return number * (1 - share), size
        trust = usual / (usual + unreadable)
        return number * (1 - share), min(size, trust * max(0.0, size - unreadable) + (1 - trust) * usual)

    def _note(self, now: float) -> None:
        """Note what is done by now, in windows that grow so that they stay few."""
        self._last = now
        if len(self._windows) > 1 and now - self._windows[-2][0] < self._window_seconds:
            self._windows[-1] = (now, self._done)
        elif self._done.num_clips:
            self._windows.append((now, self._done))
        if len(self._windows) > 2 * _NUM_WINDOWS:
            self._windows = [self._windows[0], *self._windows[2::2]]
            self._window_seconds *= 2

    def _paces(self, span: float, clips: float, size: float) -> Iterable[tuple[float, float]]:
        """Yield two shares of `span` for each window.

        By how much its length, estimated from its clips, is above that estimated from its bytes; and by how much its
        true length is.
        """
        if size <= 0:
            return
        for (start, before), (end, after) in zip(self._windows, self._windows[1:], strict=False):
            with_clips = span * (after.num_clips - before.num_clips) / clips
            with_size = span * (after.size_bytes - before.size_bytes) / size
            yield (with_clips - with_size) / span, (end - start - with_size) / span


@dataclass
class _Sums:
    """Sums over videos: of their sizes b and clips c."""

    number: int = 0
    b: float = 0.0
    c: float = 0.0
    bb: float = 0.0
    bc: float = 0.0

    def add(self, size_bytes: float, num_clips: float) -> None:
        self.number += 1
        self.b += size_bytes
        self.c += num_clips
        self.bb += size_bytes * size_bytes
        self.bc += size_bytes * num_clips

    def with_open(self, videos: Iterable[_Video]) -> _Sums:
        """Return the sums with videos that have begun."""
        sums = _Sums(self.number, self.b, self.c, self.bb, self.bc)
        for video in videos:
            if video.clips_done:
                sums.add(video.size_bytes, video.expected_clips)
        return sums

    def predict(self, num_videos: float, size_bytes: float) -> float:
        """Return the clips of other videos: between a like number for each, and as many for each byte."""
        each = self.c / self.number
        if self.b <= 0:
            return each * num_videos
        per_byte = self.c / self.b
        # Least squares of c = share * each + (1 - share) * per_byte * b, written out over the sums.
        xx = self.number * each**2 - 2 * each * per_byte * self.b + per_byte**2 * self.bb
        xy = each * self.c - each * per_byte * self.b - per_byte * self.bc + per_byte**2 * self.bb
        caution = _CAUTION * self.number * each**2
        share = min(1.0, max(0.0, xy / (xx + caution)))
        return share * each * num_videos + (1 - share) * per_byte * size_bytes


def _mixture(points: Iterable[tuple[float, float]], usual: float) -> float:
    """Return the share in [0, 1] by which y is closest to share * x, kept near the usual one without evidence."""
    xx = xy = 0.0
    number = 0
    for x, y in points:
        number += 1
        xx += x * x
        xy += x * y
    caution = _CAUTION / max(1, number)
    return min(1.0, max(0.0, (xy + usual * caution) / (xx + caution)))
