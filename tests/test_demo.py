from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vidcnn.demo import DIRECTIONS, NUM_FRAMES, SIZE, make_motion_videos, motion_frames, training_spec, video_table
from vidcnn.training.batch import Worker
from vidcnn.training.data import read_data
from vidcnn.training.feed import DirectLoader, Feed
from vidcnn.training.loop import Trainer
from vidcnn.training.plan import plan_training
from vidcnn.training.validation import validate


def test_a_video_is_the_same_square_moved_on() -> None:
    frames = motion_frames((0, 1), np.random.default_rng(3))
    assert frames.shape == (NUM_FRAMES, SIZE, SIZE, 3)
    bright = (frames.min(axis=3) >= 150).any(axis=1)  # (T, W): columns of the square
    for earlier, later in pairwise(bright):
        assert np.array_equal(np.roll(earlier, 3), later)


def test_videos_that_are_there_stay(tmp_path: Path) -> None:
    assert make_motion_videos(tmp_path, videos_per_class=1) == tuple(DIRECTIONS)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/*.mp4")}
    assert len(before) == 8
    make_motion_videos(tmp_path, videos_per_class=1)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/*.mp4")} == before


def test_a_video_is_of_the_class_with_the_highest_scores_over_its_clips(tmp_path: Path) -> None:
    rows = {
        "video": ["up/a.mp4", "up/a.mp4", "up/a.mp4", "left/b.mp4"],
        "label": ["down", "up", "up", "left"],
        "score": [0.9, 0.6, 0.5, 0.7],
    }
    pq.write_table(pa.table(rows), tmp_path / "preds.parquet")
    left, up = video_table(str(tmp_path / "preds.parquet"))
    assert (left.truth, left.label, left.share) == ("left", "left", 1.0)
    assert (up.truth, up.label) == ("up", "up")
    assert up.share == pytest.approx(1.1 / 2.0)


def top1_on_unseen_videos(tmp_path: Path, num_frames: int) -> float:
    """Train as the demo does, in this process, and return what is reached on 32 videos of another seed."""
    make_motion_videos(tmp_path / "train", videos_per_class=12)
    make_motion_videos(tmp_path / "val", videos_per_class=4, seed=1)
    changes = {"num_frames": num_frames, "cache_gb": 0}
    spec = training_spec(tmp_path, tmp_path / "run").model_copy(update=changes)
    plan = plan_training(spec, read_data(spec), Path("run"), num_workers=1, precision="fp32")
    assert (len(plan.data.train), len(plan.data.val)) == (96, 32)
    trainer = Trainer(plan.bundle, plan.recipe, Worker())
    feed = Feed(plan.data, DirectLoader(plan.data), Worker(), plan.recipe.batch_size)
    for batch, _ in feed.batches(range(plan.recipe.num_steps)):
        trainer.train_step(batch)
    reached = validate(trainer, feed, Worker(), plan.data.val, plan.data.labels, multi_label=False)
    assert reached is not None
    assert reached.videos.top1 is not None
    return reached.videos.top1


@pytest.mark.nightly
def test_motion_is_learnt_and_a_single_frame_tells_nothing(tmp_path: Path) -> None:
    assert top1_on_unseen_videos(tmp_path, 16) >= 0.98
    assert top1_on_unseen_videos(tmp_path, 1) < 0.35  # by chance 0.125, give or take 0.06
