from __future__ import annotations

import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.transforms import v2

from vidcnn.choices import Interpolation
from vidcnn.sampling.preprocessing import Preprocessing, resize_and_crop
from vidcnn.training.augment import OPERATIONS, Augmentation, FlipRule, Operation, Pixels, apply_operation, augment_clip

PLAIN = Augmentation(crop=(20, 24))
RESIZED = Augmentation(crop=(20, 24), crop_scale=(0.2, 1.0))
EVERYTHING = Augmentation(
    crop=(20, 24), crop_scale=(0.3, 1.0), flip=True, colour_jitter=0.4, rand_augment=9, erasing=1.0
)
EVERY_STEP = pytest.mark.parametrize(
    "settings",
    [
        replace(PLAIN, flip=True),
        RESIZED,
        replace(PLAIN, colour_jitter=0.5),
        replace(PLAIN, rand_augment=15),
        replace(PLAIN, erasing=1.0),
        EVERYTHING,
    ],
    ids=["crop and flip", "resized crop", "colour jitter", "RandAugment", "erasing", "everything"],
)


def clip(num_frames: int = 4, height: int = 32, width: int = 40) -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (num_frames, height, width, 3), dtype=np.uint8)


def address(height: int, width: int, num_frames: int = 2) -> Pixels:
    """Frames whose pixels are (frame, row, column)."""
    parts = np.meshgrid(np.arange(num_frames), np.arange(height), np.arange(width), indexing="ij")
    return np.stack(parts, axis=-1).astype(np.uint8)


@EVERY_STEP
def test_all_frames_of_a_clip_are_treated_alike(settings: Augmentation) -> None:
    frames = np.repeat(clip(1), 5, axis=0)
    for seed in range(40):
        pixels = augment_clip(frames, settings, seed).pixels
        assert (pixels == pixels[0]).all()


@EVERY_STEP
def test_the_same_seed_gives_the_same_clip_and_others_give_others(settings: Augmentation) -> None:
    frames = clip()
    clips = [augment_clip(frames, settings, seed).pixels for seed in range(8)]
    for seed, pixels in enumerate(clips):
        assert np.array_equal(augment_clip(frames, settings, seed).pixels, pixels)
    assert len({pixels.tobytes() for pixels in clips}) >= 6


@EVERY_STEP
def test_what_comes_out_is_contiguous_and_shares_no_memory_with_what_went_in(settings: Augmentation) -> None:
    frames = clip()
    before = frames.copy()
    for seed in range(8):
        pixels = augment_clip(frames, settings, seed).pixels
        assert (pixels.shape, pixels.dtype) == ((4, 20, 24, 3), np.uint8)
        assert pixels.flags.c_contiguous
        assert pixels.flags.writeable
        assert not np.shares_memory(pixels, frames)
        assert np.array_equal(frames, before)


@pytest.mark.parametrize("crop_scale", [None, (1.0, 1.0)])
def test_a_crop_of_the_whole_frame_is_a_copy(crop_scale: tuple[float, float] | None) -> None:
    frames = clip()
    settings = Augmentation(crop=(32, 40), crop_scale=crop_scale, crop_ratio=(1.25, 1.25))
    pixels = augment_clip(frames, settings, 0).pixels
    assert np.array_equal(pixels, frames)
    assert not np.shares_memory(pixels, frames)


def test_global_random_states_neither_move_nor_matter() -> None:
    frames = clip()
    expected = augment_clip(frames, EVERYTHING, 5).pixels
    torch.manual_seed(1)
    np.random.seed(1)
    random.seed(1)
    states = torch.get_rng_state(), str(np.random.get_state()), random.getstate()
    assert np.array_equal(augment_clip(frames, EVERYTHING, 5).pixels, expected)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (str(np.random.get_state()), random.getstate()) == states[1:]


def test_clips_that_are_augmented_side_by_side_do_not_disturb_each_other() -> None:
    frames = clip()
    alone = [augment_clip(frames, EVERYTHING, seed).pixels for seed in range(40)]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(lambda seed: augment_clip(frames, EVERYTHING, seed).pixels, range(40)))
    assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))


@pytest.mark.parametrize("num_frames", [1, 4])
def test_the_number_of_threads_does_not_show(num_frames: int) -> None:
    frames = clip(num_frames, 230, 240)
    settings = replace(EVERYTHING, crop=(224, 224))
    num_threads = torch.get_num_threads()
    clips = {}
    try:
        for threads in (1, 4):
            torch.set_num_threads(threads)
            clips[threads] = [augment_clip(frames, settings, seed).pixels for seed in range(8)]
    finally:
        torch.set_num_threads(num_threads)
    assert all(np.array_equal(a, b) for a, b in zip(clips[1], clips[4], strict=True))


def test_a_random_crop_is_a_window_of_the_frames_and_reaches_every_place() -> None:
    frames = address(22, 25)
    places = set()
    for seed in range(200):
        pixels = augment_clip(frames, PLAIN, seed).pixels
        top, left = int(pixels[0, 0, 0, 1]), int(pixels[0, 0, 0, 2])
        assert np.array_equal(pixels, frames[:, top : top + 20, left : left + 24])
        places.add((top, left))
    assert places == {(top, left) for top in range(3) for left in range(2)}


@pytest.mark.parametrize("settings", [replace(PLAIN, flip=True), replace(RESIZED, flip=True)])
def test_flipping_mirrors_left_and_right_of_half_of_the_clips(settings: Augmentation) -> None:
    frames = clip()
    num_flipped = 0
    for seed in range(200):
        found = augment_clip(frames, settings, seed)
        straight = augment_clip(frames, replace(settings, flip=False), seed)
        assert not straight.is_flipped
        expected = straight.pixels[:, :, ::-1] if found.is_flipped else straight.pixels
        assert np.array_equal(found.pixels, expected)
        num_flipped += found.is_flipped
    assert 70 < num_flipped < 130


def test_turned_and_read_only_frames_are_taken_as_they_are_seen() -> None:
    turned = np.rot90(clip(), 2, axes=(1, 2))
    copy = turned.copy()
    turned.setflags(write=False)
    for settings in (replace(PLAIN, flip=True), EVERYTHING):
        for seed in range(6):
            expected = augment_clip(copy, settings, seed).pixels
            assert np.array_equal(augment_clip(turned, settings, seed).pixels, expected)


def test_crop_and_flip_alone_do_not_load_torch() -> None:
    code = (
        "import sys, numpy; from vidcnn.training.augment import Augmentation, augment_clip\n"
        "settings = Augmentation((4, 4), flip=True)\n"
        "[augment_clip(numpy.zeros((2, 6, 6, 3), numpy.uint8), settings, seed) for seed in range(9)]\n"
        "print('torch' in sys.modules)"
    )
    folder = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=folder)
    assert done.stdout.strip() == "False"


@given(
    st.integers(1, 60), st.integers(1, 60), st.floats(0.05, 1), st.floats(0.05, 1), st.floats(0.1, 10), st.integers(0)
)
def test_a_resized_crop_has_a_share_and_shape_within_bounds(
    height: int, width: int, scale_a: float, scale_b: float, ratio: float, seed: int
) -> None:
    # "nearest" keeps the addresses, and a crop as large as the frame keeps most of them.
    low, high = sorted((scale_a, scale_b))
    settings = Augmentation(
        (height, width), crop_scale=(low, high), crop_ratio=(ratio, 1.5 * ratio), interpolation="nearest"
    )
    pixels = augment_clip(address(height, width), settings, seed).pixels
    assert pixels.shape == (2, height, width, 3)
    assert (np.diff(pixels[0, :, 0, 1].astype(int)) >= 0).all()
    assert (np.diff(pixels[0, 0, :, 2].astype(int)) >= 0).all()
    rows, columns = len(set(pixels[0, :, 0, 1].tolist())), len(set(pixels[0, 0, :, 2].tolist()))
    assert rows * columns <= height * width
    # Each side is rounded to whole pixels, and a part that fits nowhere gives way to the largest of an allowed shape.
    share_fits = (rows - 1) * (columns - 1) <= high * height * width and (rows + 1) * (columns + 1) >= (
        low * height * width
    )
    is_fallback = rows == height or columns == width
    assert share_fits or is_fallback
    assert (columns + 1) / max(rows - 1, 0.5) >= ratio or columns == width
    assert max(columns - 1, 0) / (rows + 1) <= 1.5 * ratio or columns == 1


def test_where_no_part_fits_the_largest_of_an_allowed_shape_is_cut_from_the_centre() -> None:
    settings = Augmentation(crop=(10, 10), crop_scale=(1.0, 1.0), crop_ratio=(1.0, 1.0))
    frames = address(10, 30)
    assert np.array_equal(augment_clip(frames, settings, 0).pixels, frames[:, :, 10:20])
    upright = address(30, 10)
    assert np.array_equal(augment_clip(upright, settings, 0).pixels, upright[:, 10:20])


@pytest.mark.parametrize(("interpolation", "most"), [("bilinear", 1), ("bicubic", 2), ("nearest", 0)])
def test_parts_are_resized_as_before_inference_save_for_rounding(interpolation: Interpolation, most: int) -> None:
    frames = clip()
    size, whole = (20, 25), (1.0, 1.0)
    settings = Augmentation(size, crop_scale=whole, crop_ratio=(1.25, 1.25), interpolation=interpolation)
    expected = resize_and_crop(frames, Preprocessing(size, size, (0.0,) * 3, (1.0,) * 3, interpolation))
    found = augment_clip(frames, settings, 3).pixels
    assert np.abs(found.astype(int) - expected).max() <= most


def test_erasing_fills_one_rectangle_with_the_same_noise_in_all_frames() -> None:
    frames = np.zeros((3, 40, 50, 3), np.uint8)
    settings = Augmentation(crop=(40, 50), erasing=1.0)
    shares = []
    for seed in range(60):
        pixels = augment_clip(frames, settings, seed).pixels
        assert (pixels == pixels[0]).all()
        erased = pixels[0].any(axis=-1)
        rows, columns = np.flatnonzero(erased.any(axis=1)), np.flatnonzero(erased.any(axis=0))
        box = erased[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert box.mean() > 0.99  # noise is black once in 2**24 pixels
        shares.append(box.size / erased.size)
    assert min(shares) < 0.1
    assert 0.25 < max(shares) < 0.36
    outside = augment_clip(clip(3, 40, 50), settings, 0).pixels != clip(3, 40, 50)
    assert 0 < outside.any(axis=-1).mean() < 0.36


def test_erasing_happens_as_often_as_asked() -> None:
    frames = np.zeros((1, 20, 24, 3), np.uint8)
    settings = replace(PLAIN, erasing=0.25)
    erased = [augment_clip(frames, settings, seed).pixels.any() for seed in range(300)]
    assert 0.18 < np.mean(erased) < 0.32


def test_colour_jitter_keeps_within_its_strength() -> None:
    grey = np.full((1, 20, 24, 3), 100, np.uint8)  # neither contrast nor saturation changes it
    values = [int(augment_clip(grey, replace(PLAIN, colour_jitter=0.3), seed).pixels[0, 0, 0, 0]) for seed in range(99)]
    assert 68 <= min(values) < 80
    assert 120 < max(values) <= 131


def test_strong_colour_jitter_reaches_black_and_no_further() -> None:
    grey = np.full((1, 20, 24, 3), 100, np.uint8)
    values = [int(augment_clip(grey, replace(PLAIN, colour_jitter=3.0), seed).pixels.max()) for seed in range(60)]
    assert min(values) == 0
    assert max(values) == 255


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
def test_operations_are_those_of_torchvisions_rand_augment(
    operation: Operation, interpolation: Literal["nearest", "bilinear"], monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = torch.from_numpy(clip()).permute(0, 3, 1, 2)
    theirs = {"saturation": "Color", "autocontrast": "AutoContrast"}.get(operation, operation.title().replace("_", ""))
    space = {theirs: v2.RandAugment._AUGMENTATION_SPACE[theirs]}
    monkeypatch.setattr(v2.RandAugment, "_AUGMENTATION_SPACE", space)
    for magnitude in (9, 23):
        transform = v2.RandAugment(num_ops=1, magnitude=magnitude, interpolation=interpolation)
        torch.manual_seed(0)
        expected = {result.numpy().tobytes(): result for result in (transform(frames) for _ in range(12))}
        for sign in (1, -1):
            found = apply_operation(frames, operation, sign * magnitude / 30, interpolation)
            # Magnitudes are float32 over there, which now and then rounds a pixel to its neighbour.
            differences = [(found.int() - result.int()).abs() for result in expected.values()]
            assert any(one.max() <= 1 and one.float().mean() < 0.01 for one in differences)
        is_signed = space[theirs][1]
        assert len(expected) == (2 if is_signed else 1)


def test_operations_are_as_many_as_torchvisions() -> None:
    assert len(OPERATIONS) == len(v2.RandAugment._AUGMENTATION_SPACE)


def test_rand_augment_applies_two_operations_of_all() -> None:
    frames = clip()
    tensor = torch.from_numpy(frames).permute(0, 3, 1, 2)
    settings = Augmentation(crop=(32, 40), rand_augment=12)
    levels = (0.4, -0.4)
    once = {(o, level): apply_operation(tensor, o, level, "bilinear") for o in OPERATIONS for level in levels}
    pairs = {
        apply_operation(first, o, level, "bilinear").permute(0, 2, 3, 1).numpy().tobytes(): (name, o)
        for (name, _), first in once.items()
        for o in OPERATIONS
        for level in levels
    }
    drawn = [pairs[augment_clip(frames, settings, seed).pixels.tobytes()] for seed in range(60)]
    assert len(set(drawn)) > 30


@pytest.mark.parametrize("size", [(19, 40), (32, 23)])
def test_frames_that_are_smaller_than_the_crop_are_refused(size: tuple[int, int]) -> None:
    message = rf"crop \(20, 24\) does not fit in frames of \({size[0]}, {size[1]}\): resize"
    with pytest.raises(ValueError, match=message):
        augment_clip(clip(1, *size), PLAIN, 0)
    assert augment_clip(clip(1, *size), RESIZED, 0).pixels.shape == (1, 20, 24, 3)


@pytest.mark.parametrize("frames", [np.zeros((2, 32, 40, 3)), np.zeros((32, 40, 3), np.uint8), clip()[..., :2]])
def test_frames_of_another_kind_are_refused(frames: Any) -> None:
    with pytest.raises(ValueError, match=r"must be uint8 \(T, H, W, 3\)"):
        augment_clip(frames, PLAIN, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"crop": (0, 8)}, r"crop \(0, 8\)"),
        ({"crop_scale": (0.0, 1.0)}, "crop_scale"),
        ({"crop_scale": (0.5, 1.1)}, "crop_scale"),
        ({"crop_scale": (0.8, 0.5)}, "crop_scale"),
        ({"crop_ratio": (0.0, 1.0)}, "crop_ratio"),
        ({"crop_ratio": (2.0, 1.0)}, "crop_ratio"),
        ({"colour_jitter": -0.1}, "colour_jitter"),
        ({"colour_jitter": float("nan")}, "colour_jitter"),
        ({"rand_augment": 31}, r"rand_augment \(31\) must be in \[0, 30\]"),
        ({"rand_augment": -1}, "rand_augment"),
        ({"erasing": 1.5}, "erasing"),
        ({"interpolation": "lanczos"}, "interpolation"),
    ],
)
def test_settings_that_cannot_be_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Augmentation(**{"crop": (8, 8)} | arguments)


LABELS = ("walk", "left", "right", "up_left", "up_right")


def test_a_flipped_clip_is_of_its_class_in_the_mirror() -> None:
    rule = FlipRule.parse("on", ["left=right", " up_right = up_left "], LABELS)
    assert rule.is_on
    assert [rule.target(index, True) for index in range(5)] == [0, 2, 1, 4, 3]
    assert [rule.target(index, False) for index in range(5)] == [0, 1, 2, 3, 4]
    several = np.array([1.0, 0.5, 0.0, 0.0, 1.0], np.float32)
    assert rule.targets(several, True).tolist() == [1.0, 0.0, 0.5, 1.0, 0.0]
    assert rule.targets(several, False).tolist() == several.tolist()
    assert rule.targets(several, True).dtype == np.float32


@given(st.permutations(range(8)), st.integers(0, 4), st.lists(st.booleans(), min_size=8, max_size=8))
def test_two_mirrors_lead_back_and_one_and_several_labels_agree(
    order: list[int], num_pairs: int, several: list[bool]
) -> None:
    labels = [f"class{index}" for index in range(8)]
    pairs = [f"class{order[2 * n]}=class{order[2 * n + 1]}" for n in range(num_pairs)]
    rule = FlipRule.parse("on", pairs, labels)
    assert [rule.target(rule.target(index, True), True) for index in range(8)] == list(range(8))
    flipped = rule.targets(np.array(several), True)
    expected = {rule.target(index, True) for index in range(8) if several[index]}
    assert set(np.flatnonzero(flipped).tolist()) == expected


def test_without_flipping_the_pairs_are_still_checked() -> None:
    assert not FlipRule.parse("off", ["left=right"], LABELS).is_on
    with pytest.raises(ValueError, match="'rihgt'"):
        FlipRule.parse("off", ["left=rihgt"], LABELS)


@pytest.mark.parametrize(
    ("flip", "pairs", "message"),
    [
        ("maybe", [], r"flip \('maybe'\) must be 'on' or 'off'"),
        ("on", ["left"], "'left' must be of the form 'left=right'"),
        ("on", ["left=right=walk"], "must be of the form"),
        ("on", ["left=rihgt"], "names 'rihgt', which is none of the 5 labels"),
        ("on", ["left=left"], "must pair two labels that no other pair has"),
        ("on", ["left=right", "right=walk"], "'right=walk' must pair two labels that no other pair has"),
        ("on", ["left=right", "right=left"], "no other pair"),
    ],
)
def test_flip_settings_that_make_no_sense_are_refused(flip: Any, pairs: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FlipRule.parse(flip, pairs, LABELS)
