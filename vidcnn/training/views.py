"""The views of a video that a test protocol scores: clips spread over it, and one or three crops of each.

Frames are decoded as inference decodes them: with the crop at the centre, a view is bit for bit the clip that
`vidcnn infer --num-clips` classifies.

Letters: n clips, T frames, H height, W width; h and w are the crop's height and width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from vidcnn.annotations import LabelledVideo
from vidcnn.errors import StorageError, VideoError
from vidcnn.sampling.preprocessing import Preprocessing
from vidcnn.video.decode import decode_segment
from vidcnn.video.pixels import UInt8Array
from vidcnn.video.planning import PlanSettings, plan_video

NumCrops = Literal[1, 3]


@dataclass(frozen=True)
class ViewSettings:
    """Which views are taken, and how.

    Args:
        plan: How clips are placed on a video, and what is accepted for one.
        preprocessing: Resize and crop.
        num_crops: 1, the centre; or 3, spread evenly along the longer side.
        exact: Resize with torchvision's own arithmetic.
    """

    plan: PlanSettings
    preprocessing: Preprocessing
    num_crops: NumCrops
    exact: bool


class LoadedViews(NamedTuple):
    """The clips of a video.

    Attributes:
        clips: For each clip its crops, uint8 (num_crops, T, h, w, 3), or why it is not available; at least one.
        is_short: Whether the video is shorter than one clip.
    """

    clips: list[UInt8Array | VideoError]
    is_short: bool = False


def load_views(video: LabelledVideo, settings: ViewSettings) -> LoadedViews:
    """Load the clips of a video.

    Raises:
        StorageError: The video cannot be read now, through no fault of its own.
    """
    try:
        segments = plan_video(video.video, settings.plan, (video.start_seconds, video.end_seconds))
    except VideoError as error:
        return LoadedViews([error])
    views: list[UInt8Array | VideoError] = []
    for planned in segments:
        request = planned.request(
            settings.preprocessing,
            max_pixels=settings.plan.max_pixels,
            exact=settings.exact,
            uncropped=settings.num_crops > 1,
        )
        for decoded in decode_segment(request):
            if isinstance(decoded.error, StorageError):
                raise decoded.error
            if decoded.pixels is None:
                assert decoded.error is not None
                views.append(decoded.error)
            elif settings.num_crops == 1:
                views.append(decoded.pixels[None])
            else:
                views.append(three_crops(decoded.pixels, settings.preprocessing))
    return LoadedViews(views, is_short=any(planned.segment.is_short for planned in segments))


def three_crops(clip: UInt8Array, preprocessing: Preprocessing) -> UInt8Array:
    """Cut three crops from a resized clip: at both ends of the longer side, and in the middle.

    Args:
        clip: uint8 (T, H, W, 3).
        preprocessing: Has the size of a crop.

    Returns:
        uint8 (3, T, h, w, 3).
    """
    rows, columns = preprocessing.crop
    spare = clip.shape[1] - rows, clip.shape[2] - columns
    top, left = preprocessing.crop_origin(*clip.shape[1:3])
    along_rows = spare[0] > spare[1]
    places = [(0, left), (top, left), (spare[0], left)] if along_rows else [(top, 0), (top, left), (top, spare[1])]
    return np.stack([clip[:, y : y + rows, x : x + columns] for y, x in places])
