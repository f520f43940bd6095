"""Events as subtitles, which a player shows while they last: SubRip (``.srt``) and WebVTT (``.vtt``)."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from vidcnn.events.table import Placed
from vidcnn.safe_text import one_line

_UNBREAKABLE = str.maketrans({"<": "‹", ">": "›", "{": "(", "}": ")", "\\": "/"})
"""What players of SubRip take for tags, by what looks like it: the format has no way to write them."""


def srt_text(events: Sequence[Placed]) -> str:
    """Return the events of a video in the form of SubRip.

    Args:
        events: By time.
    """
    cues = [
        f"{number}\n{_time(placed.event.start_seconds, ',')} --> {_end(placed, ',')}\n"
        f"{_line(placed).translate(_UNBREAKABLE)}\n"
        for number, placed in enumerate(events, 1)
    ]
    return "\n".join(cues)


def vtt_text(events: Sequence[Placed]) -> str:
    """Return the events of a video in the form of WebVTT (W3C).

    Args:
        events: By time.
    """
    cues = [
        f"\n{_time(placed.event.start_seconds, '.')} --> {_end(placed, '.')}\n{escape(_line(placed), quote=False)}\n"
        for placed in events
    ]
    return "".join(["WEBVTT\n", *cues])


def _line(placed: Placed) -> str:
    return f"{one_line(placed.label).strip() or '?'} {placed.event.score:.0%}"


def _end(placed: Placed, point: str) -> str:
    return _time(max(placed.event.end_seconds, placed.event.start_seconds + 0.001), point)


def _time(seconds: float, point: str) -> str:
    """Return a time as ``HH:MM:SS,mmm``; a presentation time before 0 counts as 0."""
    milliseconds = max(0, round(seconds * 1000))
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{rest // 1000:02}{point}{rest % 1000:03}"
