"""Processes of the pipeline die, and the table stays exact."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.commands import make_tiny_bundle
from tests.pipelines import crashing
from tests.videos import write_video
from vidcnn.config import InferSpec
from vidcnn.errors import VidcnnError
from vidcnn.pipelines import counting, dataset, todo
from vidcnn.pipelines.infer import plan_source, run_inference

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_bundle(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for name in ("a", "b", "poison", "z"):
        write_video(folder / f"{name}.mp4", 40, rate=15)
    return folder


def classify(videos: Path, bundle: Path, out: Path) -> pa.Table:
    run_inference(InferSpec(source=(str(videos),), out=str(out), model=str(bundle)), show_progress=False)
    return pq.read_table(out)


@pytest.mark.slow
def test_a_video_that_kills_its_decoder_becomes_error_rows_and_the_others_are_whole(
    videos: Path, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = classify(videos, bundle, tmp_path / "whole.parquet")
    monkeypatch.setattr(dataset, "DecodeStage", crashing.CrashingDecode)
    monkeypatch.setattr(dataset, "CheckStage", crashing.CrashingCheck)
    table = classify(videos, bundle, tmp_path / "preds.parquet")
    poison = [row for row in table.to_pylist() if row["video"] == "poison.mp4"]
    others = [row for row in table.to_pylist() if row["video"] != "poison.mp4"]
    assert others == [row for row in whole.to_pylist() if row["video"] != "poison.mp4"]
    assert [(row["clip"], row["error_kind"], row["label"]) for row in poison] == [
        (clip, "decoder_crash", None) for clip in range(3)
    ]


@pytest.mark.slow
def test_a_video_that_kills_its_planner_becomes_one_error_row(
    videos: Path, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset, "PlanStage", crashing.CrashingPlan)
    monkeypatch.setattr(counting, "count_clips", crashing.crashing_count_clips)
    table = classify(videos, bundle, tmp_path / "preds.parquet")
    rows = [row for row in table.to_pylist() if row["error"] is not None]
    assert [(row["video"], row["clip"], row["error_kind"]) for row in rows] == [("poison.mp4", None, "decoder_crash")]
    assert table.num_rows == 3 * 3 + 1


@pytest.mark.slow
@pytest.mark.parametrize("num_blocks", [1, 64])
def test_a_dry_run_counts_a_video_that_kills_its_planner_as_bad_and_all_others(
    videos: Path, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_blocks: int
) -> None:
    monkeypatch.setattr(todo, "_NUM_BLOCKS", num_blocks)
    monkeypatch.setattr(dataset, "CountStage", crashing.CrashingCount)
    plan = plan_source(InferSpec(source=(str(videos),), out=str(tmp_path / "preds.parquet"), model=str(bundle)))
    assert (plan.num_videos_planned, plan.num_clips) == (3, 9)
    assert plan.bad_videos == (("poison.mp4", "the process that reads it died, again and again"),)


@pytest.mark.slow
def test_a_model_actor_that_dies_is_replaced(
    videos: Path, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIDCNN_TEST_MARKER", str(tmp_path / "died"))
    monkeypatch.setattr(dataset, "ScoreStage", crashing.OnceDyingScore)
    table = classify(videos, bundle, tmp_path / "preds.parquet")
    assert (tmp_path / "died").exists()
    assert (table.num_rows, table["error"].null_count) == (12, 12)


@pytest.mark.slow
def test_a_model_that_always_dies_is_an_error_and_no_row_blames_a_video(
    videos: Path, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset, "ScoreStage", crashing.AlwaysDyingScore)
    with pytest.raises(VidcnnError, match=r"the process that runs the model died|Ray gave up"):
        classify(videos, bundle, tmp_path / "preds")
    assert not (tmp_path / "preds").exists()
