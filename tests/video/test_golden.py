"""A decoder that gives wrong pixels is seen before any clip is taken from it: each fault is made, and seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.videos import write_video
from vidcnn.choices import Interpolation
from vidcnn.errors import DecoderError
from vidcnn.sampling.preprocessing import Preprocessing
from vidcnn.sampling.segments import ClipSpec, Sampling
from vidcnn.sources import Listing
from vidcnn.video import golden, pixels, planes
from vidcnn.video.attempts import decode_in_cell
from vidcnn.video.batching import DecodeSettings, timed_batches
from vidcnn.video.cell import Cell
from vidcnn.video.container import MAX_PIXELS
from vidcnn.video.golden import check_decoder, golden_planes
from vidcnn.video.planning import PlannedSegment, PlanSettings, plan_video


@pytest.fixture(autouse=True)
def not_looked_at() -> Iterator[None]:
    """Let every test look at the decoder itself."""
    check_decoder.cache_clear()
    yield
    check_decoder.cache_clear()


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "nearest", "area"])
def test_this_machine_decodes_rightly_and_is_looked_at_once(
    interpolation: Interpolation, exact: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(golden, "TOLERANCE", 0.8)
    monkeypatch.setattr(golden, "LIBAV_TOLERANCE", 1.6)
    check_decoder(interpolation, exact=exact)
    monkeypatch.setattr(golden, "_decoded", lambda: pytest.fail("it is decoded again"))
    check_decoder(interpolation, exact=exact)


def test_the_file_has_the_frames_of_the_formula() -> None:
    frames = list(golden._decoded())
    assert len(frames) == golden.NUM_FRAMES
    for number, frame in enumerate(frames):
        assert int(frame.colorspace) == 1
        for plane, expected in zip(frame.planes, golden_planes(number), strict=True):
            samples = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]
            assert abs(samples.astype(int) - expected).max() <= 1


def swapped_channels(call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    return call(*arguments, **options)[..., ::-1]


def shifted(call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    return np.roll(call(*arguments, **options), 1, axis=1)


def areas(call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    return call(*arguments, **options | {"interpolation": cv2.INTER_AREA})


def without_matrix(call: Callable[..., Any], colorspace: int, is_full_range: bool) -> Any:
    return call(2, is_full_range)


def full_range(call: Callable[..., Any], colorspace: int, is_full_range: bool) -> Any:
    return call(colorspace, True)


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize(
    ("place", "name", "fault", "of_exact"),
    [
        (cv2, "transform", swapped_channels, False),
        (cv2, "resize", areas, False),
        (cv2, "resize", shifted, False),
        (planes, "rgb_matrix", without_matrix, False),
        (planes, "rgb_matrix", full_range, False),
        (pixels, "_converted", swapped_channels, True),
        (pixels, "_converted", shifted, True),
        (pixels, "resize_and_crop", shifted, True),
    ],
)
def test_wrong_pixels_are_seen(
    place: Any, name: str, fault: Callable[..., Any], of_exact: bool, exact: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place, name, partial(fault, getattr(place, name)))
    if (exact and not of_exact) or (name == "resize_and_crop" and not exact):
        check_decoder("bilinear", exact=exact)  # that way does not call it
        return
    for _ in range(2):
        with pytest.raises(DecoderError, match=r"gives wrong pixels: frames of a known video are \d+\.\d grey levels"):
            check_decoder("bilinear", exact=exact)


def test_frames_in_another_order_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = golden._decoded
    monkeypatch.setattr(golden, "_decoded", lambda: list(decoded())[::-1])
    with pytest.raises(DecoderError, match="grey levels off"):
        check_decoder("bilinear", exact=False)


def test_frames_that_are_missing_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = golden._decoded
    monkeypatch.setattr(golden, "_decoded", lambda: list(decoded())[:2])
    with pytest.raises(DecoderError, match="of 3 frames of a known video it finds 2"):
        check_decoder("bilinear", exact=False)


def test_a_decoder_that_reads_nothing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(golden, "FILE", "AAAA")
    with pytest.raises(DecoderError, match="it cannot read a video that is known to be good"):
        check_decoder("bilinear", exact=False)


def test_where_libav_reads_no_h264_nothing_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*_: str) -> None:
        raise golden.UnknownCodecError("h264")

    monkeypatch.setattr(golden.av, "Codec", absent)
    check_decoder("bilinear", exact=False)


def break_opencv() -> None:
    """Let the OpenCV of this process swap channels."""
    right = cv2.transform
    if right.__module__ == __name__:
        return
    cv2.transform = lambda *arguments: right(*arguments)[..., ::-1]
    check_decoder.cache_clear()


def swapping_batches(unit: Any, settings: DecodeSettings) -> Any:
    """Decode in a process whose OpenCV swaps channels."""
    break_opencv()
    return timed_batches(unit, settings)


@pytest.fixture
def unit(tmp_path: Path) -> list[PlannedSegment]:
    write_video(tmp_path / "a.mp4", 20, rate=15)
    (video,) = Listing([str(tmp_path / "a.mp4")])
    return plan_video(video, PlanSettings(ClipSpec(Sampling(8, stride=1)), 25.0, MAX_PIXELS))


def test_no_clip_comes_from_a_process_that_decodes_wrongly(unit: list[PlannedSegment]) -> None:
    settings = DecodeSettings(
        Preprocessing((20, 20), (16, 16), (0, 0, 0), (1, 1, 1)), exact=False, batch_size=2, max_pixels=MAX_PIXELS
    )
    with Cell() as cell:
        assert sum(len(batch.clips) for batch, _ in decode_in_cell(unit, settings, cell)) == 3
    with Cell() as cell, pytest.raises(DecoderError, match="grey levels off on average"):
        next(decode_in_cell(unit, settings, cell, work=swapping_batches))
