"""Damage that libav reports in its log alone.

Some decoders return a damaged frame without a flag and without an error: all they do is write a line. Takes what
was logged while one packet was read or decoded, returns whether it reports damage. The lines are taken in the thread
that works, so that another file's do not get in between.
"""

from __future__ import annotations

import logging
import re

import av.logging

LogLine = tuple[int, str, str]
"""Level, name of who wrote it, and message."""

_FLAGS_ITS_FRAMES = re.compile(r"h26[134]|mpeg[124]|mpeg[12]video|flv|msmpeg4|wmv|vc1|rv[1-4]0|svq3")
"""Decoders that mark damaged frames themselves. Their logs also report references that a cut took away, which no frame
that is shown needs, and of oddities that harm no frame."""

_HARMLESS = re.compile(
    r"SEI|VUI|[SPV]PS|metadata|exif|ICC|side data|caption|time ?code|deprecated|\bAPP\b", re.IGNORECASE
)
_CHECKSUM = re.compile("CRC|checksum", re.IGNORECASE)

# Errors reach those who listen, and nobody else.
av.logging.set_level(av.logging.ERROR)
av.logging.set_skip_repeated(False)
logging.getLogger("libav").setLevel(logging.CRITICAL + 1)


def tells_of_damage(log: list[LogLine], codec_name: str) -> bool:
    """Return whether a frame is damaged by what was logged while its packet was decoded, or split off by a parser.

    Args:
        log: What was logged.
        codec_name: libav's name of the decoder.
    """
    if not log or _FLAGS_ITS_FRAMES.match(codec_name):
        return False
    return any(name == codec_name and not _HARMLESS.search(message) for _, name, message in log)


def tells_of_loss(log: list[LogLine], container_name: str) -> bool:
    """Return whether a container left out a part of the file because its checksum was wrong.

    Args:
        log: What was logged while a packet was read.
        container_name: libav's name of the demuxer.
    """
    return any(name == container_name and _CHECKSUM.search(message) for _, name, message in log)
