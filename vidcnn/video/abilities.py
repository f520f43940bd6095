"""What the libav of this machine can do, by its own account; nothing is opened."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import av
from av.codec.hwaccel import hwdevices_available

from vidcnn.video.cell_status import at
from vidcnn.video.golden import check_decoder

DECODERS: Mapping[str, tuple[str, ...]] = {
    "h264": ("h264",),
    "hevc": ("hevc",),
    "av1": ("libdav1d", "libaom-av1", "libgav1"),
    "vp9": ("vp9", "libvpx-vp9"),
    "prores": ("prores",),
    "mjpeg": ("mjpeg",),
}
"""Codecs of most videos, and libav's decoders for each, any of which will do. Its own for AV1 needs a GPU."""

ENCODER = "libx264"
"""What `vidcnn.video.encode` writes with."""

_VAAPI = Path("/dev/dri/renderD128")


def ffmpeg_version() -> str:
    """Return the version of the FFmpeg that PyAV brings along or was built with."""
    return str(getattr(av, "ffmpeg_version_info", "") or "")


def missing_codecs() -> list[str]:
    """Return the codecs of `DECODERS` that cannot be decoded."""
    return [name for name, decoders in DECODERS.items() if not av.codecs_available.intersection(decoders)]


def can_encode() -> bool:
    """Return whether videos can be written (`vidcnn.video.encode`)."""
    return ENCODER in av.codecs_available


def hardware_decoders() -> dict[str, bool]:
    """Return the decoders in hardware that libav was built for, and whether this machine seems to have each."""
    present = {"cuda": _has_library("libnvcuvid.so.1"), "vaapi": _VAAPI.exists()}
    return {name: present[name] for name in hwdevices_available() if name in present}


def decode_known(items: Sequence[None]) -> Iterator[None]:
    """Decode the known video and compare; `vidcnn.video.cell` calls this in a process of its own.

    Raises:
        DecoderError: The pixels are not those that they should be.
    """
    for index in range(len(items)):
        at(index)
        check_decoder("bilinear", exact=False)
        yield None


def _has_library(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True
