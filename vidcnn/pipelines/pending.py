"""What is left to do of a source: listed by a thread, while what is listed already is planned, decoded and classified.

Takes the listing and what is committed; gives tables of videos, each row with what is done of its video already. They
are in a file (`vidcnn.pipelines.spool`), so that the driver's memory does not grow with the source.
"""

from __future__ import annotations

import heapq
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import pyarrow as pa

from vidcnn.pipelines.spool import Spool
from vidcnn.pipelines.stages import pack_video, unpack_videos, video_table
from vidcnn.predictions.output import Output
from vidcnn.sources import SourceVideo
from vidcnn.sources.settling import is_settling
from vidcnn.storage.scratch import scratch_directory
from vidcnn.video.planning import video_key

FIRST_VIDEOS = 4096
"""Videos that are left to do, after which work begins; smaller sources are listed whole before."""
_NUM_BLOCKS = 64
"""Tasks among which the planning of a small source is divided."""
_LEAST_BLOCK_VIDEOS, _MOST_BLOCK_VIDEOS = 64, 1024
"""Videos planned by one task of a larger source: a thousandth of what is listed, within these bounds."""
NUM_LARGEST = 4
"""The largest videos, which may contain most of a source, are in its sample."""
_LONGEST_WAIT_SECONDS = 0.02
_MOST_STARTING_SECONDS = 60.0
"""How long the listing waits for first rows, once: what starts needs the driver's processor more."""
_ENDING_SECONDS = 5.0
"""How long to wait for a listing that is to end early: it looks at one file or one page at a time."""


class Pending:
    """What is left to do of a source. `fill` lists it, in any thread.

    Args:
        path: A file for the tables; it must not be there yet.

    Attributes:
        videos: Tables of videos, each for one planning task.
        num_listed: Videos of the source so far.
        num_waiting: Videos that may still be written, and wait for the next run.
        num_videos: Videos in the tables so far.
        size_bytes: Their size, all together.
        is_complete: Whether the whole source is listed.
    """

    def __init__(self, path: Path) -> None:
        self.videos = Spool(path)
        self.num_listed = self.num_waiting = self.num_videos = self.size_bytes = 0
        self.is_complete = False
        self._sample: list[SourceVideo] = []
        self._largest: list[tuple[int, int, SourceVideo]] = []
        self._left: list[bytes] = []  # not in a table yet
        self._failure: BaseException | None = None
        self._is_stopped = False
        self._may_hurry = threading.Event()  # nothing else is to be done
        self._may_go_on = threading.Event()
        self._rested = 0.0  # seconds of the listing thread
        self._lock = threading.Lock()

    @property
    def sample(self) -> tuple[SourceVideo, ...]:
        """Some of the videos, from everywhere in what is listed, and the largest."""
        with self._lock:
            return (*self._sample, *(video for *_, video in self._largest))

    def fill(self, listing: Iterable[SourceVideo], output: Output, limit: int | None, settle_seconds: float) -> None:
        """List the source, and leave out what is done, and what was written within the last `settle_seconds`.

        What goes wrong is raised by `check`, and by all that waits.
        """
        self._rested = time.thread_time()
        try:
            for video in islice(listing, limit):
                if self._is_stopped:
                    break
                self.num_listed += 1
                key = video_key(video)
                if output.is_done(key):
                    continue
                if is_settling(video, settle_seconds, time.time_ns()):
                    self.num_waiting += 1
                    continue
                self._add(video, pack_video(video, output.partly_done(key)))
            self._cut(is_last=True)
        except BaseException as error:
            self._failure = error
        finally:
            try:
                self.videos.end()
            except BaseException as error:
                self._failure = self._failure or error
            self.is_complete = self._failure is None and not self._is_stopped

    def check(self) -> None:
        """Raise what went wrong with the listing, if anything did.

        Raises:
            VidcnnError: The source cannot be listed to its end.
        """
        if self._failure is not None:
            raise self._failure

    def wait_for_first(self) -> None:
        """Wait until there is enough to begin with, or all of it.

        Raises:
            VidcnnError: As for `check`.
        """
        self._wait(lambda: self.num_videos >= FIRST_VIDEOS)

    def go_on(self) -> None:
        """Let the listing go on, which waits a while after the first videos: Python runs one thread at a time."""
        self._may_go_on.set()

    def wait(self) -> None:
        """Wait until the whole source is listed.

        Raises:
            VidcnnError: As for `check`.
        """
        self._may_hurry.set()
        self.go_on()
        self._wait(lambda: False)

    def stop(self) -> None:
        """End the listing, wherever it is, and the tables."""
        self._is_stopped = True
        self._may_hurry.set()
        self.go_on()

    def _wait(self, is_enough: Callable[[], bool]) -> None:
        seconds = 0.001
        while not (self.is_complete or self._failure is not None or is_enough()):
            time.sleep(seconds)  # rather than on a lock: that is where an interruption would have to wait
            seconds = min(2 * seconds, _LONGEST_WAIT_SECONDS)
        self.check()

    def _add(self, video: SourceVideo, row: bytes) -> None:
        with self._lock:
            self.num_videos += 1
            self.size_bytes += video.size_bytes
            if self.num_videos.bit_count() == 1:  # the 1st, 2nd, 4th, 8th, ...: some of everywhere, at no cost
                self._sample.append(video)
            elif len(self._largest) < NUM_LARGEST:
                heapq.heappush(self._largest, (video.size_bytes, self.num_videos, video))
            else:
                heapq.heappushpop(self._largest, (video.size_bytes, self.num_videos, video))
        self._left.append(row)
        if self.num_videos >= FIRST_VIDEOS and len(self._left) >= self._block_videos:
            self._cut(is_last=False)
            if self.num_videos > FIRST_VIDEOS:
                self._leave_room()

    def _leave_room(self) -> None:
        """Wait until the first rows are there, and then for as long as the listing has computed."""
        self._may_go_on.wait(_MOST_STARTING_SECONDS)
        self._may_go_on.set()
        self._may_hurry.wait(time.thread_time() - self._rested)
        self._rested = time.thread_time()

    @property
    def _block_videos(self) -> int:
        """Videos of the next table."""
        if self.num_videos < FIRST_VIDEOS:
            return max(1, self.num_videos // _NUM_BLOCKS)
        return min(_MOST_BLOCK_VIDEOS, max(_LEAST_BLOCK_VIDEOS, self.num_videos // 1000))

    def _cut(self, *, is_last: bool) -> None:
        """Put what is left over into tables; what does not fill one stays, unless there are no more."""
        number = self._block_videos
        end = len(self._left) if is_last else len(self._left) // number * number
        for start in range(0, end, number):
            self.videos.append(video_table(self._left[start : min(end, start + number)]))
        del self._left[:end]


@contextmanager
def list_pending(
    listing: Iterable[SourceVideo], output: Output, limit: int | None, settle_seconds: float
) -> Iterator[Pending]:
    """List a source in a thread, for the length of a block, which begins when there is enough to begin with.

    Args:
        listing: The videos of the source.
        output: Where they are to be committed.
        limit: Videos of the source that are listed, at most.
        settle_seconds: How long a video must have been left alone.

    Raises:
        VidcnnError: The source cannot be listed, or has no video.
    """
    with scratch_directory("vidcnn-list-", Path(tempfile.gettempdir())) as directory:
        pending = Pending(directory / "videos")
        thread = threading.Thread(target=pending.fill, args=(listing, output, limit, settle_seconds), daemon=True)
        thread.start()
        try:
            pending.wait_for_first()
            yield pending
        finally:
            pending.stop()
            thread.join(_ENDING_SECONDS)
            pending.videos.close()


def not_done(pending: Pending, output: Output) -> Iterator[SourceVideo]:
    """Yield the videos that should be committed by now, and are not."""
    for table in pending.videos:
        for video in unpack_videos(table):
            if not output.is_done(video_key(video)):
                yield video


def tables_apart(videos: Iterable[SourceVideo], output: Output) -> list[pa.Table]:
    """Put videos into tables of one video each, so that one cannot take another with it."""
    return [video_table([pack_video(video, output.partly_done(video_key(video)))]) for video in videos]
