"""Folders of numbered images as videos.

The frames are the images in the order of their numbers, evenly spaced in time. Each image is opened as a video of its
own, with the same limits.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av.logging
import numpy as np

from vidcnn.errors import StorageError, VideoError
from vidcnn.sampling.segments import FrameTimes
from vidcnn.sources.names import media_kind, numbered_frames
from vidcnn.storage.faults import video_fault
from vidcnn.storage.uris import is_remote, local_path, open_filesystem, split_options
from vidcnn.video import file_client
from vidcnn.video.cell_status import reading
from vidcnn.video.complaints import tells_of_damage
from vidcnn.video.container import open_video


def folder_frames(location: str) -> list[str]:
    """Return the locations of a folder's frames in order.

    Raises:
        VideoError: `unreadable`, if the folder may not be listed or is no longer one numbered sequence; `changed`, if
            it does not exist.
        StorageError: It cannot be listed now.
    """
    try:
        with reading():
            opener = file_client.client()
            names = list_folder(location) if opener is None else opener.list_folder(location)
    except (OSError, ValueError) as error:
        raise video_fault(error, location) from error
    frames = numbered_frames(name for name in names if not name.startswith(".") and media_kind(name) == "image")
    if frames is None:
        raise VideoError("unreadable", "the folder does not contain one sequence of numbered images")
    base, options = split_options(location)
    return [f"{base.rstrip('/')}/{name}{options}" for name in frames]


def folder_times(num_frames: int, fps: float) -> FrameTimes:
    """Return the times of evenly spaced frames.

    Args:
        num_frames: Images in the folder.
        fps: Images per second.
    """
    rate = Fraction(fps).limit_denominator(100_000)
    every_frame = np.arange(num_frames, dtype=np.int64)
    return FrameTimes(every_frame, num_frames, 1 / rate, keyframes=every_frame)


def decode_image(location: str, *, max_pixels: int, root: str | None = None) -> Any:
    """Return the first frame of an image file; with a root, as for `open_video`.

    Raises:
        VideoError: It cannot be opened or decoded, or a part of it is missing or damaged.
    """
    with open_video(location, max_pixels=max_pixels, root=root) as image, av.logging.Capture() as log:
        for frame in image.container.decode(image.stream):
            if frame.is_corrupt or tells_of_damage(log, image.stream.codec_context.name):
                raise VideoError("corrupt_frames", "a part of the image is missing or damaged")
            return frame
    raise VideoError("corrupt_frames", "the image contains no frame")


def decode_images(
    locations: list[str], wanted: list[int], *, max_pixels: int, root: str | None = None
) -> Iterator[Any]:
    """Yield a frame, or the error that prevents it, for each wanted index.

    Args:
        locations: The folder's frames in order.
        wanted: Indexes into `locations`.
        max_pixels: Largest frame, width times height, that is decoded.
        root: As for `open_video`.
    """
    for number, index in enumerate(wanted):
        file_client.expect(locations[next_one] for next_one in wanted[number:] if next_one < len(locations))
        try:
            if index >= len(locations):
                raise VideoError("changed", "images are gone from the folder since it was listed")
            yield decode_image(locations[index], max_pixels=max_pixels, root=root)
        except StorageError as error:
            yield error
        except VideoError as error:
            name = os.fsencode(locations[min(index, len(locations) - 1)].rsplit("/", 1)[-1])
            kind = "corrupt_frames" if error.kind == "unreadable" else error.kind
            yield VideoError(kind, f"frame {index} ({name.decode('utf-8', 'replace')}): {error.message}")


def list_folder(location: str) -> list[str]:
    """Return the names of what is in a folder.

    Raises:
        OSError: It cannot be listed.
        ValueError: Its location means nothing.
    """
    if not is_remote(location):
        return os.listdir(local_path(location))
    from pyarrow.fs import FileSelector

    filesystem, path = open_filesystem(location)
    return [info.base_name for info in filesystem.get_file_info(FileSelector(path)) if info.is_file]
