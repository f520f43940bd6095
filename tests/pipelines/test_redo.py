"""Errors that are done again, by the command that people type."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.commands import make_tiny_bundle, vidcnn
from tests.videos import write_video

pytestmark = pytest.mark.ray

SECONDS = 600


def test_a_video_that_could_not_be_read_is_done_again_when_it_is_asked_for(tmp_path: Path) -> None:
    bundle = make_tiny_bundle(tmp_path / "tiny")
    videos, out = tmp_path / "videos", tmp_path / "preds.parquet"
    videos.mkdir()
    write_video(videos / "good.mp4", 20, rate=15)
    sound = write_video(tmp_path / "sound.mp4", 40, rate=15, first_number=7).read_bytes()
    noise = random.Random(0).randbytes(len(sound))

    def put(content: bytes) -> None:
        (videos / "other.mp4").write_bytes(content)
        os.utime(videos / "other.mp4", ns=(10**18, 10**18))

    def infer(*options: str) -> dict[str, int]:
        arguments = ("infer", *options, videos, "--out", out, "--model", bundle, "--json", "--quiet")
        result = vidcnn(*arguments, timeout=SECONDS)
        assert (result.returncode, result.stderr) == (0, "")
        found: dict[str, int] = json.loads(result.stdout)
        return found

    put(noise)
    infer()
    before = pq.read_table(out)
    assert before.filter(before["video"].to_numpy() == "other.mp4")["error_kind"].to_pylist() == ["unreadable"]
    put(sound)
    assert infer("--redo-errors", "timeout")["run"]["videos_done"] == 0
    assert pq.read_table(out).equals(before)
    assert infer("--redo-errors", "timeout", "unreadable")["run"]["videos_done"] == 1
    after = pq.read_table(out)
    assert after["error"].null_count == after.num_rows == 5
    assert after.slice(0, 2).to_pylist() == before.slice(0, 2).to_pylist()
