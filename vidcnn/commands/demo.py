"""`vidcnn demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vidcnn.commands import DebugOption, QuietOption


def demo(
    *,
    directory: Annotated[
        Path, typer.Option("--dir", help="Where the videos, the bundle and the table go.", metavar="DIR")
    ] = Path("vidcnn-demo"),
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """Show it at work: make small videos, classify them, and print the table."""
    from vidcnn import report
    from vidcnn.config import InferSpec
    from vidcnn.demo import make_demo_bundle, make_motion_videos
    from vidcnn.pipelines.infer import run_inference

    videos, bundle, out = directory / "videos", directory / "bundle", directory / "preds.parquet"
    labels = make_motion_videos(videos)
    typer.echo(f"made {len(list(videos.glob('*/*.mp4')))} videos of {len(labels)} kinds of motion in {videos}")
    make_demo_bundle(bundle, labels)
    typer.echo(f"made a bundle of simple3d with random weights in {bundle}: what it predicts is chance")
    spec = InferSpec(source=(str(videos),), out=str(out), model=str(bundle))
    result = run_inference(spec, show_progress=not quiet)
    typer.echo(report.infer_text(spec, result))
    typer.echo(report.first_rows_text(str(out)))
    typer.echo(f"the same on your own videos: vidcnn infer DIR --out preds.parquet --model {bundle}")
