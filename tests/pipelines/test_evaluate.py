from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.commands import make_tiny_bundle, vidcnn
from tests.videos import write_video
from vidcnn.errors import OutputError
from vidcnn.pipelines.evaluate import _check_writable, _Progress


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for index, label in enumerate(("run", "jump", "fall", "rest")):
        (folder / label).mkdir()
        write_video(folder / label / "a.mp4", 40, rate=15, first_number=100 * index)
    (folder / "run" / "broken.mp4").write_bytes(b"no video")
    return folder


@pytest.mark.ray
def test_every_video_is_scored_over_its_views_or_named_as_bad(videos: Path, tmp_path: Path) -> None:
    bundle = make_tiny_bundle(tmp_path / "tiny")
    out = tmp_path / "figures.json"
    arguments = ("evaluate", videos, "--model", bundle, "--clips=2", "--crops=3", "--precision=fp32")
    done = vidcnn(*arguments, "--out", out, "--json", "--quiet", timeout=600)
    assert (done.returncode, done.stderr) == (0, "")
    figures = json.loads(out.read_text())
    assert json.loads(done.stdout)["split"] == figures["split"] == "all"
    assert figures["clips"]["num_samples"] == 4 * 2 * 3
    assert figures["videos"]["num_samples"] == 4
    assert [bad["video"] for bad in figures["bad_videos"]] == ["run/broken.mp4"]


def test_a_place_that_cannot_be_written_is_refused_before_anything_is_worked_out(tmp_path: Path) -> None:
    _check_writable(str(tmp_path / "figures.json"))
    for place in (tmp_path, tmp_path / "no" / "figures.json"):
        with pytest.raises(OutputError, match="cannot write to"):
            _check_writable(str(place))
    assert os.listdir(tmp_path) == []


def test_progress_counts_videos() -> None:
    assert _Progress(2000, 500).describe() == (0.25, "500/2,000 videos")
