"""`vidcnn run`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vidcnn.commands import RunOptions, announced_run, submit_if_remote
from vidcnn.commands.infer import DryRunOption, EstimateOption, choose_trial, run_infer
from vidcnn.commands.options import takes_run_options
from vidcnn.errors import UsageError


@takes_run_options
def run(
    job: Annotated[Path, typer.Argument(help="A job spec, such as jobs/infer.yaml.", show_default=False)],
    *,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="A value in place of the job's, such as limit=20; may be repeated, also for one list.",
            metavar="NAME=VALUE",
        ),
    ] = None,
    dry_run: DryRunOption = False,
    estimate: EstimateOption = False,
    options: RunOptions,
) -> None:
    """Run a job spec: the options of a command in a file."""
    from vidcnn.commands.evaluate import run_evaluate
    from vidcnn.commands.scan import run_scan_job
    from vidcnn.commands.train import run_train
    from vidcnn.config import EvaluateSpec, InferSpec, ScanSpec, TrainSpec
    from vidcnn.config.job_files import read_job

    with announced_run(options, None):
        spec = read_job(job, settings or ())
    with announced_run(options, spec):
        trial = choose_trial(dry_run=dry_run, estimate=estimate)
        if trial and not isinstance(spec, InferSpec):
            raise UsageError(f"{trial} is for jobs of infer, and '{job}' is another", "leave it out")
        if submit_if_remote(spec, options, trial):
            return
        as_json, quiet = options.as_json, options.quiet
        match spec:
            case InferSpec():
                run_infer(spec, as_json=as_json, quiet=quiet, trial=trial)
            case TrainSpec():
                run_train(spec, as_json=as_json, quiet=quiet)
            case EvaluateSpec():
                run_evaluate(spec, as_json=as_json, quiet=quiet)
            case ScanSpec():
                run_scan_job(spec, as_json=as_json, quiet=quiet)
