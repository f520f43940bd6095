from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vidcnn.choices import Interpolation
from vidcnn.sampling.preprocessing import Preprocessing, resize_and_crop, resize_and_crop_tensor

HALF = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}


def frames_of(height: int, width: int, seed: int) -> torch.Tensor:
    """Two frames, uint8 (T, H, W, C): one of noise, one smooth, whose values often lie half-way."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randint(0, 256, (1, height, width, 3), dtype=torch.uint8, generator=generator)
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    smooth = torch.stack([rows, columns, rows + columns], dim=-1).remainder(256).to(torch.uint8)
    return torch.cat([noise, smooth[None]])


def preset(resize: tuple[int, ...], crop: tuple[int, int], interpolation: Interpolation) -> Any:
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms._presets import VideoClassification

    return VideoClassification(
        crop_size=crop,
        resize_size=resize,  # type: ignore[arg-type]
        interpolation=InterpolationMode(interpolation),
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
    )


@settings(deadline=None, max_examples=60)
@given(
    size=st.tuples(st.integers(5, 70), st.integers(5, 70)),
    resize=st.one_of(st.integers(8, 40), st.tuples(st.integers(8, 40), st.integers(8, 40))),
    crop=st.tuples(st.integers(1, 8), st.integers(1, 8)),
    interpolation=st.sampled_from(["bilinear", "bicubic", "nearest"]),
    seed=st.integers(0, 99),
)
def test_geometry_is_bit_for_bit_that_of_torchvisions_preset(
    size: tuple[int, int],
    resize: int | tuple[int, int],
    crop: tuple[int, int],
    interpolation: Interpolation,
    seed: int,
) -> None:
    frames = frames_of(*size, seed)
    preprocessing = Preprocessing(resize, crop, **HALF, interpolation=interpolation)
    if size == crop:
        return
    sizes = (resize,) if isinstance(resize, int) else resize
    expected = preset(sizes, crop, interpolation)(frames.permute(0, 3, 1, 2).contiguous())  # (C, T, h, w)
    found = resize_and_crop_tensor(frames[None], preprocessing)
    assert torch.equal(found[0].permute(3, 0, 1, 2).float() / 255, expected)


def test_an_area_counts_each_pixel_by_the_share_that_it_covers() -> None:
    frame = torch.tensor([[0, 90, 180], [30, 60, 240]], dtype=torch.uint8)
    frames = frame[None, None, :, :, None].expand(-1, -1, -1, -1, 3)
    found = resize_and_crop_tensor(frames, Preprocessing((1, 2), (1, 2), **HALF, interpolation="area"))
    # Columns 15, 75, 210 in the mean over rows, of which two thirds and one third, and the reverse, are taken.
    assert found[0, 0, 0, :, 0].tolist() == [35, 165]


@settings(deadline=None, max_examples=40)
@given(size=st.tuples(*[st.integers(2, 70)] * 2), resize=st.tuples(*[st.integers(1, 70)] * 2), seed=st.integers(0, 99))
def test_areas_keep_the_mean(size: tuple[int, int], resize: tuple[int, int], seed: int) -> None:
    frames = frames_of(*size, seed)[None]
    found = resize_and_crop_tensor(frames, Preprocessing(resize, resize, **HALF, interpolation="area"))
    assert abs(float(found.float().mean() - frames.float().mean())) < 0.51


def test_clips_that_have_the_size_of_the_crop_pass_unchanged() -> None:
    clips = frames_of(32, 30, seed=0)[None]
    preprocessing = Preprocessing((36, 40), (32, 30), **HALF)
    assert torch.equal(resize_and_crop_tensor(clips, preprocessing), clips)


@pytest.mark.parametrize("lead", [(), (4,), (2, 3)])
def test_frames_in_an_array_keep_their_leading_dimensions(lead: tuple[int, ...]) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (*lead, 20, 24, 3), dtype=np.uint8)
    preprocessing = Preprocessing(16, (12, 14), **HALF)
    found = resize_and_crop(frames, preprocessing)
    assert found.shape == (*lead, 12, 14, 3)
    expected = resize_and_crop_tensor(torch.from_numpy(frames).reshape(1, -1, 20, 24, 3), preprocessing)
    assert np.array_equal(found, expected.numpy().reshape(found.shape))


def test_rotated_and_read_only_frames_are_taken_as_they_are_seen() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    preprocessing = Preprocessing(16, (12, 14), **HALF)
    turned = np.rot90(frame, 2)
    frame.setflags(write=False)
    assert np.array_equal(resize_and_crop(turned, preprocessing), resize_and_crop(turned.copy(), preprocessing))
    assert np.array_equal(resize_and_crop(frame, preprocessing), resize_and_crop(frame.copy(), preprocessing))


@given(size=st.tuples(st.integers(1, 5000), st.integers(1, 5000)), resize=st.integers(1, 600))
def test_the_shorter_side_is_met_and_a_centred_crop_lies_inside(size: tuple[int, int], resize: int) -> None:
    crop = (max(1, resize - 3), max(1, resize - 7))
    preprocessing = Preprocessing(resize, crop, **HALF)
    height, width = preprocessing.resized_size(*size)
    assert min(height, width) == resize
    assert (height <= width) == (size[0] <= size[1]) or height == width
    top, left = preprocessing.crop_origin(height, width)
    assert 0 <= top <= height - crop[0]
    assert 0 <= left <= width - crop[1]
    assert abs(top - (height - crop[0] - top)) <= 1
    assert abs(left - (width - crop[1] - left)) <= 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"resize": 0, "crop": (1, 1)}, r"resize \(0\)"),
        ({"resize": (8, 0), "crop": (1, 1)}, r"resize \(\(8, 0\)\)"),
        ({"resize": 8, "crop": (0, 8)}, r"crop \(\(0, 8\)\)"),
        ({"resize": 8, "crop": (8, 9)}, r"crop \(8, 9\) does not fit"),
        ({"resize": (8, 9), "crop": (9, 8)}, r"crop \(9, 8\) does not fit"),
        ({"resize": 8, "crop": (8, 8), "std": (1.0, 0.0, 1.0)}, "std"),
    ],
)
def test_sizes_that_cannot_be_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Preprocessing(**HALF | arguments)
