"""What a person sees while a run works: counts, speed and the time that remains.

Arithmetic over what an inference run has committed; `vidcnn.reporting.live` shows it.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from vidcnn.reporting.forecast import Forecast

_RATE_WINDOW_SECONDS = 30.0


class RunProgress:
    """How far a run is.

    The time that remains is worked out from clips, as `vidcnn.reporting.forecast` learns to count them.

    Args:
        num_videos: Videos to do, as far as they are listed.
        size_bytes: Their size, all together.
        now: Clock in seconds.

    Attributes:
        is_listed: Whether there are no more videos to do; until then nobody knows which share is done.
    """

    def __init__(self, num_videos: int, size_bytes: int, now: Callable[[], float] = time.monotonic) -> None:
        self.num_videos = num_videos
        self.is_listed = True
        self.num_videos_done = 0
        self.num_clips = 0
        self.num_short_clips = 0
        self.num_predictions = 0
        self.errors: Counter[str] = Counter()
        self._forecast = Forecast(num_videos, size_bytes)
        self._fraction = 0.0
        self._now = now
        self._began = now()
        self._first_rows: float | None = None
        self._first_clips = 0
        self._recent: deque[tuple[float, int]] = deque()
        self._num_bad_videos = 0  # that are done
        self._bad_videos: set[str] = set()  # that are not

    def add_segment(
        self,
        video: str,
        size_bytes: int,
        num_segments: int,
        *,
        num_clips: int,
        num_predictions: int,
        errors: Mapping[str, int],
        video_clips: int | None = None,
        num_short_clips: int = 0,
    ) -> None:
        """Count a finished segment.

        Args:
            video: Name of its video.
            size_bytes: Size of the video.
            num_segments: Segments that the video has in this run.
            num_clips: Rows of the segment that are of a clip.
            num_predictions: Rows of the segment without an error.
            errors: Its rows with an error, by kind.
            video_clips: Clips of all these segments of the video; None where that is not known.
            num_short_clips: Clips among `num_clips` that are longer than their video.
        """
        now = self._now()
        self.num_clips += num_clips
        self.num_short_clips += num_short_clips
        self.num_predictions += num_predictions
        if errors:
            self.errors.update(errors)
            self._bad_videos.add(video)
        if self._first_rows is None:
            self._first_rows, self._first_clips = now, num_clips
        if self._forecast.add(now, video, size_bytes, num_segments, num_clips, video_clips):
            self.num_videos_done += 1
            if video in self._bad_videos:
                self._bad_videos.remove(video)
                self._num_bad_videos += 1
        self._recent.append((now, num_clips))
        while self._recent and self._recent[0][0] < now - _RATE_WINDOW_SECONDS:
            self._recent.popleft()

    def expect(self, num_clips: int) -> None:
        """Take the number of clips that are to do, by a sample of the source."""
        self._forecast.expect(num_clips)

    def list_more(self, num_videos: int, size_bytes: int, *, is_listed: bool) -> None:
        """Take what is listed by now.

        Args:
            num_videos: Videos to do, all together.
            size_bytes: Their size.
            is_listed: Whether these are all.
        """
        if num_videos != self.num_videos:
            self.num_videos = num_videos
            self._forecast.grow(num_videos, size_bytes)
        self.is_listed = is_listed

    @property
    def has_begun(self) -> bool:
        """Whether there are any rows yet."""
        return self._first_rows is not None

    @property
    def num_errors(self) -> int:
        """Rows with an error."""
        return self.errors.total()

    @property
    def num_bad_videos(self) -> int:
        """Videos with such a row."""
        return self._num_bad_videos + len(self._bad_videos)

    @property
    def elapsed_seconds(self) -> float:
        """Seconds since the run began."""
        return self._now() - self._began

    @property
    def fraction(self) -> float:
        """Share of the work that is done, in [0, 1]; it does not fall when more turns out to be left."""
        if not self.is_listed:
            return 0.0
        if self.num_videos_done >= self.num_videos:
            return 1.0
        self._fraction = max(self._fraction, self._forecast.fraction)
        return self._fraction

    @property
    def clips_per_second(self) -> float:
        """Clips per second over the last half minute."""
        if not self._recent:
            return 0.0
        since = max(self._recent[0][0], self._began)
        span = self._now() - since
        return sum(clips for _, clips in self._recent) / span if span > 1.0 else 0.0

    @property
    def mean_clips_per_second(self) -> float | None:
        """Clips per second from the first rows to now; None where that is too short."""
        if self._first_rows is None or self._now() - self._first_rows < 1.0:
            return None
        return (self.num_clips - self._first_clips) / (self._now() - self._first_rows)

    @property
    def remaining_seconds(self) -> float | None:
        """Seconds that the rest will take; None before that is known."""
        if not self.is_listed:
            return None
        return 0.0 if self.num_videos_done >= self.num_videos else self._forecast.seconds(self._now())


def describe(progress: RunProgress) -> tuple[float, str]:
    """Return the share of an inference run that is done, and its state in one line."""
    return progress.fraction, progress_line(progress)


def progress_line(progress: RunProgress) -> str:
    """Return the state of an inference run in one line."""
    done, listed = f"{progress.num_videos_done:,}", f"{progress.num_videos:,}"
    parts = [
        f"{done}/{listed} videos" if progress.is_listed else f"{done} videos of at least {listed}, listing goes on",
        f"{progress.num_clips:,} clips",
    ]
    if progress.clips_per_second:
        parts.append(f"{progress.clips_per_second:.1f} clips/s")
    if progress.num_errors:
        parts.append(f"{progress.num_errors:,} errors")
    remaining = progress.remaining_seconds
    if remaining is None:
        parts.append("" if progress.has_begun else "starting")
    elif progress.fraction < 1:
        parts.append(f"{duration_text(remaining)} left")
    return " · ".join(part for part in parts if part)


def duration_text(seconds: float) -> str:
    """Return a length of time as people write it: ``8 s``, ``3 min 20 s``, ``5 h 12 min``, ``3 d 4 h``."""
    whole = round(seconds)
    for size, unit, smaller_size, smaller in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // smaller_size
            return f"{whole // size} {unit}" + (f" {rest} {smaller}" if rest else "")
    return f"{whole} s" if seconds >= 1 or seconds == 0 else f"{seconds:.1f} s"


def iso_time(seconds: float) -> str:
    """Return a moment, in seconds since 1970, as in reports: ``2026-01-31T02:00:00.000Z``."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
