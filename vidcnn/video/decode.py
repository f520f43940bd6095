"""Decoding a segment: from planned frames to the pixels of its clips.

Takes a `DecodeRequest`, returns `DecodedClip`s, one at a time in the order in which they are complete. This is the
narrow interface behind which decoding may move into a child process or onto a GPU: a request is plain data, and a clip
is an array or the reason why there is none.

Each needed frame is decoded once and converted once, whatever the number of clips with it, and memory is bounded
by the frames under one clip, for any length of video.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from vidcnn.errors import StorageError, VideoError
from vidcnn.sampling.preprocessing import Preprocessing
from vidcnn.sampling.segments import Segment
from vidcnn.video.assembly import ClipAssembler, DecodedClip
from vidcnn.video.container import MAX_PIXELS, open_video, plain_errors
from vidcnn.video.files import file_version
from vidcnn.video.frame_folders import decode_images, folder_frames
from vidcnn.video.pixels import FrameConverter
from vidcnn.video.reader import SegmentReader
from vidcnn.video.timeline import FrameMatching

__all__ = ["DecodeRequest", "DecodedClip", "decode_segment"]


@dataclass(frozen=True, eq=False)
class DecodeRequest:
    """What to decode, and into what.

    Args:
        location: Absolute path or URI of the file, or of a folder of numbered images.
        segment: The planned clips.
        is_frame_folder: Whether `location` is a folder of numbered images.
        timing: How decoded frames are matched to the plan (see `vidcnn.video.probe`).
        preprocessing: Resize and crop; None keeps frames at their own size.
        exact: Resize with torchvision's own arithmetic instead of the fast way.
        uncropped: Resize only, for crops that are chosen later.
        version: Size in bytes and modification time in nanoseconds that the file had when it was planned; None leaves
            this unchecked.
        max_pixels: Largest frame, width times height, that is decoded.
        root: Folder that the file's symbolic links must not lead out of; None lets them lead anywhere.
    """

    location: str
    segment: Segment
    is_frame_folder: bool = False
    timing: FrameMatching = "pts"
    preprocessing: Preprocessing | None = None
    exact: bool = False
    uncropped: bool = False
    version: tuple[int, int] | None = None
    max_pixels: int = MAX_PIXELS
    root: str | None = None


def decode_segment(request: DecodeRequest) -> Iterator[DecodedClip]:
    """Decode the clips of one segment.

    Yields:
        Each clip of the segment exactly once. Failures are values, not exceptions: where the file breaks off or cannot
        be opened, every clip that is lost by it carries the reason, which is a `StorageError` where the file is not to
        blame.
    """
    converter = FrameConverter(request.preprocessing, exact=request.exact, uncropped=request.uncropped)
    by_order = request.is_frame_folder or request.timing == "order"
    assembler = ClipAssembler(request.segment, by_order=by_order, converter=converter)
    yield from assembler.fail_truncated()
    try:
        with plain_errors():
            _check_version(request)
            if request.is_frame_folder:
                yield from _read_folder(request, assembler)
            elif not assembler.is_complete:
                with open_video(request.location, max_pixels=request.max_pixels, root=request.root) as video:
                    for clip in SegmentReader(video, request.segment, assembler, by_order=by_order).run():
                        video.file.raise_failure()  # what libav makes of bytes that could not be read means nothing
                        yield clip
            _check_version(request)
    except (VideoError, StorageError) as error:
        yield from assembler.fail_rest(error)


def _check_version(request: DecodeRequest) -> None:
    if request.version is not None and file_version(request.location, request.root) != request.version:
        raise VideoError("changed", "the file changed since it was listed")


def _read_folder(request: DecodeRequest, assembler: ClipAssembler) -> Iterator[DecodedClip]:
    """Settle every needed frame with an image of the folder."""
    frames = folder_frames(request.location)
    for frame in decode_images(frames, assembler.needed, max_pixels=request.max_pixels, root=request.root):
        if isinstance(frame, VideoError | StorageError):
            yield from assembler.fail_next(frame)
        else:
            yield from assembler.put(frame)
