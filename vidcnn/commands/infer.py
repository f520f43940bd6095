"""`vidcnn infer`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from vidcnn.commands import RunOptions, Trial, announced_run, submit_if_remote
from vidcnn.commands.options import takes_run_options, takes_spec
from vidcnn.config import InferSpec
from vidcnn.errors import CONTINUES, UsageError
from vidcnn.streams import show

DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Print what would be done, and do nothing.", rich_help_panel="Run")
]
EstimateOption = Annotated[
    bool,
    typer.Option(
        "--estimate",
        help="Print how long it will take, from a sample of the source, and do nothing.",
        rich_help_panel="Run",
    ),
]


@takes_spec(InferSpec)
@takes_run_options
def infer(
    spec: InferSpec,
    *,
    dry_run: DryRunOption = False,
    estimate: EstimateOption = False,
    options: RunOptions,
) -> None:
    """Classify videos clip by clip, into a Parquet table with a row for every clip and every bad video.

    The same command again does only what is new, changed or not finished.
    """
    with announced_run(options, spec):
        trial = choose_trial(dry_run=dry_run, estimate=estimate)
        if not submit_if_remote(spec, options, trial):
            run_infer(spec, as_json=options.as_json, quiet=options.quiet, trial=trial)


def choose_trial(*, dry_run: bool, estimate: bool) -> Trial | None:
    """Return what is printed about a job instead of running it; None for a run.

    Raises:
        UsageError: Both are wanted.
    """
    if dry_run and estimate:
        raise UsageError("--dry-run and --estimate exclude each other", "a dry run plans every video, an estimate some")
    return "--dry-run" if dry_run else "--estimate" if estimate else None


def run_infer(spec: InferSpec, *, as_json: bool, quiet: bool, trial: Trial | None = None) -> None:
    """Run an inference job and print how it ended, or print what it would do."""
    from vidcnn.interrupts import interruptible
    from vidcnn.predictions.output_storage import check_free
    from vidcnn.reporting import summaries as report
    from vidcnn.reporting.run_report import reported

    if trial and spec.from_ is not None:
        raise UsageError(f"{trial} is for videos, and with --from none is read", "leave it out: it takes seconds")
    if trial == "--dry-run":
        from vidcnn.pipelines.dry_run import plan_source

        plan = plan_source(spec)
        show(json.dumps(report.plan_json(plan)) if as_json else report.plan_text(spec, plan))
        return
    if trial == "--estimate":
        from vidcnn.pipelines.estimate import estimate_source

        found = estimate_source(spec)
        show(json.dumps(report.estimate_json(found)) if as_json else report.estimate_text(spec, found))
        return
    with reported(spec) as record, interruptible(CONTINUES):
        check_free(spec.out)  # before torch and Ray are loaded
        if spec.from_ is not None:
            from vidcnn.pipelines.rescore import run_rescoring as run_it
        else:
            from vidcnn.pipelines.infer import run_inference as run_it

        result = run_it(spec, show_progress=not quiet, record=record)
        text = report.infer_line if quiet else report.infer_text
        show(json.dumps(report.infer_json(spec, result)) if as_json else text(spec, result))
        report.check_outcome(spec, result)
