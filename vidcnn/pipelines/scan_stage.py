"""The one stage of a scan, as Ray Data sees it: tables of videos in, tables of news out, as with inference.

Where a decoder dies over a video, or takes too long, the rest is found out without it, so that a video which no machine
can decode still has its format, its length and its hash.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, cast

import pyarrow as pa

from vidcnn.errors import InternalError, StorageError, VidcnnError, VideoError
from vidcnn.inference.scoring import News, SegmentRows, Undone
from vidcnn.pipelines.measuring import confined
from vidcnn.pipelines.stages import unpack_videos
from vidcnn.scans import scan_row
from vidcnn.sources import SourceVideo
from vidcnn.sources.keys import SegmentKey
from vidcnn.video.attempts import PlanWork, plan_in_cell
from vidcnn.video.cell import Cell, this_cell
from vidcnn.video.planning import video_key
from vidcnn.video.scanning import Found, ScanSettings, VideoScan, scan_each
from vidcnn.video.stopwatch import StageTimes

_DECODER_FAULTS = ("decoder_crash", "timeout")
_NUM_TOGETHER = 64
"""Videos whose news travel together, where they are quick to scan."""


class ScanStage:
    """Videos to rows.

    Args:
        settings: What is found out.
        cell: Where videos are read; by default that of the process.
    """

    work: Callable[..., Iterator[list[Found]]] = staticmethod(scan_each)

    def __init__(self, settings: ScanSettings, cell: Cell | None = None) -> None:
        self._settings = settings
        self._given_cell = cell

    def __call__(self, videos: pa.Table) -> Iterator[pa.Table]:
        """Scan the videos of a block."""
        listed = list(unpack_videos(videos))
        cell = self._given_cell or this_cell(yields=False)
        news: list[News | VidcnnError] = []
        try:
            for index, found in self._scan(listed, self._settings, cell):
                news.append(self._news(listed[index], found, cell))
                if self._settings.sample_seconds is not None or len(news) == _NUM_TOGETHER:
                    yield _packed(news, cell)
                    news = []
        except Exception as error:
            news.append(error if isinstance(error, VidcnnError) else InternalError.of(error, "scanning"))
        if news:
            yield _packed(news, cell)

    def _scan(self, videos: Sequence[SourceVideo], settings: ScanSettings, cell: Cell) -> Iterator[tuple[int, Found]]:
        work, arguments = cast(PlanWork, type(self).work), cast(Any, settings)
        found_by_index = plan_in_cell(
            videos, arguments, cell, work=work, check=_are_scans, preparation=settings.preparation
        )
        for index, found in found_by_index:
            yield index, cast(Found, found)

    def _news(self, video: SourceVideo, found: Found, cell: Cell) -> News:
        """Return the row of a video, or that it cannot be read now."""
        if isinstance(found, StorageError):
            return Undone(video_key(video), found.message)
        if isinstance(found, VideoScan):
            return _row(video, found.facts, found.error)
        for settings in self._settings_without_decoder(found):
            ((_, rest),) = self._scan([video], settings, cell)
            if isinstance(rest, VideoScan):
                return _row(video, rest.facts | {"readable": False}, found)
        return _row(video, {}, found)

    def _settings_without_decoder(self, error: VideoError) -> Iterator[ScanSettings]:
        """Yield what can still be found out about a video that has an error, the most first."""
        if error.kind == "changed":
            return
        if error.kind in _DECODER_FAULTS and self._settings.sample_seconds is not None:
            yield replace(self._settings, sample_seconds=None)
        if self._settings.hashes:
            yield replace(self._settings, sample_seconds=None, probes=False)


def _are_scans(scans: Any, videos: Sequence[SourceVideo]) -> bool:
    """Return whether what a process sent, which may have been taken over, can be about the first of some videos."""
    return (
        type(scans) is list
        and len(scans) <= len(videos)
        and all(_is_scan(scan, video) for scan, video in zip(scans, videos, strict=False))
    )


def _is_scan(scan: Any, video: SourceVideo) -> bool:
    if isinstance(scan, VideoError | StorageError):
        return True
    try:
        return type(scan) is VideoScan and scan_row(video, scan.facts, scan.error).num_rows == 1
    except (pa.ArrowException, TypeError, ValueError, KeyError, OverflowError):
        return False  # a fact of a kind that the table does not have


def _row(video: SourceVideo, facts: dict[str, Any], error: VideoError | None) -> News:
    key = video_key(video)
    if error is not None and error.kind == "changed":
        key = replace(key, size_bytes=-1, mtime_ns=-1)  # no version that it may have later: it is done again then
    return SegmentRows(SegmentKey(key, 0, 1), 0, 1, "", scan_row(video, facts, error))


def _packed(news: list[News | VidcnnError], cell: Cell) -> pa.Table:
    times = StageTimes(confined=confined(cell))
    columns = {"news": (news, pa.large_binary()), "times": (times, pa.binary())}
    return pa.table({name: pa.array([pickle.dumps(value)], kind) for name, (value, kind) in columns.items()})
