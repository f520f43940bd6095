"""`vidcnn train`."""

from __future__ import annotations

import json
from pathlib import Path

from vidcnn.commands import RunOptions, announced_run, submit_if_remote
from vidcnn.commands.options import takes_job, takes_run_options
from vidcnn.config import TrainSpec
from vidcnn.streams import show

DEFAULT_JOB = Path("jobs/train.yaml")


@takes_job(TrainSpec, command="train", default=DEFAULT_JOB)
@takes_run_options
def train(
    spec: TrainSpec,
    *,
    options: RunOptions,
) -> None:
    """Train a network on labelled videos, into a bundle that `vidcnn infer` takes.

    The same command again continues where it stopped. JOB.yaml is a job spec, whose values the options override.
    """
    with announced_run(options, spec):
        if not submit_if_remote(spec, options):
            run_train(spec, as_json=options.as_json, quiet=options.quiet)


def run_train(spec: TrainSpec, *, as_json: bool, quiet: bool) -> None:
    """Run a training job, and print how it ended."""
    from vidcnn.pipelines.train import run_training
    from vidcnn.reporting.live import say
    from vidcnn.training.report import plan_text, train_json, train_line, train_text

    result = run_training(
        spec,
        show_progress=not quiet,
        announce=lambda plan: None if quiet else say(plan_text(plan)),
    )
    show(json.dumps(train_json(result)) if as_json else (train_line if quiet else train_text)(result))
    if result.failure is not None:
        raise result.failure
