"""Using once what decoding uses, so that it is loaded: a process that is confined later can load nothing."""

from __future__ import annotations

import base64
import os
import pkgutil
import traceback
from contextlib import suppress
from importlib import import_module

import av

from vidcnn.errors import StorageError, VideoError
from vidcnn.sampling.preprocessing import Preprocessing
from vidcnn.sampling.segments import ClipSpec, Sampling
from vidcnn.sources import SourceVideo
from vidcnn.video.container import MAX_PIXELS
from vidcnn.video.decode import decode_segment
from vidcnn.video.golden import FILE, check_decoder
from vidcnn.video.planning import PlanSettings, plan_video

_SAMPLINGS = (Sampling(2, stride=1), Sampling(2, fps=2.0))
_NUMPY_PARTS = ("char", "fft", "lib", "linalg", "ma", "random", "rec", "strings")
_SIZE = Preprocessing((20, 28), (16, 22), (0, 0, 0), (1, 1, 1))


def warm_up() -> None:
    """Plan and decode a known video and one that is none, as files of any kind are; what goes wrong is passed over."""
    _load_parts()
    with suppress(Exception):
        check_decoder("bilinear", exact=False)
    for content in (base64.b64decode(FILE), bytes(4096), b"RIFF\0\0\0\0AVI LIST", b"\0\0\0\x14ftypisom\0\0\0\0isom"):
        with suppress(Exception):
            _use(content)


def _load_parts() -> None:
    """Load what numpy and PyAV only load when it is used first, such as PyAV's classes for a kind of stream."""
    names = [f"numpy.{name}" for name in _NUMPY_PARTS]
    for package in pkgutil.iter_modules(av.__path__, "av."):
        if package.ispkg:
            folder = import_module(package.name).__path__
            names += [module.name for module in pkgutil.iter_modules(folder, f"{package.name}.")]
    for name in names:
        with suppress(Exception):
            import_module(name)


def _use(content: bytes) -> None:
    file = os.memfd_create("vidcnn-known", os.MFD_CLOEXEC)
    try:
        os.write(file, content)
        status = os.fstat(file)
        location = f"/proc/self/fd/{file}"
        video = SourceVideo("known", location, False, status.st_size, status.st_mtime_ns, None, None)
        try:
            for sampling in _SAMPLINGS:
                for spec in (ClipSpec(sampling), ClipSpec(sampling, num_clips=1)):
                    for planned in plan_video(video, PlanSettings(spec, 25.0, MAX_PIXELS)):
                        for _ in decode_segment(planned.request(_SIZE, max_pixels=MAX_PIXELS)):
                            pass
        except (VideoError, StorageError) as error:
            traceback.format_exception(error)
    finally:
        os.close(file)
