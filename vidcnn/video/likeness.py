"""A short print of what a video looks like, which stays nearly the same where it is encoded again or scaled.

From small gray pictures to 64 bits each, and from those of a whole video to its *print*: the bits of 8 of them, which
are spread over its length. Prints are compared by how many bits differ.

The bits of a picture are the signs of its lowest frequencies against their median, as in "pHash" (C. Zauner,
Implementation and Benchmarking of Perceptual Image Hash Functions, 2010): a discrete cosine transform of 32x32 pixels,
of which the 8x8 lowest frequencies are kept.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

NUM_PICTURES = 8
PRINT_BYTES = 8 * NUM_PICTURES

_SIZE = 32
_KEPT = 8
_FLAT_DEVIATION = 3.0
"""Of gray levels in [0, 255]: pictures with less contrast show nothing, and their frequencies are noise."""
_PLACE_SHIFT = 0.382
"""Places of pictures are moved by this share of the distance between samples, so that videos whose lengths are whole
seconds do not have them just where a frame more or less decides which sample that is."""


def picture_bits(gray: npt.NDArray[np.uint8]) -> int | None:
    """Return the 64 bits of a picture.

    Args:
        gray: Gray levels, uint8 (H, W), of 32 pixels or more on each side.

    Returns:
        The bits, as a number; None where nothing can be seen in it.
    """
    small = cv2.resize(gray, (_SIZE, _SIZE), interpolation=cv2.INTER_AREA).astype(np.float32)
    if small.std() < _FLAT_DEVIATION:
        return None
    lowest = cv2.dct(small)[:_KEPT, :_KEPT].reshape(-1)
    is_above = lowest > np.median(lowest[1:])  # the first is the mean of the picture
    is_above[0] = False
    return int.from_bytes(np.packbits(is_above).tobytes(), "big")


def print_of(pictures: Sequence[int | None], places: Sequence[int]) -> bytes | None:
    """Return the print of a video.

    Args:
        pictures: The bits of each sample, in order; None where there is none, or nothing can be seen in it.
        places: Indexes into `pictures`, as `print_places` returned them.

    Returns:
        `PRINT_BYTES` bytes, or None where in more than half of the places nothing can be seen.
    """
    chosen = [pictures[place] for place in places]
    if 2 * chosen.count(None) > len(chosen):
        return None
    return b"".join((bits or 0).to_bytes(8, "big") for bits in chosen)


def print_places(num_samples: int, duration_samples: float) -> list[int]:
    """Return which samples of a video go into its print: as many for each length of video, evenly spread.

    Args:
        num_samples: Samples, at least one.
        duration_samples: The video's length, in distances between samples.
    """
    step = duration_samples / NUM_PICTURES
    places = (int((index + 0.5) * step + _PLACE_SHIFT) for index in range(NUM_PICTURES))
    return [min(place, num_samples - 1) for place in places]
