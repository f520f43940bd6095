"""`vidcnn run`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vidcnn.commands import DebugOption, JsonOption, QuietOption


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
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """Run a job spec: the options of a command in a file."""
    from vidcnn.commands.evaluate import run_evaluate
    from vidcnn.commands.infer import run_infer
    from vidcnn.commands.train import run_train
    from vidcnn.config import EvaluateSpec, InferSpec, TrainSpec
    from vidcnn.jobs import read_job

    match read_job(job, settings or ()):
        case InferSpec() as spec:
            run_infer(spec, as_json=as_json, quiet=quiet)
        case TrainSpec() as spec:
            run_train(spec, as_json=as_json, quiet=quiet)
        case EvaluateSpec() as spec:
            run_evaluate(spec, as_json=as_json, quiet=quiet)
