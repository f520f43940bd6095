"""`vidcnn demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vidcnn.commands import DebugOption, QuietOption
from vidcnn.streams import show

_NUM_ROWS = 8


def demo(
    *,
    directory: Annotated[
        Path, typer.Option("--dir", help="Folder for the videos, the run and the table.", metavar="DIR")
    ] = Path("vidcnn-demo"),
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """Show it at work: make small videos, train on them, classify others, and print the table."""
    from vidcnn.config import InferSpec
    from vidcnn.demo import make_motion_videos, training_spec, video_table
    from vidcnn.pipelines.infer import run_inference
    from vidcnn.pipelines.train import run_training
    from vidcnn.reporting.summaries import infer_text, table_text
    from vidcnn.training.report import train_text

    videos, unseen, out = directory / "videos", directory / "unseen", directory / "preds.parquet"
    labels = make_motion_videos(videos, videos_per_class=12)
    make_motion_videos(unseen, videos_per_class=4, seed=1)
    show(f"{len(labels)} kinds of motion: {12 * len(labels)} videos in {videos}, {4 * len(labels)} in {unseen}")

    show("\ntraining simple3d with two workers")
    trained = run_training(training_spec(videos, directory / "run"), show_progress=not quiet)
    show(train_text(trained))
    if trained.failure is not None:
        raise trained.failure

    show("\nclassifying the videos that it has not seen")
    spec = InferSpec(source=(str(unseen),), out=str(out), model=trained.bundle)
    show(infer_text(spec, run_inference(spec, show_progress=not quiet)))
    results = video_table(str(out))
    shown = results[:: max(1, len(results) // _NUM_ROWS)][:_NUM_ROWS]
    rows = [(result.video, result.truth, result.label, f"{result.share:.0%}") for result in shown]
    show("\n" + table_text(("video", "motion", "predicted", "sure"), rows, right=("sure",)))
    num_right = sum(result.label == result.truth for result in results)
    show(f"\n{num_right} of {len(results)} videos are classified right; by chance it would be 1 of {len(labels)}")
    show(f"your own videos: vidcnn train --data DIR --out RUN; vidcnn infer DIR --model RUN/bundle --out {out.name}")
