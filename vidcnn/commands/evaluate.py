"""`vidcnn evaluate`."""

from __future__ import annotations

import json

from vidcnn.commands import RunOptions, announced_run, submit_if_remote
from vidcnn.commands.options import takes_run_options, takes_spec
from vidcnn.config import EvaluateSpec
from vidcnn.errors import OutputError, describe_reason
from vidcnn.streams import show


@takes_spec(EvaluateSpec)
@takes_run_options
def evaluate(
    spec: EvaluateSpec,
    *,
    options: RunOptions,
) -> None:
    """Measure a bundle on labelled videos: over clips, and over whole videos with several views of each."""
    with announced_run(options, spec):
        if not submit_if_remote(spec, options):
            run_evaluate(spec, as_json=options.as_json, quiet=options.quiet)


def run_evaluate(spec: EvaluateSpec, *, as_json: bool, quiet: bool) -> None:
    """Run an evaluation, and print what was reached."""
    from vidcnn.pipelines.evaluate import run_evaluation
    from vidcnn.reporting.live import say
    from vidcnn.training.report import evaluate_json, evaluate_line, evaluate_text, notice_lines, write_json

    result = run_evaluation(
        spec,
        show_progress=not quiet,
        announce=lambda notices: None if quiet else say("\n".join(notice_lines(notices))),
    )
    text = evaluate_line if quiet else evaluate_text
    show(json.dumps(evaluate_json(result)) if as_json else text(result))
    if spec.out is None:
        return
    try:
        write_json(spec.out, result)
    except OSError as error:
        reason = f"the figures cannot be written to '{spec.out}': {describe_reason(error)}"
        raise OutputError(reason, "stdout has them") from error
