"""Copying the packets of videos into new files, in a process that `vidcnn.video.cell` can kill; no picture is decoded.

That process can open nothing. So it yields what it would write, piece by piece, and its parent writes that.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from fractions import Fraction
from heapq import heappop, heappush
from io import SEEK_CUR, SEEK_END, SEEK_SET
from typing import Any, Literal, NamedTuple

import av
import av.error
import av.stream

from vidcnn.errors import VideoError
from vidcnn.video.cell_status import at
from vidcnn.video.cell_values import register
from vidcnn.video.container import open_video

ContainerName = Literal["mp4", "matroska"]
_COPIED = ("video", "audio", "subtitle")
_MILLISECOND = Fraction(1, 1000)
_AHEAD = 32
"""More packets than any codec puts in another order."""
_NOTHING = "-"
"""Title of what is between events."""


class Chapter(NamedTuple):
    """A part of a video with a name.

    Attributes:
        start_seconds: Presentation time of its start.
        end_seconds: Presentation time of its end.
        title: Its name.
    """

    start_seconds: float
    end_seconds: float
    title: str


class ChapterJob(NamedTuple):
    """A video that gets chapters.

    Attributes:
        location: Absolute path or URI.
        root: Folder that its symbolic links must not lead out of; None lets them lead anywhere.
        container: What is written.
        chapters: By time.
    """

    location: str
    root: str | None
    container: ContainerName
    chapters: tuple[Chapter, ...]


class Piece(NamedTuple):
    """Bytes of a new file.

    Attributes:
        offset: Where they belong.
        content: The bytes.
    """

    offset: int
    content: bytes


register(Piece)


class PieceFile:
    """A file that libav writes, of which nothing is kept but what was not yet taken."""

    def __init__(self) -> None:
        self._position = self._size = 0
        self._pieces: list[Piece] = []

    def write(self, data: bytes) -> int:
        """Write at the position."""
        last = self._pieces[-1] if self._pieces else None
        if last is not None and last.offset + len(last.content) == self._position:
            self._pieces[-1] = Piece(last.offset, last.content + bytes(data))
        else:
            self._pieces.append(Piece(self._position, bytes(data)))
        self._position += len(data)
        self._size = max(self._size, self._position)
        return len(data)

    def seek(self, offset: int, whence: int = SEEK_SET) -> int:
        """Move the position."""
        self._position = {SEEK_SET: 0, SEEK_CUR: self._position, SEEK_END: self._size}[whence] + offset
        return self._position

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def take(self) -> list[Piece]:
        """Return what was written since the last time."""
        pieces, self._pieces = self._pieces, []
        return pieces


def with_chapters(jobs: Sequence[ChapterJob]) -> Iterator[list[Piece]]:
    """Copy a video with all its streams of pictures, sound and text, and give the copy chapters.

    Args:
        jobs: One job.

    Yields:
        The new file.

    Raises:
        VideoError: The video cannot be read, or its packets are not for this container.
        StorageError: Its bytes cannot be read now.
    """
    at(0)
    (job,) = jobs
    file = PieceFile()
    with open_video(job.location, root=job.root) as video:
        output = av.open(file, "w", format=job.container)
        copies = _copies(video.container, output)
        if video.stream.index not in copies:
            raise VideoError("unreadable", f"its pictures ({video.stream.name}) cannot be put into {job.container}")
        output.set_chapters(_entries(filled(job.chapters, _end_seconds(video.container))))
        packets = video.container.demux([video.container.streams[index] for index in copies])
        for packet in with_decoding_times(packets):
            packet.stream = copies[packet.stream.index]
            output.mux(packet)
            if pieces := file.take():
                yield pieces
        output.close()
        yield file.take()


def with_decoding_times(packets: Iterable[Any]) -> Iterator[Any]:
    """Give packets the times at which they are to be decoded, found from those at which they are shown.

    Containers do not always have them, and libav's guesses are not always in order, as muxers want them. Of the packets
    of a stream, the first is decoded when the first of them is shown, the second when the second is, and so on; all of
    it so much earlier that none is shown before it is decoded.

        shown      0  4  2  1  3  6  5
        decoded   -2 -1  0  1  2  3  4      in order, and 2 earlier

    Args:
        packets: PyAV's packets of some streams, each in the order of decoding.

    Yields:
        The same, without those that are empty.
    """
    queues: dict[int, _Queue] = {}
    for packet in packets:
        if packet.size:
            queue = queues.setdefault(packet.stream.index, _Queue())
            queue.put(packet)
            while len(queue.packets) > _AHEAD:
                yield queue.take()
    for queue in queues.values():
        while queue.packets:
            yield queue.take()


class _Queue:
    """Packets of a stream, and the times at which they are shown."""

    def __init__(self) -> None:
        self.packets: deque[Any] = deque()
        self._shown: list[int] = []
        self._delay: int | None = None
        self._newest = self._decoded = -(2**62)

    def put(self, packet: Any) -> None:
        """Add a packet; one without any time is shown after all others."""
        if packet.pts is None:
            packet.pts = packet.dts if packet.dts is not None else max(0, self._newest + 1)
        self._newest = max(self._newest, packet.pts)
        self.packets.append(packet)
        heappush(self._shown, packet.pts)

    def take(self) -> Any:
        """Return the first packet."""
        if self._delay is None:
            pairs = zip(sorted(self._shown), self.packets, strict=True)
            self._delay = max(time - packet.pts for time, packet in pairs)
        packet = self.packets.popleft()
        self._decoded = packet.dts = max(heappop(self._shown) - self._delay, self._decoded + 1)
        packet.pts = max(packet.pts, packet.dts)
        return packet


def _copies(container: Any, output: Any) -> dict[int, Any]:
    """Give a new file a stream for each stream that is copied, and return them by the index of that."""
    copies = {}
    for stream in container.streams:
        if stream.type in _COPIED:
            with suppress(ValueError, av.error.FFmpegError):  # this container takes no such stream
                copies[stream.index] = output.add_stream_from_template(stream, opaque=True)
                stream.discard = av.stream.Discard.default
    return copies


def filled(chapters: Sequence[Chapter], end_seconds: float) -> list[Chapter]:
    """Return chapters without gaps from 0 to the end of a video: players take one to last until the next begins.

    Args:
        chapters: By time; they do not overlap.
        end_seconds: Presentation time at which the video ends.
    """
    found: list[Chapter] = []
    last = 0.0
    for chapter in chapters:
        if round(1000 * chapter.start_seconds) > round(1000 * last):
            found.append(Chapter(last, chapter.start_seconds, _NOTHING))
        found.append(chapter)
        last = chapter.end_seconds
    if round(1000 * end_seconds) > round(1000 * last):
        found.append(Chapter(last, end_seconds, _NOTHING))
    return found


def _end_seconds(container: Any) -> float:
    start, duration = container.start_time or 0, container.duration or 0
    return float(start + duration) / av.time_base


def _entries(chapters: Sequence[Chapter]) -> list[Any]:
    return [
        {
            "id": number,
            "start": max(0, round(chapter.start_seconds * 1000)),
            "end": max(0, round(chapter.end_seconds * 1000)),
            "time_base": _MILLISECOND,
            "metadata": {"title": chapter.title},
        }
        for number, chapter in enumerate(chapters, 1)
    ]
