"""Each kind of error that is documented occurs, and is what the file or the process did."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.pipelines.crashing import faulty_batches
from tests.video.decoding import WHOLE_FRAME
from tests.videos import write_video
from vidcnn.errors import ERROR_KINDS, VideoError
from vidcnn.sampling.segments import ClipSpec, Sampling
from vidcnn.sources import Listing
from vidcnn.video.attempts import decode_in_cell, plan_in_cell
from vidcnn.video.batching import DecodeSettings
from vidcnn.video.cell import Cell
from vidcnn.video.planning import PlannedSegment, PlanSettings

CLIPS = ClipSpec(Sampling(4, stride=1))
PLAN = PlanSettings(CLIPS, image_fps=10, max_pixels=64 * 64, timeout_seconds=30)
DECODE = DecodeSettings(WHOLE_FRAME, exact=False, batch_size=4, max_pixels=64 * 64, timeout_seconds=1)
OPTIONS = {"preset": "ultrafast"}


@pytest.fixture
def cell() -> Iterator[Cell]:
    cell = Cell()
    yield cell
    cell.close()


def kinds(folder: Path, cell: Cell, settings: PlanSettings = PLAN, *, touch: Path | None = None) -> set[str | None]:
    """Plan and decode all videos of a folder, one of which changes in between, and return what is wrong with them."""
    videos = list(Listing([str(folder)]))
    found: set[str | None] = set()
    unit: list[PlannedSegment] = []
    for _, plan in plan_in_cell(videos, settings, cell):
        if isinstance(plan, tuple):
            unit += plan
        elif isinstance(plan, VideoError):
            found.add(plan.kind)
    if touch is not None:
        write_video(touch, 9, options=OPTIONS)
    for batch, _ in decode_in_cell(unit, DECODE, cell, work=faulty_batches):
        found |= {error.kind for _, error in batch.failures if isinstance(error, VideoError)}
        found |= {None} if batch.clips else set()
    return found


def alone(tmp_path: Path, name: str) -> Path:
    folder = tmp_path / name.partition(".")[0]
    folder.mkdir()
    return folder / name


def test_every_documented_kind_occurs(tmp_path: Path, cell: Cell) -> None:
    whole = write_video(alone(tmp_path, "whole.mp4"), 40, options=OPTIONS)
    content = whole.read_bytes()
    seen = {None: kinds(whole.parent, cell)}

    noise = alone(tmp_path, "noise.mp4")
    noise.write_bytes(random.Random(0).randbytes(5000))
    seen["unreadable"] = kinds(noise.parent, cell)

    sound = write_video(alone(tmp_path, "sound.mp4"), 0, sound_only=True)
    seen["no_video"] = kinds(sound.parent, cell)

    cut = alone(tmp_path, "cut.mp4")
    cut.write_bytes(content[: len(content) // 2])
    seen["truncated"] = kinds(cut.parent, cell)

    damaged = write_video(alone(tmp_path, "damaged.mkv"), 40, options=OPTIONS)
    broken = bytearray(damaged.read_bytes())
    broken[len(broken) // 2 : len(broken) // 2 + 400] = bytes(400)
    damaged.write_bytes(broken)
    seen["corrupt_frames"] = kinds(damaged.parent, cell) - {None}

    large = write_video(alone(tmp_path, "large.mp4"), 8, size=(128, 128), options=OPTIONS)
    seen["too_large"] = kinds(large.parent, cell)

    short = write_video(alone(tmp_path, "short.mp4"), 2, options=OPTIONS)
    seen["too_short"] = kinds(short.parent, cell, replace(PLAN, clips=replace(CLIPS, short_clips="drop")))

    hangs = write_video(alone(tmp_path, "decode_hangs.mp4"), 4, options=OPTIONS)
    seen["timeout"] = kinds(hangs.parent, cell)

    kills = write_video(alone(tmp_path, "decode_kills.mp4"), 4, options=OPTIONS)
    seen["decoder_crash"] = kinds(kills.parent, cell)

    changing = write_video(alone(tmp_path, "changing.mp4"), 8, options=OPTIONS)
    seen["changed"] = kinds(changing.parent, cell, touch=changing)

    playlist = alone(tmp_path, "playlist.mp4")
    playlist.write_text("ffconcat version 1.0\nfile whole.mp4\n")
    seen["unsafe"] = kinds(playlist.parent, cell)

    assert seen == {None: {None}} | {kind: {kind} for kind in ERROR_KINDS}
