from __future__ import annotations

import cv2
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vidcnn.sampling.preprocessing import Preprocessing, resize_and_crop
from vidcnn.video.resizing import Resizing, Target, window


@given(
    st.integers(4, 400), st.integers(4, 400), st.integers(4, 150), st.integers(4, 150),
    st.floats(0, 1), st.floats(0, 1),
    st.sampled_from([cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_NEAREST, cv2.INTER_AREA]),
)  # fmt: skip
def test_a_part_is_resized_as_it_is_in_the_whole(
    height: int, width: int, rows: int, columns: int, down: float, right: float, interpolation: int
) -> None:
    samples = np.random.default_rng(height * 1000 + width).integers(0, 256, (height, width), np.uint8)
    crop_rows, crop_columns = rows - rows // 4, columns - columns // 4
    top, left = int((rows - crop_rows) * down), int((columns - crop_columns) * right)
    target = Target((rows, columns), top, left, crop_rows, crop_columns, interpolation)
    whole = cv2.resize(samples, (columns, rows), interpolation=interpolation).astype(int)
    if interpolation == cv2.INTER_AREA:
        geometry = Preprocessing((rows, columns), (rows, columns), (0.5,) * 3, (0.5,) * 3, interpolation="area")
        whole = resize_and_crop(samples[:, :, None].repeat(3, axis=2), geometry)[:, :, 0].astype(int)
    expected = whole[top : top + crop_rows, left : left + crop_columns]
    part = Resizing(height, width, target).apply(samples)
    assert part.shape == expected.shape
    difference = np.abs(part.astype(int) - expected)
    if interpolation == cv2.INTER_NEAREST:
        assert (difference > 0).mean() < 0.02  # where two samples are equally near
    else:
        assert difference.max() <= 2


def test_little_more_than_the_crop_is_read() -> None:
    found = window(720, 128, 8, 112)  # 45 rows make 8
    assert (found.source.start, found.crop) == (45, slice(0, 112))
    assert found.source.stop < 45 + 112 * 45 / 8 + 6
    assert window(1080, 128, 8, 112).source.start == 0  # only every 16th row would do
