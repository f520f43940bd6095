"""The commands, a module each: parse, build a spec, call one function, print."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from vidcnn.config import Spec
from vidcnn.errors import UsageError

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.", rich_help_panel="Output")]
QuietOption = Annotated[
    bool, typer.Option("--quiet", "-q", help="Show no progress, and one line at the end.", rich_help_panel="Output")
]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.", rich_help_panel="Output")]
ClusterOption = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        help="Run on a cluster: a Ray cluster-launcher file, the address of a job server (http://HOST:8265), or auto "
        "within a job of one.",
        metavar="FILE|ADDRESS",
        rich_help_panel="Cluster",
        show_default=False,
    ),
]
UpOption = Annotated[
    bool, typer.Option("--up", help="Start the cluster of a launcher file if need be.", rich_help_panel="Cluster")
]
NoWaitOption = Annotated[
    bool, typer.Option("--no-wait", help="Print the job's id, and leave it to itself.", rich_help_panel="Cluster")
]
Trial = Literal["--dry-run", "--estimate"]
"""What is said of an inference job instead of doing it."""


def submit_if_remote(
    spec: Spec,
    cluster: str | None,
    *,
    up: bool,
    no_wait: bool,
    as_json: bool,
    quiet: bool,
    debug: bool,
    trial: Trial | None = None,
) -> bool:
    """Run a job on a cluster, if that is wanted.

    Returns:
        False if it is still to be run, by this process.

    Raises:
        VidcnnError: It cannot be run there.
        JobFailedError: It failed there.
    """
    from vidcnn.cluster.address import AUTO

    if cluster is None or cluster == AUTO:
        if up or no_wait:
            raise UsageError("--up and --no-wait are for clusters", "name one with --cluster")
        if cluster == AUTO:
            from vidcnn.cluster import attach_to_cluster

            attach_to_cluster()
        return False
    from vidcnn.cluster.remote import ClusterTarget, run_on_cluster
    from vidcnn.cluster.submission import Submission

    arguments = [flag for flag, given in (("--json", as_json), ("--quiet", quiet), ("--debug", debug)) if given]
    arguments += [trial] if trial else []
    run_on_cluster(Submission.of(spec, arguments), ClusterTarget(cluster, up, not no_wait, not quiet))
    return True
