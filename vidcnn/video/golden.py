"""Whether this machine's decoder gives the pixels that it should: it decodes a small video whose frames are known.

The video's planes come from a formula in integers, and so does what they are in RGB, resized: neither libav nor OpenCV
has a part in that. A build of them that decodes, converts or resizes wrongly shows here, before any clip is taken from
it: channels that are swapped, the wrong matrix of colours, pixels of the wrong places.

The file is ours: three frames of H.264, an I, a B and a P, as libx264 wrote them with ``qp=12``.
"""

from __future__ import annotations

import base64
import io
import platform
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import av
import cv2
import numpy as np
from av.codec.codec import UnknownCodecError
from numpy.typing import NDArray

from vidcnn.choices import Interpolation
from vidcnn.errors import DecoderError, first_line
from vidcnn.sampling.preprocessing import Preprocessing
from vidcnn.video.pixels import FrameConverter

WIDTH, HEIGHT, NUM_FRAMES = 64, 48, 3
_RESIZED, _CROP = (20, 28), (16, 22)
_MATRICES = {1: (0.2126, 0.0722), 2: (0.299, 0.114)}
"""(Kr, Kb) of BT.709, which the file declares, and of BT.601, which stands for none (AVColorSpace 2)."""

TOLERANCE = 1.5
"""Grey levels by which pixels of the fast way may differ on average; 0.5 is seen. Another matrix makes 5.9, a mean over
areas instead of single pixels 2.7, swapped channels 49."""
LIBAV_TOLERANCE = 3.0
"""The same where libav converts to RGB, whose rounding differs between processors; 1.2 is seen."""

Plane = NDArray[np.float64]


@lru_cache(maxsize=8)
def check_decoder(interpolation: Interpolation, *, exact: bool) -> None:
    """Decode the known video, and compare; what was good once in a process is not looked at again.

    Where libav has no decoder for H.264, which hardly reads a video then, nothing is compared.

    Args:
        interpolation: How frames are going to be resized.
        exact: Whether they are going to be resized with torchvision's own arithmetic.

    Raises:
        DecoderError: The pixels are not those that they should be.
    """
    try:
        frames = list(_decoded())
    except UnknownCodecError:
        return
    except Exception as error:
        raise _failure(f"it cannot read a video that is known to be good: {first_line(error)}") from error
    if len(frames) != NUM_FRAMES:
        raise _failure(f"of {NUM_FRAMES} frames of a known video it finds {len(frames)}")
    resizing = FrameConverter(Preprocessing(_RESIZED, _CROP, (0, 0, 0), (1, 1, 1), interpolation), exact=exact)
    for number, frame in enumerate(frames):
        planes = [plane.astype(np.float64) for plane in golden_planes(number)]
        whole = [planes[0], *(plane.repeat(2, axis=0).repeat(2, axis=1) for plane in planes[1:])]
        for colorspace, luma_weights in _MATRICES.items():
            frame.colorspace = colorspace
            _compare(FrameConverter(None).convert(frame), _to_rgb(whole, luma_weights), LIBAV_TOLERANCE)
            resized = [_resized(plane, interpolation) for plane in (whole if exact else planes)]
            tolerance = LIBAV_TOLERANCE if exact else TOLERANCE
            _compare(resizing.convert(frame), _to_rgb(resized, luma_weights), tolerance)


def decoding_with(preprocessing: Preprocessing, *, exact: bool) -> tuple[Callable[..., object], tuple[Any, ...]]:
    """Return what to call in a process before it is confined, so that what such decoding needs is loaded.

    Args:
        preprocessing: How frames are going to be resized.
        exact: Whether that is done with torchvision's own arithmetic.
    """
    return _check, (preprocessing.interpolation, exact)


def _check(interpolation: Interpolation, exact: bool) -> None:
    check_decoder(interpolation, exact=exact)


USUAL = _check, ("bilinear", False)
"""What every process is prepared for."""


def golden_planes(number: int) -> tuple[NDArray[np.uint8], ...]:
    """Return the planes of a frame: Y' of noise in blocks (48, 64); Cb and Cr of soft stripes (24, 32)."""
    rows, columns = np.arange(HEIGHT)[:, None], np.arange(WIDTH)
    block = rows // 4 * 61 + columns // 4 * 97 + number * 37
    luma = 100 + (block * block * 7 + block * 29) % 997 % 50
    across, down = np.arange(WIDTH // 2) + 2 * number, np.arange(HEIGHT // 2)[:, None] + 3 * number
    size = (HEIGHT // 2, WIDTH // 2)
    planes = luma, np.broadcast_to(128 + _stripes(across), size), np.broadcast_to(128 - _stripes(down), size)
    return tuple(plane.astype(np.uint8) for plane in planes)


def _stripes(place: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.clip(abs(place % 24 - 12) * 16 - 96, -40, 40)


def _decoded() -> Iterator[Any]:
    av.Codec("h264", "r")
    container: Any
    with av.open(io.BytesIO(base64.b64decode(FILE)), format="h264") as container:
        container.streams.video[0].codec_context.thread_count = 1
        yield from container.decode(video=0)


def _compare(found: NDArray[np.uint8], expected: NDArray[np.float64], tolerance: float) -> None:
    """Compare two pictures (h, w, 3)."""
    if found.shape != expected.shape:
        raise _failure(f"frames that should be {expected.shape} are {found.shape}")
    distances = abs(found - expected).mean(axis=(0, 1))
    if distances.mean() > tolerance:
        red, green, blue = distances
        raise _failure(
            f"frames of a known video are {distances.mean():.1f} grey levels off on average (red {red:.1f}, green "
            f"{green:.1f}, blue {blue:.1f}), and {tolerance} are allowed"
        )


def _failure(what: str) -> DecoderError:
    return DecoderError(
        f"the decoder of {platform.node()} gives wrong pixels: {what} (av {av.__version__}, OpenCV {cv2.__version__})",
        "install av and opencv-python-headless there again, from the usual wheels; no row was made from these pixels",
    )


def _to_rgb(planes: list[Plane], luma_weights: tuple[float, float]) -> NDArray[np.float64]:
    """Return planes (h, w) of Y'CbCr in video range as RGB (h, w, 3) (ITU-T H.273, 8.3)."""
    kr, kb = luma_weights
    kg = 1 - kr - kb
    y, cb, cr = (planes[0] - 16) * 255 / 219, *((plane - 128) * 255 / 224 for plane in planes[1:])
    red, blue = y + 2 * (1 - kr) * cr, y + 2 * (1 - kb) * cb
    return np.stack([red, (y - kr * red - kb * blue) / kg, blue], axis=-1)


def _resized(plane: Plane, interpolation: Interpolation) -> Plane:
    """Resize a plane by the definition of the interpolation, and take the crop."""
    rows, columns = (_shares(*sizes, interpolation) for sizes in zip(plane.shape, _RESIZED, strict=True))
    top, left = ((size - length) // 2 for size, length in zip(_RESIZED, _CROP, strict=True))
    resized: Plane = rows @ plane @ columns.T
    return resized[top : top + _CROP[0], left : left + _CROP[1]]


@lru_cache(maxsize=16)
def _shares(source_size: int, size: int, interpolation: Interpolation) -> NDArray[np.float64]:
    """Return what share each old pixel along an axis has in each new one, (size, source_size)."""
    ratio = source_size / size
    shares = np.zeros((size, source_size))
    for new in range(size):
        for old, share in _taps(new, ratio, interpolation):
            shares[new, min(max(old, 0), source_size - 1)] += share
    return shares


def _taps(new: int, ratio: float, interpolation: Interpolation) -> Iterator[tuple[int, float]]:
    """Yield the old pixels of a new one, with their shares."""
    if interpolation == "nearest":
        yield int(new * ratio), 1.0
    elif interpolation == "area":
        start, end = new * ratio, (new + 1) * ratio
        for old in range(int(start), int(np.ceil(end))):
            yield old, (min(end, old + 1) - max(start, old)) / ratio
    else:
        centre = (new + 0.5) * ratio - 0.5
        first = int(np.floor(centre))
        for old in range(first - 1, first + 3):
            distance = abs(centre - old)
            yield old, max(0.0, 1 - distance) if interpolation == "bilinear" else _cubic(distance)


def _cubic(distance: float) -> float:
    """Return the weight of a pixel in bicubic interpolation, with the usual a = -0.75."""
    if distance <= 1:
        return (1.25 * distance - 2.25) * distance**2 + 1
    return -0.75 * (((distance - 5) * distance + 8) * distance - 4)


FILE = """
AAAAAWdkAAqsWERHpqAgICgAAAMACAAAAwGQeJEoIwAAAAFo6EODssiwAAABBgX//23cRem95tlIt5Ys2CDZI+7veDI2NCAtIGNvcmUgMTY1IC0gSC4y
NjQvTVBFRy00IEFWQyBjb2RlYyAtIENvcHlsZWZ0IDIwMDMtMjAyNSAtIGh0dHA6Ly93d3cudmlkZW9sYW4ub3JnL3gyNjQuaHRtbCAtIG9wdGlvbnM6
IGNhYmFjPTEgcmVmPTE2IGRlYmxvY2s9MTowOjAgYW5hbHlzZT0weDM6MHgxMzMgbWU9dW1oIHN1Ym1lPTkgcHN5PTEgcHN5X3JkPTEuMDA6MC4wMCBt
aXhlZF9yZWY9MSBtZV9yYW5nZT0yNCBjaHJvbWFfbWU9MSB0cmVsbGlzPTIgOHg4ZGN0PTEgY3FtPTAgZGVhZHpvbmU9MjEsMTEgZmFzdF9wc2tpcD0x
IGNocm9tYV9xcF9vZmZzZXQ9LTIgdGhyZWFkcz0xIGxvb2thaGVhZF90aHJlYWRzPTEgc2xpY2VkX3RocmVhZHM9MCBucj0wIGRlY2ltYXRlPTEgaW50
ZXJsYWNlZD0wIGJsdXJheV9jb21wYXQ9MCBjb25zdHJhaW5lZF9pbnRyYT0wIGJmcmFtZXM9MSBiX3B5cmFtaWQ9MCBiX2FkYXB0PTIgYl9iaWFzPTAg
ZGlyZWN0PTMgd2VpZ2h0Yj0xIG9wZW5fZ29wPTAgd2VpZ2h0cD0yIGtleWludD0xMDAga2V5aW50X21pbj0xMCBzY2VuZWN1dD0wIGludHJhX3JlZnJl
c2g9MCByYz1jcXAgbWJ0cmVlPTAgcXA9MTIgaXBfcmF0aW89MS40MCBwYl9yYXRpbz0xLjMwIGFxPTAAgAAAAWWIggHX/vAcRx5aSOh6GB3oKFewItcM
4cbZmgRt8HISPWDCk1JGxT0tlsJccFNMP0qapQjKuYYJwrRKtElzNxN8yoK5IrvbWUgfW9sP7NYLgQVdGxjCXcqRbuzMpvA3IzwUu9gYmZC2NoF0X9AL
jJQ46ekAlAkxCy/eZ5rZJmbc6mV/LfxcOn82dNs8uHejBIfseac+KQH19Zq810qHYjmuiud+ojPMyF4DFUFkWdn/a3ZchZDR2+JGZlXj8xq6CHHeWu+j
FIuqAMOeRMbgz4Qpq5rbZ57BbKnMxqZ5z71TwuFuNJT9h/z5mGnmbxD6cwA1Sfxxz0BHwwy5abzKfJPzCouiHkoOKQUWfJxuYtVcaxel5+dYq0TprR6n
9RF0OHz87oV6N+uWKaaOZCvNaIEXQPra5OetjRsybqZRsjYYDbEYBjwqUhytWzDvwGRrRBMGVIb/QSrWoJZBGZJibDpbxLEW8llG/CTnBWMHTneBTHWI
x0W0rOy7bYSz3hAPbd3DJ0nDtq4nuSX+b08iJ+3qw8Mms0mWJkoLB438PuOi5d7uMp6iq/NJWNMAAAABQZoU2NfB7sa7Nt4E/pkLQMsccOhiMoU43wK8
c5ZPf+B7QrO0kMe+oM/8a/zAyqBJDug/e134s4i5uUXtqaIdGCBa/Wjwg/35jRzVfREXV9fZDytjAcGAxXNe2CYnW3q5c2tdLER6f6EEsOc+4o6kKnlq
mjPlRMhlCyNZH7P7dVxz8zaPv/8OmYqqdBOhDtD6NpkufsrP2ufSS1rB4x/jGgCJnrUqouOSoWoaiB1EBZqYMkf40z/nEjxIJdfr1f71zpevahfe4+B6
p+QEy8gVMaR02pd11myS6hDmKcX8IkEGURIBiDhC7MtR7aIS0pXl19UQRgtUD7IqcRsqhdKhgWAq1O0Qey1BUdE/Mb/1OqpDrV+CMV9bO6+puHhPuicU
zkbIL3t3emgOn5LaNv/BOWTk9rKEheDF5ZlMLMMh7lXOVPsduVqp60ar04vBlB9di86aOf1fXy7MwTOd9qUN7ruPk8OgxggYdW93+Zyi+R1KpwmWY6QE
EJKZt4uC4MHVn2Dw9/FK9mYhfXJPBhCbiT8Fl8cHrAjgaRfvattxmNF8D14mtotnAAAAAQGeInJF+87//A1anRC7P4mIoJX8Bp0LqHRdgXuO1/gb4+Mu
SwwPf+VlpnD2/H99sE+C2QbcM3p71GwiAsYNUo8wkxVkbaLOAKDRUMT+IiHC+XTH0AalmETUoQO14WBywsSBDcQ45Qsu3ghhUDpi7Qz30OLI0TghQxVV
qcg2DRLnwVZIFMBf2IZIMG9oXqBDbkFPMQ1MrHSqlTWeS6KPQ9rskv0dZFpluoh049YhWaqL/UkdKJArUHDoza7/Ud/wTSdiT4c5cd/xlPDdMn3yqp5b
dD1vSiqJO//I16FKCgfaToOCqu/5d5T0fxfXZXpXLmLRc/3Azfx03WJ5poFDkaEmu+ASrkE7Wad4L081p5/VTajtyp790AIIeb0otZzwuKXFLCK7dJF+
C52EjRqLFTJxkXVeYH/vTnaaAE9vo6DKW2C+0foLtLCqO+udPwMPJnMEW7crr492XRAhEBqNMrLtWfeqQDoHloiW15UmI/UhnIwjNWEL7E19lrBSIquO
UgJl8Q==
"""
