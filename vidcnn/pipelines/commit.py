"""From pieces of rows to a committed table, whatever dies on the way.

A `Committer` takes news in any order and commits the segments that are whole. `redo_lost` closes the account: what is
neither committed nor known to be left to the next run was lost with a process, and is done again.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from dataclasses import replace
from itertools import islice

import pyarrow as pa

from vidcnn.cluster import ResourcePlan
from vidcnn.errors import SourceError, StorageError, VidcnnError
from vidcnn.inference.collector import SegmentCollector
from vidcnn.inference.scoring import News, SegmentRows, Undone
from vidcnn.pipelines.executors import Executor, StageSettings
from vidcnn.pipelines.pending import Pending, not_done, tables_apart
from vidcnn.predictions.output import Output
from vidcnn.reporting.live import ProgressDisplay
from vidcnn.reporting.progress import RunProgress
from vidcnn.sources import SourceVideo
from vidcnn.sources.keys import VideoKey, video_text
from vidcnn.video.planning import video_key

_MAX_UNDONE_IN_A_ROW = 200
"""Videos left undone, one after the other without a row between them, after which a run ends."""
_MAX_ROUNDS_WITHOUT_ROWS = 2
_MAX_LOST = 16_384
"""Videos that are done again in a round."""
_NUM_SHOWN = 5


class Committer:
    """Puts pieces together, and commits the segments that are whole.

    Args:
        output: Takes them.
        progress: Counts them.
        display: Shows that.
        look: Is called between news; what it raises ends the run.

    Attributes:
        undone: Names of the videos that are left to the next run, with the reason.
        num_segments: Segments committed so far.
    """

    def __init__(
        self,
        output: Output,
        progress: RunProgress,
        display: ProgressDisplay,
        look: Callable[[], object] = lambda: None,
    ) -> None:
        self.undone: dict[str, str] = {}
        self.num_segments = 0
        self._look = look
        self._output = output
        self._progress = progress
        self._display = display
        self._collector = SegmentCollector()
        self._open: dict[VideoKey, tuple[int, int]] = {}  # segments that this run does of a video, and those left
        self._gone: set[str] = set()  # videos that are no longer what was listed
        self._num_undone_in_a_row = 0

    def take(self, arriving: Generator[list[News], None, None]) -> None:
        """Take news as they arrive, until there are no more; what gives them has ended then, whatever happens.

        Raises:
            VidcnnError: What `look` raised.
            StorageError: The storage fails again and again, and nothing else comes.
        """
        with closing(arriving):
            self._take_all(arriving)
        self._output.commit()
        self._collector.clear()  # what did not become whole now never will

    def lost(self, pending: Pending) -> list[SourceVideo]:
        """Return videos of which neither all rows are committed nor is known why they are not: the first of many."""
        lost = (
            video
            for video in not_done(pending, self._output)
            if video.name not in self.undone and video.name not in self._gone
        )
        return [*islice(lost, _MAX_LOST)]

    def _take_all(self, arriving: Iterable[list[News]]) -> None:
        for news in arriving:
            self._look()
            for one in news:
                if isinstance(one, SegmentRows):
                    self._take_piece(one)
                else:
                    self._take_undone(one)
            if self._output.should_commit(time.monotonic()):
                self._output.commit()
            self._display.update()

    def _take_piece(self, piece: SegmentRows) -> None:
        rows = self._collector.add(piece)
        if rows is None:
            return
        self._num_undone_in_a_row = 0
        key = piece.segment
        if key.video.mtime_ns < 0:
            self._gone.add(key.video.name)
        num_segments, num_left = self._open.get(key.video, (0, 0))
        if not num_segments:
            num_segments = num_left = key.count - len(self._output.done_segments(key.video, key.count))
        if self._output.add(key, rows):
            self.num_segments += 1
            self._open[key.video] = num_segments, num_left - 1
            if num_left <= 1:
                del self._open[key.video]
            num_clips = rows.num_rows - rows["clip"].null_count if "clip" in rows.schema.names else rows.num_rows
            self._progress.add_segment(
                key.video.name,
                key.video.size_bytes,
                num_segments,
                num_clips=num_clips,
                num_short_clips=num_clips if piece.is_short else 0,
                num_predictions=rows["error"].null_count,
                errors=Counter(rows["error_kind"].drop_null().to_pylist()),
            )

    def _take_undone(self, undone: Undone) -> None:
        self._num_undone_in_a_row += undone.video.name not in self.undone
        self.undone[undone.video.name] = undone.reason
        if self._num_undone_in_a_row >= _MAX_UNDONE_IN_A_ROW:
            raise StorageError(
                f"the storage fails: the last {self._num_undone_in_a_row} videos could not be read, such as "
                f"{video_text(undone.video.name)}: {undone.reason}",
                "what was committed stays; the same command continues when the storage is back",
            )


def redo_lost(
    executor: Executor,
    output: Output,
    settings: StageSettings,
    resources: ResourcePlan,
    pending: Pending,
    committer: Committer,
) -> None:
    """Do again what was lost because its process died, each segment apart; otherwise as `redo_videos`."""
    apart = replace(settings, max_unit_frames=1)
    redo_videos(lambda videos: executor.score_videos(videos, apart, resources), output, pending, committer)


def redo_videos(
    do: Callable[[list[pa.Table]], Generator[list[News], None, None]],
    output: Output,
    pending: Pending,
    committer: Committer,
) -> None:
    """Do again what was lost because its process died, each video apart, for as long as that gives rows.

    Args:
        do: Does the videos of some tables.
        output: Where they are committed.
        pending: All that was to do.
        committer: Takes the rows.

    Raises:
        VidcnnError: The processes die again and again.
        SourceError: Two videos have one name.
    """
    num_rounds_without = 0
    done: set[VideoKey] = set()
    lost = committer.lost(pending)
    while lost:
        num_before, keys = committer.num_segments, {video_key(video) for video in lost}
        committer.take(do(tables_apart(lost, output)))
        num_rounds_without = num_rounds_without + 1 if committer.num_segments == num_before else 0
        lost = committer.lost(pending)
        done |= keys - {video_key(video) for video in lost}
        if twice := [video for video in lost if video_key(video) in done]:
            raise SourceError(
                f"two videos of the source have the name {video_text(twice[0].name)}: the rows of each would replace "
                "those of the other",
                "give each of them an --out of its own",
            )
        if lost and num_rounds_without >= _MAX_ROUNDS_WITHOUT_ROWS:
            names = ", ".join(video_text(video.name) for video in lost[:_NUM_SHOWN])
            raise VidcnnError(
                "the processes that decode and those that run the model died again and again, last over clips of "
                f"{names}{', ...' if len(lost) > _NUM_SHOWN else ''}",
                "they may be short of memory: lower --batch-size, --actors or --decoders; what was committed stays",
            )
