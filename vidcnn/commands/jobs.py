"""`vidcnn jobs`."""

from __future__ import annotations

import json
import sys
import time
from typing import Annotated, Any

import typer

from vidcnn.commands import DebugOption, JsonOption
from vidcnn.safe_text import one_line
from vidcnn.streams import show

PlaceOption = Annotated[
    str,
    typer.Option(
        "--cluster",
        help="A Ray cluster-launcher file, or the address of a job server (http://HOST:8265).",
        metavar="FILE|ADDRESS",
        show_default=False,
    ),
]
JobArgument = Annotated[str, typer.Argument(help="Id of the job.", metavar="JOB", show_default=False)]
LinesOption = Annotated[
    int | None,
    typer.Option(
        "--lines", "-n", help="Only so many of the last lines.", min=0, rich_help_panel="Output", show_default=False
    ),
]
FollowOption = Annotated[
    bool,
    typer.Option("--follow", "-f", help="Continue until the job ends, and end as it does.", rich_help_panel="Output"),
]

app = typer.Typer(
    name="jobs",
    help="List, follow and stop the jobs of a cluster.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)


@app.command("list")
def list_jobs(*, cluster: PlaceOption, as_json: JsonOption = False, debug: DebugOption = False) -> None:
    """List the jobs, the newest first."""
    from vidcnn.cluster.remote import connect
    from vidcnn.reporting.summaries import table_text

    with connect(cluster) as server:
        jobs = server.jobs()
    if as_json:
        show(json.dumps([_values(job) for job in jobs]))
        return
    rows = [
        (job.id, job.outcome, _when(job.started), _how_long(job), job.metadata.get("vidcnn_out", "")) for job in jobs
    ]
    show(table_text(("job", "status", "started", "took", "output"), rows) if rows else "no jobs")


@app.command()
def status(job: JobArgument, *, cluster: PlaceOption, as_json: JsonOption = False, debug: DebugOption = False) -> None:
    """Print the state of a job."""
    from vidcnn.cluster.follow import last_progress
    from vidcnn.cluster.remote import connect

    with connect(cluster) as server:
        state = server.find(job)
        progress = last_progress(server.logs(job)) if state.status == "RUNNING" else None
    if as_json:
        show(json.dumps(_values(state) | {"progress": progress}))
        return
    text = f"{state.id}: {state.outcome}"
    if state.exit_code is not None:
        text += f" (exit code {state.exit_code})"
    if state.started:
        text += f", started {_when(state.started)}, {'took' if state.is_over else 'runs for'} {_how_long(state)}"
    show(text)
    if progress is not None:
        show(progress)
    if state.message and state.status not in ("RUNNING", "SUCCEEDED"):
        show(state.message)


@app.command()
def logs(
    job: JobArgument,
    *,
    cluster: PlaceOption,
    follow: FollowOption = False,
    lines: LinesOption = None,
    debug: DebugOption = False,
) -> None:
    """Print the output of a job: results on stdout, the rest on stderr, and how far it is."""
    from vidcnn.cluster import follow as following
    from vidcnn.cluster.remote import connect, end
    from vidcnn.reporting.live import LiveLine

    with connect(cluster) as server:
        if follow:
            end(following.follow(server, job, show_progress=True))
            return
        text = server.logs(job)
        printer = following.JobPrinter(LiveLine(enabled=False), num_lines=lines)
        printer.take(text)
        printer.end()
        if server.find(job).status == "RUNNING" and (progress := following.last_progress(text)) is not None:
            print(one_line(progress), file=sys.stderr)


@app.command()
def stop(job: JobArgument, *, cluster: PlaceOption, debug: DebugOption = False) -> None:
    """Stop a job in order: what was committed stays, and the same command continues."""
    from vidcnn.cluster.remote import connect

    with connect(cluster) as server:
        was_running = server.stop(job)
    show(f"{job}: {'stopping' if was_running else 'had ended before'}")


def _values(job: Any) -> dict[str, Any]:
    return {
        "id": job.id,
        "status": job.status,
        "outcome": job.outcome,
        "exit_code": job.exit_code,
        "started": job.started,
        "ended": job.ended,
        "message": job.message,
        "metadata": job.metadata,
    }


def _when(seconds: float | None) -> str:
    return "not yet" if not seconds else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def _how_long(job: Any) -> str:
    from vidcnn.reporting.progress import duration_text

    return duration_text((job.ended or time.time()) - job.started) if job.started else ""
