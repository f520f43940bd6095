"""What is left to do of a source, packed for the pipeline.

Takes the listing and what is committed; returns tables of videos, each row with what is done of its video already.
"""

from __future__ import annotations

import heapq
import time
from dataclasses import dataclass
from itertools import islice

import pyarrow as pa

from vidcnn.pipelines.stages import pack_video, unpack_videos, video_table
from vidcnn.predictions.output import Output
from vidcnn.sources import Listing, SourceVideo
from vidcnn.sources.settling import is_settling
from vidcnn.video.planning import video_key

_MAX_BLOCK_VIDEOS = 256
"""Videos planned by one task, at most; unless there would be more than `_MAX_BLOCKS` tasks."""
_NUM_BLOCKS = 64
"""Tasks among which the planning of a small source is divided."""
_MAX_BLOCKS = 1000
"""Each task costs the driver some milliseconds."""
NUM_LARGEST = 4
"""The largest videos, which may contain most of a source, are in its sample."""
_PACKED_VIDEOS = 16_384
"""Rows that are gathered before they are put into a table, where they take less memory."""


@dataclass(frozen=True)
class Pending:
    """What is left to do of a source.

    Attributes:
        videos: Tables of videos, each for one planning task.
        num_listed: Videos of the source.
        num_waiting: Videos that may still be written, and wait for the next run.
        num_videos: Videos in the tables.
        size_bytes: Their size, all together.
        sample: Some of them, from everywhere in the source, and the largest.
    """

    videos: tuple[pa.Table, ...]
    num_listed: int
    num_waiting: int
    num_videos: int
    size_bytes: int
    sample: tuple[SourceVideo, ...]


def list_pending(listing: Listing, output: Output, limit: int | None, settle_seconds: float) -> Pending:
    """List the source, and leave out what is done, and what was written within the last `settle_seconds`."""
    packed = [video_table([])]
    left: list[bytes] = []  # not in a table yet
    sample: list[SourceVideo] = []
    largest: list[tuple[int, int, SourceVideo]] = []
    num_listed = num_waiting = num_videos = size_bytes = 0
    for video in islice(listing, limit):
        num_listed += 1
        key = video_key(video)
        if output.is_done(key):
            continue
        if is_settling(video, settle_seconds, time.time_ns()):
            num_waiting += 1
            continue
        size_bytes += video.size_bytes
        left.append(pack_video(video, output.partly_done(key)))
        num_videos += 1
        if num_videos.bit_count() == 1:  # the 1st, 2nd, 4th, 8th, ...: some of everywhere, at no cost
            sample.append(video)
        else:
            heapq.heappush(largest, (video.size_bytes, num_videos, video))
            if len(largest) > NUM_LARGEST:
                heapq.heappop(largest)
        if len(left) == _PACKED_VIDEOS:
            packed.append(video_table(left))
            left = []
    blocks = _cut(pa.concat_tables([*packed, video_table(left)]))
    return Pending(
        blocks, num_listed, num_waiting, num_videos, size_bytes, (*sample, *(video for *_, video in largest))
    )


def not_done(pending: Pending, output: Output) -> list[SourceVideo]:
    """Return the videos that should be committed by now, and are not."""
    return [video for table in pending.videos for video in unpack_videos(table) if not output.is_done(video_key(video))]


def tables_apart(videos: list[SourceVideo], output: Output) -> list[pa.Table]:
    """Put videos into tables of one video each, so that one cannot take another with it."""
    return [video_table([pack_video(video, output.partly_done(video_key(video)))]) for video in videos]


def _cut(videos: pa.Table) -> tuple[pa.Table, ...]:
    """Divide videos among planning tasks."""
    number = videos.num_rows
    block = max(1, min(number // _NUM_BLOCKS, max(_MAX_BLOCK_VIDEOS, -(-number // _MAX_BLOCKS))))
    return tuple(videos.slice(start, block).combine_chunks() for start in range(0, number, block))
