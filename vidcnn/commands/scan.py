"""`vidcnn scan`."""

from __future__ import annotations

import json

from vidcnn.commands import RunOptions, announced_run, submit_if_remote
from vidcnn.commands.options import takes_run_options, takes_spec
from vidcnn.config import ScanSpec
from vidcnn.errors import CONTINUES
from vidcnn.streams import show


@takes_spec(ScanSpec)
@takes_run_options
def scan(
    spec: ScanSpec,
    *,
    options: RunOptions,
) -> None:
    """Check a collection of videos: what they are, what is wrong with them, which are the same.

    It writes a Parquet table with a row for every video, and prints a summary. The same command again does only what is
    new, changed or not finished.
    """
    with announced_run(options, spec):
        if not submit_if_remote(spec, options):
            run_scan_job(spec, as_json=options.as_json, quiet=options.quiet)


def run_scan_job(spec: ScanSpec, *, as_json: bool, quiet: bool) -> None:
    """Run a scan, and print what it came to."""
    from vidcnn.interrupts import interruptible
    from vidcnn.predictions.output_storage import check_free

    with interruptible(CONTINUES):
        check_free(spec.out)
        from vidcnn.pipelines.scan import run_scan
        from vidcnn.reporting import scan_text as text
        from vidcnn.reporting.summaries import check_outcome

        report = run_scan(spec, show_progress=not quiet)
        shown = text.scan_line if quiet else text.scan_text
        show(json.dumps(text.scan_json(spec, report)) if as_json else shown(spec, report))
        check_outcome(spec, report)
