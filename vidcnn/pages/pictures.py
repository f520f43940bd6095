"""Pictures of clips, where the videos are, and links to the moment in them.

Takes names of a table and moments; videos are found as `vidcnn infer` found them, by listing the same sources. What is
not there has no picture, and the page says how many.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

import numpy as np

from vidcnn.pages.timelines import Timelines
from vidcnn.sources import Listing, SourceVideo
from vidcnn.sources.names import shown_name
from vidcnn.storage.uris import is_remote
from vidcnn.video.cell import Cell
from vidcnn.video.stills import Moment, Still, StillSettings, jpeg, stills_in_cell

MAX_PICTURE_BYTES = 40_000
MOST_PER_CLASS = 4
_UNQUOTED = "!'()*~"
"""What the encodeURIComponent of browsers leaves as it is, besides what `quote` does."""


@dataclass(frozen=True)
class Clip:
    """A clip that is shown by itself.

    Attributes:
        video: Name of the video.
        start_seconds: Where it starts.
        end_seconds: Where it ends.
        label: What the model saw.
        score: How sure it was.
        truth: What it really is; None where that is not known.
    """

    video: str
    start_seconds: float
    end_seconds: float
    label: str
    score: float
    truth: str | None = None


@dataclass(frozen=True)
class Pictured:
    """A clip with its picture.

    Attributes:
        clip: The clip.
        image: The picture as a ``data:`` URI; None where there is none.
        href: A link to its moment in the file; None where the file is not on this machine.
        missing: Why there is no picture; empty where there is one.
    """

    clip: Clip
    image: str | None
    href: str | None
    missing: str


def best_clips(timelines: Timelines, labels: Sequence[str], order: Sequence[int], *, num_most: int) -> list[Clip]:
    """Return the clips with the highest scores, as many of each class, each of another video.

    Args:
        timelines: Where the labels of cells are indexes into `labels`.
        labels: Names of the labels.
        order: Indexes of labels, the most frequent first.
        num_most: How many in all.
    """
    found: list[Clip] = []
    num_of_each = min(MOST_PER_CLASS, max(1, num_most // max(1, len(order))))
    for label in order:
        seen: set[int] = set()
        cells = np.flatnonzero((timelines.labels == label) & np.isfinite(timelines.best_times).all(axis=1))
        for cell in cells[np.argsort(-timelines.scores[cells], kind="stable")]:
            video = int(np.searchsorted(timelines.first_cell, cell, side="right")) - 1
            if len(seen) == num_of_each or len(found) == num_most:
                break
            if video not in seen:
                seen.add(video)
                start, end = map(float, timelines.best_times[cell])
                score = float(timelines.scores[cell])
                found.append(Clip(timelines.videos[video], start, end, labels[label], score))
    return found


def find_videos(sources: Sequence[str], names: Collection[str]) -> dict[str, SourceVideo]:
    """Return where videos of a table are.

    Args:
        sources: What `vidcnn infer` was given; nothing: nothing is found.
        names: Names of the table.

    Raises:
        SourceError: A source does not exist, or cannot be listed.
    """
    found: dict[str, SourceVideo] = {}
    wanted = set(names)
    for video in Listing(sources) if sources and wanted else ():
        if video.name in wanted:
            found[video.name] = video
            if len(found) == len(wanted):
                break
    return found


def take_pictures(clips: Sequence[Clip], videos: Mapping[str, SourceVideo]) -> list[Pictured]:
    """Decode a picture of each clip, in a process of its own.

    Args:
        clips: The clips.
        videos: Where videos are, by name.
    """
    places = [index for index, clip in enumerate(clips) if clip.video in videos]
    moments = [Moment(videos[clips[i].video], clips[i].start_seconds, clips[i].end_seconds) for i in places]
    images: dict[int, str] = {}
    missing = dict.fromkeys(range(len(clips)), "the video is not there")
    with Cell() as cell:
        for number, found in stills_in_cell(moments, StillSettings(), cell) if moments else ():
            index = places[number]
            encoded = jpeg(found.pixels, max_bytes=MAX_PICTURE_BYTES) if isinstance(found, Still) else None
            if encoded is not None:
                images[index] = f"data:image/jpeg;base64,{base64.b64encode(encoded).decode()}"
            missing[index] = (
                "" if encoded is not None else "it is too large" if isinstance(found, Still) else str(found)
            )
    return [
        Pictured(clip, images.get(index), href_of(videos.get(clip.video), clip.start_seconds), missing[index])
        for index, clip in enumerate(clips)
    ]


def href_of(video: SourceVideo | None, seconds: float) -> str | None:
    """Return a link to a moment in a file of this machine; None where there is no such file."""
    uri = _uri_of(video)
    return None if uri is None else f"{uri}#t={max(0.0, seconds):.1f}"


def links_of(names: Iterable[str], videos: Mapping[str, SourceVideo]) -> dict[str, object]:
    """Return how the script of a page finds the files of videos.

    Returns:
        ``base``, the URI of a folder, or null; and ``others``: by index, URIs of videos that are not in that folder
        under the name that is shown, null for those that are not on this machine.
    """
    base: str | None = None
    others: dict[int, str | None] = {}
    for index, name in enumerate(names):
        video = videos.get(name)
        uri = _uri_of(video)
        end = "/" + quote(name, safe="/" + _UNQUOTED)
        is_plain = uri is not None and uri.endswith(end) and shown_name(name) == name
        if base is None and is_plain and uri is not None:
            base = uri.removesuffix(end)
        if not is_plain or uri != f"{base}{end}":
            others[index] = uri
    return {"base": base, "others": others if base is not None or any(others.values()) else {}}


def _uri_of(video: SourceVideo | None) -> str | None:
    if video is None or video.is_frame_folder or is_remote(video.location):
        return None
    return "file://" + quote(os.fsencode(os.path.abspath(video.location)), safe="/" + _UNQUOTED)
