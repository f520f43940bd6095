from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.videos import write_video
from vidcnn.config import InferSpec
from vidcnn.inference.job import InferenceJob
from vidcnn.inference.runtime import Runtime
from vidcnn.models.bundle import Bundle
from vidcnn.video import batching
from vidcnn.video.batching import MAX_TASK_BYTES, decode_unit
from vidcnn.video.planning import plan_video


@pytest.fixture(scope="module")
def bundle(tiny_bundle: Path) -> Bundle:
    return Bundle.load(tiny_bundle)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for index in range(2):
        write_video(folder / f"{index}.mp4", 60)
    return folder


def job_of(bundle: Bundle, source: Path | str = "videos", **values: Any) -> InferenceJob:
    return InferenceJob(InferSpec(source=(str(source),), out="preds.parquet", **values), bundle)


def test_columns_and_settings_follow_from_what_the_user_wants(bundle: Bundle) -> None:
    job = job_of(bundle, probabilities=True, num_frames=8, stride=2, top_k=3)
    assert "probabilities" in job.schema.names
    assert "embedding" not in job.schema.names
    assert (job.row_format.labels, job.row_format.top_k) == (bundle.labels, 3)
    settings = job.settings(Runtime("fp32", False))
    assert (settings["clip_num_frames"], settings["clip_stride"], settings["top_k"]) == (8, 2, 3)
    assert (settings["precision"], settings["compiled"]) == ("fp32", False)
    assert job.bundle.sampling == job.clips.sampling


def test_the_batch_of_the_model_is_no_part_of_what_rows_are_compared_by(bundle: Bundle) -> None:
    one, other = (job_of(bundle, batch_size=size).settings(Runtime("fp32", False)) for size in (1, 8))
    assert one == other


def test_decoders_resize_as_the_model_was_meant_to_see(bundle: Bundle) -> None:
    for exact in (True, False):
        decode = job_of(bundle, decode_timeout=7).decode_settings(exact=exact, batch_size=2)
        assert (decode.exact, decode.batch_size, decode.timeout_seconds) == (exact, 16, 7)
        assert decode.preprocessing == bundle.preprocessing


def test_a_task_of_very_long_clips_holds_few_of_them(bundle: Bundle) -> None:
    long = job_of(bundle, num_frames=10_000).decode_settings(exact=False, batch_size=1)
    assert 1 <= long.batch_size < 16
    assert long.batch_size * 10_000 * bundle.preprocessing.frame_bytes <= MAX_TASK_BYTES


@pytest.mark.parametrize(("max_clips", "expected"), [(0.5, 1), (3.5, 2), (5, 4), (100, 16)])
def test_the_largest_block_of_decoded_clips_stays_under_the_bound_and_none_is_lost(
    max_clips: float, expected: int, bundle: Bundle, videos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_of(bundle, videos, num_frames=8, step=4)
    clip_bytes = 8 * bundle.preprocessing.frame_bytes
    monkeypatch.setattr(batching, "MAX_TASK_BYTES", int(max_clips * clip_bytes))
    decode = job.decode_settings(exact=False, batch_size=2)
    unit = [planned for video in job.listing for planned in plan_video(video, job.plan)]
    batches = list(decode_unit(unit, decode))
    whole = [batch.pixels if batch.pixels.base is None else batch.pixels.base for batch in batches]
    assert max(pixels.nbytes for pixels in whole) == expected * clip_bytes
    assert expected == 1 or expected <= max_clips
    assert sum(len(batch.clips) for batch in batches) == sum(planned.segment.num_clips for planned in unit)
