"""Single frames of videos as small pictures, decoded in a process that `vidcnn.video.cell` can kill.

That process gives pixels, and its parent makes JPEG of them: a file that a decoding process wrote, which may have been
taken over by what it read, would be opened by whoever looks at the page.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import cv2
import numpy as np

from vidcnn.choices import Sandbox
from vidcnn.errors import InternalError, StorageError, VideoError
from vidcnn.sampling.segments import ClipSpec, Sampling, plan_segments
from vidcnn.sources import SourceVideo
from vidcnn.sources.keys import video_text
from vidcnn.video.attempts import PlanWork, plan_in_cell
from vidcnn.video.cell import Cell
from vidcnn.video.cell_status import at
from vidcnn.video.cell_values import register
from vidcnn.video.container import MAX_PIXELS, plain_errors
from vidcnn.video.decode import DecodeRequest, decode_segment
from vidcnn.video.golden import USUAL
from vidcnn.video.pixels import UInt8Array
from vidcnn.video.planning import DEFAULT_TIMEOUT_SECONDS, read_times

_SLOWEST_BYTES_PER_SECOND = 500_000
_DECODE_SECONDS = 60.0
_QUALITIES = (80, 60, 40)


@dataclass(frozen=True)
class Moment:
    """A stretch of a video whose middle is wanted as a picture.

    Attributes:
        video: As it was listed.
        start_seconds: Where the stretch starts.
        end_seconds: Where it ends.
    """

    video: SourceVideo
    start_seconds: float
    end_seconds: float

    @property
    def location(self) -> str:
        """Absolute path or URI of the video."""
        return self.video.location

    @property
    def is_frame_folder(self) -> bool:
        """Whether the video is a folder of numbered images."""
        return self.video.is_frame_folder

    @property
    def root(self) -> str | None:
        """Folder that the video's symbolic links must not lead out of."""
        return self.video.root


@dataclass(frozen=True)
class StillSettings:
    """What pictures depend on.

    Args:
        size: Pixels of the longer side; smaller frames stay as they are.
        image_fps: Images per second of a folder of numbered images.
        max_pixels: Largest frame, width times height, that is decoded.
        sandbox: How the process that decodes is confined.
    """

    size: int = 192
    image_fps: float = 25.0
    max_pixels: int = MAX_PIXELS
    sandbox: Sandbox = "auto"

    def allowed_seconds(self, moment: Moment) -> float:
        """Return how long one picture may take, with storage as slow as any."""
        return DEFAULT_TIMEOUT_SECONDS + _DECODE_SECONDS + moment.video.size_bytes / _SLOWEST_BYTES_PER_SECOND


class Still(NamedTuple):
    """A picture.

    Attributes:
        pixels: uint8 (H, W, 3) RGB.
    """

    pixels: UInt8Array


register(Still)

Found = Still | VideoError | StorageError


def stills_in_cell(moments: Sequence[Moment], settings: StillSettings, cell: Cell) -> Iterator[tuple[int, Found]]:
    """Decode the pictures of some moments.

    Yields:
        Each index into `moments` once, with the picture, or why there is none.

    Raises:
        InternalError: Something went wrong that is no fault of a video.
    """

    def check(found: Any, asked: Sequence[Any]) -> bool:
        return type(found) is list and len(found) <= len(asked) and all(_is_found(one, settings) for one in found)

    found = plan_in_cell(
        cast(Any, moments), cast(Any, settings), cell, work=cast(PlanWork, stills_each), check=check, preparation=USUAL
    )
    for index, one in found:
        yield index, cast(Found, one)


def stills_each(moments: Sequence[Moment], settings: StillSettings, num_at_once: int) -> Iterator[list[Found]]:
    """Decode the pictures of some moments one after the other, in the order given."""
    for number, moment in enumerate(moments):
        try:
            with plain_errors():
                found: Found = _still(moment, settings)
        except (VideoError, StorageError) as error:
            found = error
        except Exception as error:
            raise InternalError.of(error, f"making a picture of {video_text(moment.video.name)}") from error
        at(number + 1)
        yield [found]


def jpeg(pixels: UInt8Array, *, max_bytes: int) -> bytes | None:
    """Return a picture as JPEG, as good as it can be in so many bytes; None where it needs more in any case.

    Args:
        pixels: uint8 (H, W, 3) RGB.
        max_bytes: The largest size.
    """
    for quality in _QUALITIES:
        is_done, encoded = cv2.imencode(".jpg", pixels[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
        if is_done and len(encoded) <= max_bytes:
            return encoded.tobytes()
    return None


def _still(moment: Moment, settings: StillSettings) -> Still:
    video = moment.video
    times, timing = read_times(video, image_fps=settings.image_fps, max_pixels=settings.max_pixels)
    spec = ClipSpec(Sampling(num_frames=1, stride=1), num_clips=1)
    (segment,) = plan_segments(times, spec, interval=(moment.start_seconds, moment.end_seconds))
    request = DecodeRequest(
        video.location,
        segment,
        video.is_frame_folder,
        timing,
        version=None if video.is_frame_folder else (video.size_bytes, video.mtime_ns),
        max_pixels=settings.max_pixels,
        root=video.root,
    )
    (clip,) = decode_segment(request)
    if clip.error is not None:
        raise clip.error
    assert clip.pixels is not None
    return Still(_smaller(clip.pixels[0], settings.size))


def _smaller(pixels: UInt8Array, size: int) -> UInt8Array:
    """Return a picture whose longer side has at most so many pixels."""
    height, width = pixels.shape[:2]
    scale = size / max(height, width)
    if scale >= 1:
        return pixels
    smaller = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cast(UInt8Array, cv2.resize(np.ascontiguousarray(pixels), smaller, interpolation=cv2.INTER_AREA))


def _is_found(found: Any, settings: StillSettings) -> bool:
    if not isinstance(found, Still):
        return isinstance(found, VideoError | StorageError)
    shape, size = found.pixels.shape, settings.size
    return len(shape) == 3 and shape[2] == 3 and 0 < shape[0] <= size and 0 < shape[1] <= size
