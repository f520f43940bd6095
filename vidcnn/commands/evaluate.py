"""`vidcnn evaluate`."""

from __future__ import annotations

import json

import typer

from vidcnn.commands import DebugOption, JsonOption, QuietOption
from vidcnn.config import EvaluateSpec
from vidcnn.options import takes_spec


@takes_spec(EvaluateSpec)
def evaluate(
    spec: EvaluateSpec,
    *,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """Measure a bundle on labelled videos: over clips, and over whole videos with several views of each."""
    run_evaluate(spec, as_json=as_json, quiet=quiet)


def run_evaluate(spec: EvaluateSpec, *, as_json: bool, quiet: bool) -> None:
    """Run an evaluation, and print what was reached."""
    from vidcnn.pipelines.evaluate import run_evaluation
    from vidcnn.training.report import evaluate_json, evaluate_text, write_json

    result = run_evaluation(spec, show_progress=not quiet)
    if spec.out is not None:
        write_json(spec.out, result)
    typer.echo(json.dumps(evaluate_json(result)) if as_json else evaluate_text(result))
