"""What a run would do, counted without doing it."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Literal

import pytest

from tests.pipelines import crashing
from tests.pipelines.test_crashes import marks, spec, write_short
from vidcnn.pipelines import dataset, in_process
from vidcnn.pipelines.dry_run import plan_source

__all__ = ["marks"]

pytestmark = pytest.mark.ray


@pytest.mark.slow
@pytest.mark.parametrize("way", ["on", "off"])
def test_a_dry_run_counts_what_kills_or_stalls_its_planner_as_bad_and_all_others(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, marks: Path, way: Literal["on", "off"]
) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    for name in ("a", "plan_dies", "plan_hangs", "plan_kills", "z"):
        write_short(videos, name)
    for executor in (dataset, in_process):
        monkeypatch.setattr(executor, "CountStage", crashing.FaultyCount)
    plan = plan_source(spec(videos, bundle, tmp_path / "preds.parquet", way))
    assert (plan.num_videos_planned, plan.num_clips) == (3, 6)
    assert [(name, reason.partition(",")[0]) for name, reason in plan.bad_videos] == [
        ("plan_hangs.mp4", "reading it took too long"),
        ("plan_kills.mp4", "the process that reads it died"),
    ]
    ((machine, strength),) = plan.confinement.items()
    assert (machine, strength.is_closed) == (socket.gethostname(), True)
