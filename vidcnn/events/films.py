"""Films of events: copies of videos with events as chapters.

Videos are read in a child process that may crash, and that writes nothing itself (`vidcnn.video.remuxing`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import BinaryIO

from vidcnn.choices import Sandbox
from vidcnn.errors import DataError, OutputError, VideoError, describe_reason
from vidcnn.events.evaluation import Found
from vidcnn.events.writing import path_of
from vidcnn.safe_text import one_line
from vidcnn.sources import SourceVideo
from vidcnn.sources.names import extension
from vidcnn.storage.atomic import make_directories, write_whole
from vidcnn.video.cell import Cell, CellError
from vidcnn.video.grants import Grant
from vidcnn.video.remuxing import Chapter, ChapterJob, ContainerName, Piece, with_chapters

_HEADWAY_SECONDS = 120.0
_EXTRA_BYTES = 64 * 2**20
"""How much larger than its video a copy may become, besides a tenth: indexes and chapters."""
_MP4 = ("mp4", "m4v", "mov")
"""Extensions of videos that stay MP4; others become Matroska, which takes any codec."""


def chapters_of(events: Sequence[Found]) -> tuple[Chapter, ...]:
    """Return the events of a video as chapters, which do not overlap: one that begins ends what lasts until then.

    Args:
        events: The events.
    """
    ordered = sorted(events, key=lambda event: (event.start_seconds, -event.score))
    chapters = []
    for number, event in enumerate(ordered):
        end = min([event.end_seconds, *(other.start_seconds for other in ordered[number + 1 : number + 2])])
        if end > event.start_seconds:
            chapters.append(Chapter(event.start_seconds, end, f"{one_line(event.label)} {event.score:.0%}"))
    return tuple(chapters)


def write_with_chapters(
    videos: Iterable[SourceVideo], events: Mapping[str, Sequence[Found]], folder: Path, sandbox: Sandbox
) -> tuple[int, dict[str, str]]:
    """Write a copy of each video that has events, with these as its chapters.

    Args:
        videos: The videos.
        events: Events by the name of their video.
        folder: Where copies are written, under the names of their videos.
        sandbox: How the process that reads videos is confined.

    Returns:
        Number of copies; and for each video that could not be copied, why.

    Raises:
        DataError: No video has events, or none can be copied.
        OutputError: A copy cannot be written.
        StorageError: A video cannot be read now.
    """
    failures: dict[str, str] = {}
    num_written = 0
    with closing(Cell()) as cell:
        for video in videos:
            if not (found := events.get(video.name)):
                continue
            try:
                _write_copy(cell, video, chapters_of(found), folder, sandbox)
                num_written += 1
            except (VideoError, CellError) as error:
                failures[video.name] = error.message
    if not num_written and failures:
        name, reason = next(iter(failures.items()))
        raise DataError(f"no video could be copied: {one_line(name)}: {reason}")
    if not num_written:
        raise DataError(
            "no video of the source has an event", "names of events are relative to the source that was classified"
        )
    return num_written, failures


def _write_copy(cell: Cell, video: SourceVideo, chapters: tuple[Chapter, ...], folder: Path, sandbox: Sandbox) -> None:
    if video.error is not None or video.is_frame_folder:
        raise VideoError(video.error_kind or "no_video", video.error or "a folder of images has no packets to copy")
    container: ContainerName = "mp4" if extension(video.name) in _MP4 else "matroska"
    path = folder / copy_name(video.name)
    if os.path.realpath(path) == os.path.realpath(video.location):
        raise OutputError(f"{one_line(str(path))} is the video itself", "choose another folder for --out")
    job = ChapterJob(video.location, video.root, container, chapters)
    pieces = cell.run(
        with_chapters, [job], seconds=lambda _: _HEADWAY_SECONDS, grant=Grant.of([video]), sandbox=sandbox
    )
    try:
        make_directories(path.parent)
        write_whole(path, lambda sink: _fill(sink, pieces, video.size_bytes))
    except OSError as error:
        raise OutputError(
            f"cannot write {one_line(str(path))}: {describe_reason(error)}", "choose another --out"
        ) from error


def copy_name(video: str) -> str:
    """Return the path of a video's copy, under the folder of copies."""
    kept = extension(video) in (*_MP4, "mkv")
    return path_of(video, "" if kept else ".mkv")


def _fill(sink: BinaryIO, pieces: Iterable[list[Piece]], size_bytes: int) -> None:
    most = size_bytes + size_bytes // 10 + _EXTRA_BYTES
    for some in pieces:
        for piece in some:
            if not 0 <= piece.offset <= most - len(piece.content):
                raise VideoError("too_large", "its copy would become much larger than it is")
            sink.seek(piece.offset)
            sink.write(piece.content)
