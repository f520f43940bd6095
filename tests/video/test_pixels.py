"""Pixels against libav's own conversion and torchvision's own arithmetic."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
import torch

from tests.video.decoding import PREPROCESSING, mean_difference
from vidcnn.choices import Interpolation
from vidcnn.errors import VideoError
from vidcnn.sampling.preprocessing import Preprocessing, resize_and_crop
from vidcnn.video.pixels import FrameConverter, UInt8Array
from vidcnn.video.planes import find_layout, rgb_matrix

NORMALISATION: dict[str, Any] = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}


def picture(height: int, width: int) -> UInt8Array:
    """A picture with soft edges and all colours, as cameras take them: (H, W, 3) RGB."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (height // 24 + 2, width // 24 + 2, 3), np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)  # type: ignore[return-value]


def coded(
    pixel_format: str, *, size: tuple[int, int] = (240, 320), colorspace: int = 5, is_full_range: bool = False
) -> Any:
    """A frame in a pixel format, as a decoder gives it out."""
    rgb = av.VideoFrame.from_ndarray(picture(*size), format="rgb24")
    frame = rgb.reformat(format=pixel_format, dst_colorspace=colorspace, dst_color_range=2 if is_full_range else 1)
    frame.colorspace, frame.color_range = colorspace, 2 if is_full_range else 1
    return frame


def through_libav(frame: Any, preprocessing: Preprocessing) -> UInt8Array:
    """Convert with libav, then resize as torchvision's preset does, without antialiasing, and crop."""
    rgb = torch.from_numpy(frame.to_ndarray(format="rgb24")).permute(2, 0, 1)[None].float()
    size = preprocessing.resized_size(frame.height, frame.width)
    mode = preprocessing.interpolation
    if mode == "area":
        return resize_and_crop(frame.to_ndarray(format="rgb24"), preprocessing)
    resized = torch.nn.functional.interpolate(rgb, size, mode=mode, align_corners=None if mode == "nearest" else False)
    top, left = preprocessing.crop_origin(*size)
    rows, columns = preprocessing.crop
    cropped = resized.round().clamp(0, 255).to(torch.uint8)[0, :, top : top + rows, left : left + columns]
    pixels_: UInt8Array = cropped.permute(1, 2, 0).numpy()
    return pixels_


FORMATS = [
    "yuv420p", "yuvj420p", "yuv422p", "yuv444p", "yuv440p", "yuv411p", "yuv410p", "nv12", "gray",
    "yuv420p10le", "yuv422p10le", "yuv444p10le", "yuv420p12le", "p010le",
]  # fmt: skip
BYPASSED = ["rgb24", "bgra", "gbrp", "yuva420p", "yuyv422", "gray10le", "rgb48le"]


@pytest.mark.parametrize("is_full_range", [False, True])
@pytest.mark.parametrize("pixel_format", FORMATS)
def test_the_fast_way_looks_like_libavs_in_every_format(pixel_format: str, is_full_range: bool) -> None:
    frame = coded(pixel_format, is_full_range=is_full_range or pixel_format == "yuvj420p")
    fast = FrameConverter(PREPROCESSING).convert(frame)
    assert fast.shape == (112, 112, 3)
    # libav repeats each sample of chroma and rounds down; where neither matters, hardly anything is left.
    limit = 0.6 if "444" in pixel_format or pixel_format == "gray" else 2
    assert mean_difference(fast, through_libav(frame, PREPROCESSING)) < limit


@pytest.mark.parametrize("pixel_format", ["yuv444p", "yuv444p10le"])
@pytest.mark.parametrize(("colorspace", "kr"), [(1, 0.2126), (5, 0.299), (6, 0.299), (9, 0.2627), (2, 0.299)])
def test_the_fast_way_knows_the_matrix_of_each_colour_space(pixel_format: str, colorspace: int, kr: float) -> None:
    frame = coded(pixel_format, colorspace=colorspace if colorspace != 2 else 5)
    frame.colorspace = colorspace
    assert mean_difference(FrameConverter(PREPROCESSING).convert(frame), through_libav(frame, PREPROCESSING)) < 0.6
    assert rgb_matrix(colorspace, True)[0, 2] == pytest.approx(2 * (1 - kr))


@pytest.mark.parametrize("pixel_format", ["rgb24", "bgr24", "rgba", "bgra", "rgb0", "bgr0"])
@pytest.mark.parametrize("width", [320, 317])  # libav pads lines
def test_red_green_and_blue_in_any_order_are_resized_as_they_are(pixel_format: str, width: int) -> None:
    preprocessing = Preprocessing((128, 171), (112, 112), **NORMALISATION)
    rgb = av.VideoFrame.from_ndarray(picture(240, width), format="rgb24")
    frame = rgb if pixel_format == "rgb24" else rgb.reformat(format=pixel_format)
    assert frame.format.name == pixel_format
    found = FrameConverter(preprocessing).convert(frame)
    resized = cv2.resize(frame.to_ndarray(format="rgb24"), (171, 128))
    top, left = preprocessing.crop_origin(128, 171)
    assert np.array_equal(found, resized[top : top + 112, left : left + 112])


@pytest.mark.parametrize("pixel_format", BYPASSED)
def test_other_formats_are_converted_by_libav(pixel_format: str) -> None:
    frame = coded(pixel_format, is_full_range=True)
    assert find_layout(pixel_format) is None
    assert mean_difference(FrameConverter(PREPROCESSING).convert(frame), through_libav(frame, PREPROCESSING)) < 1


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "nearest", "area"])
@pytest.mark.parametrize("resize", [128, (128, 171), (256, 300)])
def test_the_fast_way_resizes_to_any_geometry(interpolation: Interpolation, resize: Any) -> None:
    preprocessing = Preprocessing(resize=resize, crop=(112, 96), interpolation=interpolation, **NORMALISATION)
    for size in ((240, 320), (360, 202), (121, 161)):
        frame = coded("yuv444p", size=size)
        fast = FrameConverter(preprocessing).convert(frame)
        assert fast.shape == (112, 96, 3)
        limit = 4 if interpolation == "nearest" else 1.5
        assert mean_difference(fast, through_libav(frame, preprocessing)) < limit, size


@pytest.mark.parametrize("exact", [False, True])
def test_an_area_is_the_mean_of_its_pixels(exact: bool) -> None:
    board = np.indices((240, 320)).sum(axis=0) % 2 * np.uint8(200)  # 0 and 200, as on a chessboard
    frame = av.VideoFrame.from_ndarray(board.astype(np.uint8), format="gray")
    frame.color_range = 2
    for interpolation, spread in (("area", 8), ("nearest", 200)):
        preprocessing = Preprocessing((48, 64), (40, 40), **NORMALISATION, interpolation=interpolation)  # type: ignore[arg-type]
        found = FrameConverter(preprocessing, exact=exact).convert(frame)
        assert abs(int(np.ptp(found)) - spread) <= 8


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv420p10le", "nv12", "rgb24"])
def test_the_exact_way_is_torchvisions_arithmetic_to_the_bit(pixel_format: str) -> None:
    frame = coded(pixel_format)
    exact = FrameConverter(PREPROCESSING, exact=True).convert(frame)
    assert np.array_equal(exact, through_libav(frame, PREPROCESSING))


def test_the_exact_way_is_torchvisions_own_preset() -> None:
    from torchvision.transforms._presets import VideoClassification

    preset = VideoClassification(crop_size=(112, 112), resize_size=(128, 171))
    frame = coded("yuv420p")
    rgb = torch.from_numpy(frame.to_ndarray(format="rgb24"))
    expected = preset(rgb.permute(2, 0, 1)[None])[:, 0]  # (C, h, w), normalised
    exact = torch.from_numpy(FrameConverter(PREPROCESSING, exact=True).convert(frame)).permute(2, 0, 1)
    mean, std = (torch.tensor(values)[:, None, None] for values in (preset.mean, preset.std))
    assert torch.allclose((exact / 255 - mean) / std, expected, atol=1e-6)


def test_frames_of_their_own_size_are_libavs() -> None:
    frame = coded("yuv420p")
    assert np.array_equal(FrameConverter(None).convert(frame), frame.to_ndarray(format="rgb24"))


def test_the_conversion_of_a_frame_does_not_change_it() -> None:
    frame = coded("yuv420p")
    before = frame.to_ndarray()
    FrameConverter(PREPROCESSING).convert(frame)
    assert np.array_equal(frame.to_ndarray(), before)


def test_clips_outlive_their_frames(tmp_path: Path) -> None:
    frame = coded("yuv420p")
    converted = FrameConverter(PREPROCESSING).convert(frame)
    copy = converted.copy()
    frame.time_base = Fraction(1, 30)
    del frame
    for _ in range(20):
        coded("yuv420p", size=(240, 320), colorspace=1)
    assert np.array_equal(converted, copy)


@pytest.mark.parametrize("colorspace", [3, 12, 15, 17, 99])
@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv422p10le", "nv21"])
def test_a_colour_space_that_libav_does_not_convert_is_guessed(colorspace: int, pixel_format: str) -> None:
    for arguments in ({}, {"exact": True}):
        expected = FrameConverter(PREPROCESSING, **arguments).convert(coded(pixel_format, colorspace=2))
        found = FrameConverter(PREPROCESSING, **arguments).convert(coded(pixel_format, colorspace=colorspace))
        assert mean_difference(found, expected) < 2
    whole = FrameConverter(None).convert(coded(pixel_format, colorspace=colorspace))
    assert np.array_equal(whole, FrameConverter(None).convert(coded(pixel_format, colorspace=2)))


def test_frames_that_change_in_the_middle_of_a_stream_are_each_converted_as_they_are() -> None:
    frames = [
        coded("yuv420p"), coded("yuv420p", size=(360, 200)), coded("yuv444p10le"), coded("gray"), coded("yuyv422"),
        coded("yuv420p", colorspace=1), coded("yuv420p", colorspace=1, is_full_range=True), coded("yuv420p"),
    ]  # fmt: skip
    converter = FrameConverter(PREPROCESSING)
    for frame in frames:
        assert np.array_equal(converter.convert(frame), FrameConverter(PREPROCESSING).convert(frame))


@pytest.mark.parametrize("way", [{}, {"exact": True}, {"uncropped": True}])
def test_a_strip_is_too_large_once_resized(way: dict[str, bool]) -> None:
    strip = av.VideoFrame(16_384, 2, "yuv420p")
    preprocessing = Preprocessing(resize=128, crop=(112, 112), **NORMALISATION)
    with pytest.raises(VideoError, match="resized, they would be 1048576x128") as info:
        FrameConverter(preprocessing, **way).convert(strip)
    assert info.value.kind == "too_large"
    assert FrameConverter(Preprocessing((128, 171), (112, 112), **NORMALISATION)).convert(strip).shape == (112, 112, 3)
