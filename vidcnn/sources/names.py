"""What a file's name alone shows: video, image or frame of a sequence; and how the name is written down.

Nothing is opened.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Literal

from vidcnn.safe_text import one_line

VIDEO_EXTENSIONS = frozenset(
    """
    264 265 266 3g2 3gp amv apng asf av1 avc avi bik dav divx drc dv evc f4v flc fli flv gif gxf h261 h263
    h264 h265 h266 hevc ivf lrv m1v m2p m2t m2ts m2v m4v mj2 mjpeg mjpg mkv mov mp2v mp4 mp4v mpe mpeg mpg
    mpv mts mxf nsv nut obu ogm ogv ps qt rm rmvb tod trp ts vc1 vob vro vvc webm wmv wtv xvid y4m
    """.split()  # noqa: SIM905 - sixty quoted words hide what is missing
)
"""Extensions of the files of a folder that are read as videos: containers and raw streams.

Left out on purpose are playlists and scripts (`m3u8`, `ffconcat`, `avs`, `sdp`), which make a decoder open
other files; `swf`, which is a program; raw pixels (`yuv`), whose size nobody knows; and containers that
mostly contain sound (`ogg`).
"""

IMAGE_EXTENSIONS = frozenset(
    """
    avif bmp dib dpx exr heic heif hif j2k jfif jp2 jpe jpeg jpg pam pbm pgm png pnm ppm tga tif tiff webp
    """.split()  # noqa: SIM905
)
"""Extensions of the files of a folder that are read as images: one-frame videos, or frames of a sequence."""

HIDDEN_FILES = "hidden files"
HIDDEN_FOLDERS = "hidden folders"
KNOWN_FOLDERS = "links to folders that are listed anyway"
_HEADINGS = {
    HIDDEN_FILES: "hidden file",
    HIDDEN_FOLDERS: "hidden folder",
    KNOWN_FOLDERS: "link to a folder that is listed anyway",
}
"""What else is counted beside extensions, and what one of it is called."""

_DIGITS = "0123456789"
_LOOKS_ESCAPED = re.compile(r"\\x[89a-f][0-9a-f]")
_ESCAPE = re.compile(rb"\\(?:\\|x([89a-f][0-9a-f]))")


def extension(name: str) -> str:
    """Return a file name's extension in lower case, without the dot; empty where there is none."""
    stem, _, suffix = name.rpartition(".")
    return suffix.lower() if stem else ""


def media_kind(name: str) -> Literal["video", "image"] | None:
    """Return from its extension whether a file is a video, an image, or neither."""
    suffix = extension(name)
    if suffix in VIDEO_EXTENSIONS:
        return "video"
    return "image" if suffix in IMAGE_EXTENSIONS else None


def left_out_text(ignored: Mapping[str, int], num_shown: int) -> str:
    """Return in words what was left out of folders, and how often.

    Args:
        ignored: Counts by extension, and by what else there is, such as `HIDDEN_FILES`.
        num_shown: How many of the extensions are shown, the most frequent first.
    """
    files = {kind: count for kind, count in ignored.items() if kind not in _HEADINGS}
    parts = []
    if files:
        most = sorted(files.items(), key=lambda item: (-item[1], item[0]))
        shown = [f"{count:,} {f'.{kind}' if kind else 'without extension'}" for kind, count in most]
        shown[num_shown:] = ["..."] if len(shown) > num_shown else []
        total = sum(files.values())
        what = "file that is no video" if total == 1 else "files that are not video"
        parts.append(f"{total:,} {what} by {'its' if total == 1 else 'their'} name ({', '.join(shown)})")
    for kind, one in _HEADINGS.items():
        if number := ignored.get(kind):
            parts.append(f"{number:,} {one if number == 1 else kind}")
    return ", ".join(parts)


def numbered_frames(names: Iterable[str]) -> list[str] | None:
    """Order the images of a folder by the numbers in their names, if they are the frames of one video.

    They are if there are two or more, if the names differ in nothing but the number at the end of their stems
    (``a_`` is the common part of ``a_9.png, a_10.png``), and if the numbers differ. Gaps and mixed padding
    are fine.

    Args:
        names: All images of one folder, as names or as paths, in any order.

    Returns:
        The same names by ascending number, or None where they are not one sequence.
    """
    frames: list[tuple[int, str, str]] = []
    common: tuple[str, str] | None = None
    for name in names:
        stem, _, suffix = name.rpartition(".")
        prefix = stem.rstrip(_DIGITS)
        common = common or (prefix, suffix.lower())
        if prefix == stem or "/" in suffix or (prefix, suffix.lower()) != common:
            return None
        number = stem[len(prefix) :].lstrip("0")
        frames.append((len(number), number, name))  # sorts as the number does, whatever its length
    frames.sort()
    if len(frames) < 2 or any(one[:2] == other[:2] for one, other in pairwise(frames)):
        return None
    return [name for _, _, name in frames]


def utf8_name(name: str) -> str:
    r"""Write a name down as valid UTF-8, so that different names stay different and `file_name` leads back.

    This is the one place where names are escaped; it is done once, where a file is found.

    A name that is valid stays as it is. In one that is not, ``\xNN`` is written for each byte that does not
    decode, and backslashes are doubled. The same doubling is done to a valid name which could be mistaken for
    such a one.

    Args:
        name: A name as `os` functions return it, with surrogates for bytes that do not decode.
    """
    if name.isascii() and "\\" not in name:
        return name
    raw = name.encode("utf-8", "surrogateescape")
    written = raw.decode("utf-8", "backslashreplace")
    if written == name and not _LOOKS_ESCAPED.search(name):
        return name
    return raw.replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")


def file_name(written: str) -> str:
    """Return the name that `utf8_name` wrote down: from a name in a table back to its file.

    Args:
        written: A name as it is in a table.

    Returns:
        The name as `os` functions take it, with surrogates for bytes that do not decode.
    """
    if not _LOOKS_ESCAPED.search(written):
        return written
    raw = _ESCAPE.sub(lambda match: b"\\" if match[1] is None else bytes.fromhex(match[1].decode()), written.encode())
    return raw.decode("utf-8", "surrogateescape")


def shown_name(text: str) -> str:
    """Return a name so that it stays on its line of a message and changes nothing about the terminal."""
    return one_line(readable_name(text))


def readable_name(text: str) -> str:
    """Return a name for a message: escaped if it has to be, and as it is if `utf8_name` wrote it already."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return utf8_name(text)
    return text
