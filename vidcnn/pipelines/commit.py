"""From pieces of rows to a committed table, whatever dies on the way.

A `Committer` takes pieces in any order and commits the segments that are whole. `redo_lost` closes the account: what is
not committed when the pipeline has ended was lost with a process, and is done again or becomes error rows.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from vidcnn.cluster import Shares
from vidcnn.errors import VidcnnError, VideoError
from vidcnn.pipelines.dataset import StageSettings, decodable_segments, plan_videos, score_videos
from vidcnn.pipelines.todo import Todo, not_done, tables_apart
from vidcnn.planning import video_key
from vidcnn.predictions.ledger import VideoKey
from vidcnn.predictions.output import Output
from vidcnn.progress import ProgressDisplay, RunProgress
from vidcnn.scoring import Piece, SegmentCollector, failed_segment, unreadable_video


class Committer:
    """Puts pieces together, and commits the segments that are whole."""

    def __init__(self, output: Output, progress: RunProgress, display: ProgressDisplay) -> None:
        self._output = output
        self._progress = progress
        self._display = display
        self._collector = SegmentCollector()
        self._num_segments: dict[VideoKey, int] = {}  # that this run does of each video

    def take(self, arriving: Iterable[list[Piece]]) -> None:
        """Take pieces as they arrive, until there are no more."""
        for pieces in arriving:
            for piece in pieces:
                self._take_piece(piece)
            if self._output.should_commit(time.monotonic()):
                self._output.commit()
            self._display.update()
        self._output.commit()

    def _take_piece(self, piece: Piece) -> None:
        rows = self._collector.add(piece)
        if rows is None:
            return
        key = piece.segment
        num_segments = self._num_segments.get(key.video)
        if num_segments is None:
            num_segments = key.count - len(self._output.done_segments(key.video, key.count))
            self._num_segments[key.video] = num_segments
        if self._output.add(key, rows):
            self._progress.add_segment(
                key.video.name,
                key.video.size_bytes,
                num_segments,
                num_clips=rows.num_rows - rows["clip"].null_count,
                num_predictions=rows["error"].null_count,
                errors=Counter(rows["error_kind"].drop_null().to_pylist()),
            )


def redo_lost(output: Output, settings: StageSettings, shares: Shares, todo: Todo, committer: Committer) -> None:
    """Do again what was lost because its process died, each segment apart; then make rows of what dies again.

    Raises:
        VidcnnError: Segments that can be decoded are lost nevertheless: it is the model's process that dies.
    """
    schema = settings.row_format.schema
    apart = replace(settings, max_unit_frames=1)
    if not (lost := not_done(todo, output)):
        return
    committer.take(score_videos(tables_apart(lost, output), apart, shares))
    if not (lost := not_done(todo, output)):
        return
    survivors = set(decodable_segments(tables_apart(lost, output), apart, shares))
    if survivors:
        name = next(iter(survivors)).video.name
        raise VidcnnError(
            f"the process that runs the model died again and again, last over clips of {name}",
            "it may be short of memory: lower --batch-size or --actors; what was committed stays",
        )
    crash = VideoError("decoder_crash", "the process that decodes it died, again and again")
    planned: set[str] = set()
    for unit, pieces in plan_videos(tables_apart(lost, output), settings.plan, schema, shares):
        committer.take([[failed_segment(segment, crash, schema) for segment in unit], pieces])
        planned |= {segment.video.name for segment in unit} | {piece.segment.video.name for piece in pieces}
    unplanned = [video_key(video) for video in lost if video.name not in planned]
    committer.take([[unreadable_video(key, crash, schema) for key in unplanned]])
