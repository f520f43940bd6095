"""Processes of the pipeline die, hang and err, and the table stays exact."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.pipelines import crashing
from tests.videos import write_video
from vidcnn.config import InferSpec
from vidcnn.errors import InternalError, VidcnnError
from vidcnn.pipelines import counting, dataset, in_process
from vidcnn.pipelines.infer import run_inference
from vidcnn.video.cell import this_cell

pytestmark = pytest.mark.ray

NUM_CLIPS = 99
"""Clips of a long video: seven batches of 16 in one segment."""


@pytest.fixture
def marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "marks"
    folder.mkdir()
    monkeypatch.setenv(crashing.MARKS, str(folder))
    this_cell(yields=False).close()  # its next child sees the variable
    return folder


def write_long(folder: Path, name: str) -> None:
    write_video(folder / f"{name}.mp4", 200, rate=15, options={"preset": "ultrafast"})


def write_short(folder: Path, name: str) -> None:
    write_video(folder / f"{name}.mp4", 6, rate=15, options={"preset": "ultrafast"})


def spec(videos: Path, bundle: Path, out: Path, in_process: Literal["on", "off"]) -> InferSpec:
    return InferSpec(
        source=(str(videos),),
        out=str(out),
        model=str(bundle),
        num_frames=4,
        stride=1,
        step=2,
        decode_timeout=5.0,
        in_process=in_process,
    )


def classify(videos: Path, bundle: Path, out: Path, in_process: Literal["on", "off"] = "off") -> pa.Table:
    run_inference(spec(videos, bundle, out, in_process), show_progress=False)
    return pq.read_table(out)


def fault(monkeypatch: pytest.MonkeyPatch) -> None:
    for executor in (dataset, in_process):
        monkeypatch.setattr(executor, "PlanStage", crashing.FaultyPlan)
    monkeypatch.setattr(dataset, "DecodeStage", crashing.FaultyDecode)
    monkeypatch.setattr(in_process, "DecodeStage", crashing.FaultyCellDecode)
    monkeypatch.setattr(counting, "count_clips", crashing.faulty_count_clips)


def rows_of(table: pa.Table, name: str) -> list[tuple[int | None, str | None]]:
    return [(row["clip"], row["error_kind"]) for row in table.to_pylist() if row["video"] == f"{name}.mp4"]


@pytest.mark.parametrize("in_process", ["on", "off"])
def test_whatever_dies_or_hangs_at_whatever_batch_each_clip_has_one_row(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, marks: Path, in_process: Literal["on", "off"]
) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    dying = [f"decode_dies_after_{number}" for number in (0, 1, 3, 6)]
    dying += ["plan_dies"] if in_process == "on" else ["task_dies_after_1", "task_dies_after_3", "plan_dies"]
    for name in (*dying, "good"):
        write_long(videos, name)
    for name in ("decode_kills", "decode_hangs", "plan_kills", "plan_hangs", "small"):
        write_short(videos, name)
    undisturbed = classify(videos, bundle, tmp_path / "undisturbed.parquet", "on")
    assert undisturbed["error"].null_count == undisturbed.num_rows

    fault(monkeypatch)
    table = classify(videos, bundle, tmp_path / "preds.parquet", in_process)
    assert len(crashing.marks_in(marks)) == len(dying)  # each of them did die
    bad = ("decode_kills", "decode_hangs", "plan_kills", "plan_hangs")
    assert rows_of(table, "decode_kills") == [(0, "decoder_crash"), (1, "decoder_crash")]
    assert rows_of(table, "decode_hangs") == [(0, "timeout"), (1, "timeout")]
    assert rows_of(table, "plan_kills") == [(None, "decoder_crash")]
    assert rows_of(table, "plan_hangs") == [(None, "timeout")]

    def others(table: pa.Table) -> list[dict[str, object]]:
        return [row for row in table.to_pylist() if row["video"].removesuffix(".mp4") not in bad]

    assert others(table) == others(undisturbed)
    assert Counter(row["video"] for row in others(table)) == {
        **{f"{name}.mp4": NUM_CLIPS for name in (*dying, "good")},
        "small.mp4": 2,
    }


@pytest.mark.parametrize("in_process", ["on", "off"])
@pytest.mark.parametrize("stage", ["plan", "decode"])
def test_a_fault_of_the_program_ends_the_run_with_its_own_message_and_blames_no_video(
    bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    marks: Path,
    stage: str,
    in_process: Literal["on", "off"],
) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    write_short(videos, "a_good")
    write_short(videos, f"{stage}_errs")
    fault(monkeypatch)
    with pytest.raises(InternalError, match=r"unexpected TypeError while .*: an integer is required") as info:
        classify(videos, bundle, tmp_path / "preds", in_process)
    assert f"faulty_{'plans' if stage == 'plan' else 'batches'}" in "".join(info.value.__notes__)
    committed = pq.read_table(tmp_path / "preds").to_pylist() if (tmp_path / "preds").exists() else []
    assert {row["video"] for row in committed} <= {"a_good.mp4"}


@pytest.mark.slow
def test_a_model_actor_that_dies_is_replaced(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, marks: Path
) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    for name in "abc":
        write_long(videos, name)
    monkeypatch.setattr(dataset, "ScoreStage", crashing.OnceDyingScore)
    table = classify(videos, bundle, tmp_path / "preds.parquet")
    assert crashing.marks_in(marks) == ["score"]
    assert [rows_of(table, name) for name in "abc"] == [[(clip, None) for clip in range(NUM_CLIPS)]] * 3


@pytest.mark.slow
def test_a_model_that_always_dies_is_an_error_and_no_row_blames_a_video(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    write_short(videos, "a")
    monkeypatch.setattr(dataset, "ScoreStage", crashing.AlwaysDyingScore)
    with pytest.raises(VidcnnError, match=r"died again and again, last over clips of a\.mp4|Ray gave up"):
        classify(videos, bundle, tmp_path / "preds")
    assert not (tmp_path / "preds").exists()
