"""What a run says limited it, where that was made so: a large network, slow decoding, slow storage, too little work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.faulty_s3 import faulty
from tests.pipelines.burning import burning_batches
from tests.s3 import Server
from tests.videos import write_video
from vidcnn.config import InferSpec
from vidcnn.pipelines.infer import run_inference
from vidcnn.pipelines.stages import DecodeStage
from vidcnn.reporting.bottleneck import Bottleneck

pytestmark = pytest.mark.slow


def verdict(source: str | Path, out: Path, model: str | Path, **values: Any) -> Bottleneck:
    spec = InferSpec(source=(str(source),), out=str(out), model=str(model), in_process="on", **values)
    found = run_inference(spec, show_progress=False).bottleneck
    assert found is not None, "it took too short a time"
    return found


def write(folder: Path, number: int, num_frames: int) -> Path:
    folder.mkdir()
    for index in range(number):
        write_video(folder / f"{index}.mp4", num_frames, rate=15, size=(64, 64))
    return folder


def test_a_large_network_on_small_frames_limits_a_run(tmp_path: Path) -> None:
    videos = write(tmp_path / "videos", 2, 256)
    found = verdict(videos, tmp_path / "preds", "r3d_18", weights="random", precision="fp32")
    assert found.kind == "model", found
    assert found.model_idle < 0.15


def test_a_small_network_waits_for_decoders_that_compute(
    tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DecodeStage, "work", staticmethod(burning_batches))
    found = verdict(write(tmp_path / "videos", 4, 600), tmp_path / "preds", bundle)
    assert found.kind == "decode", found
    assert found.model_idle > 0.5


def test_storage_that_answers_late_limits_a_run(tmp_path: Path, bundle: Path, s3: Server) -> None:
    data = write_video(tmp_path / "a.mp4", 60).read_bytes()
    for index in range(12):
        s3.put(f"videos/{index}.mp4", body=data)
    with faulty(s3) as slow:
        slow.fail("slow")
        found = verdict(slow.location("bkt/videos/"), tmp_path / "preds", bundle)
        assert slow.num_faults >= 12
    assert found.kind == "source", found


def test_a_single_short_video_leaves_all_decoders_but_one_without_work(
    tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DecodeStage, "work", staticmethod(burning_batches))
    found = verdict(write(tmp_path / "videos", 1, 900), tmp_path / "preds", bundle)
    assert found.kind == "mixed", found
    assert "more videos at once" in found.text


def test_a_few_clips_are_bound_by_their_start(tmp_path: Path, bundle: Path) -> None:
    found = verdict(write(tmp_path / "videos", 2, 16), tmp_path / "preds", bundle)
    assert found.kind == "start", found
