from __future__ import annotations

import json
import socket
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.commands import make_tiny_bundle, vidcnn
from tests.videos import write_video


@pytest.mark.ray
@pytest.mark.nightly
def test_an_estimate_foretells_the_clips_and_about_the_time_of_the_run_and_writes_nothing(tmp_path: Path) -> None:
    bundle = make_tiny_bundle(tmp_path / "tiny")
    videos = tmp_path / "videos"
    videos.mkdir()
    for index in range(8):
        write_video(videos / f"good_{index}.mp4", 20 + 37 * index, rate=15)
    write_video(videos / "short.mp4", 5, rate=15)
    (videos / "empty.mp4").write_bytes(b"")
    out = tmp_path / "preds.parquet"
    arguments = ("infer", videos, "--out", out, "--model", bundle, "--json")

    estimated = vidcnn(*arguments, "--estimate", timeout=600)
    assert estimated.returncode == 0, estimated.stderr
    estimate = json.loads(estimated.stdout)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny", "tiny.txt", "videos"]

    run = json.loads(vidcnn(*arguments, "--quiet", timeout=600).stdout)
    assert set(estimate["clips"].values()) == {run["clips"]} == {pq.read_table(out)["clip"].drop_null().length()}
    assert (estimate["videos"], estimate["videos_done"], estimate["machines"]) == (10, 0, 1)
    num_clips, num_short = run["clips"], run["run"]["short_clips"]
    assert estimate["sample"] == {
        "videos": 10, "bad_videos": 1, "clips": num_clips, "clips_planned": num_clips, "short_clips": num_short,
    }  # fmt: skip
    assert num_short == 1
    assert estimate["confinement"] == run["run"]["confinement"]
    assert list(estimate["confinement"]) == [socket.gethostname()]
    hours = run["run"]["elapsed_seconds"] / 3600
    assert hours / 4 < estimate["hours"]["best"] < hours * 4

    again = vidcnn("infer", videos, "--out", out, "--model", bundle, "--estimate", timeout=600)
    assert again.stdout == "nothing to do: all of 10 videos done\n"


def test_a_dry_run_is_no_estimate() -> None:
    result = vidcnn("infer", "anywhere", "--dry-run", "--estimate")
    assert result.returncode == 2
    assert "--dry-run and --estimate exclude each other" in result.stderr


def test_only_jobs_of_infer_can_be_estimated(tmp_path: Path) -> None:
    job = tmp_path / "job.yaml"
    job.write_text("command: train\ndata: videos\n")
    result = vidcnn("run", job, "--estimate")
    assert result.returncode == 2
    assert "--estimate is for jobs of infer" in result.stderr
