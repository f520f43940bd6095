"""The commands, a module each: parse, build a spec, call one function, print."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from vidcnn.config import Spec
from vidcnn.errors import UsageError

PredsArgument = Annotated[
    str, typer.Argument(help="The table of predictions, as --out named it.", metavar="PREDS", show_default=False)
]
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
OutOnClusterOption = Annotated[
    bool,
    typer.Option(
        "--out-on-cluster", help="Allow an --out on a disk of the cluster's head alone.", rich_help_panel="Cluster"
    ),
]
EnvOption = Annotated[
    list[str] | None,
    typer.Option(
        "--env",
        help="A variable for the job on a cluster, with its value here or another; may be repeated. Its value is not "
        "recorded.",
        metavar="NAME[=VALUE]",
        rich_help_panel="Cluster",
        show_default=False,
    ),
]
EnvFileOption = Annotated[
    Path | None,
    typer.Option(
        "--env-file",
        help="Such variables in a file, one per line.",
        metavar="FILE",
        rich_help_panel="Cluster",
        show_default=False,
    ),
]
OnFailureOption = Annotated[
    str | None,
    typer.Option(
        "--on-failure",
        help="A command for the shell where the run fails; it gets the exit code in VIDCNN_EXIT_CODE, the error in "
        "VIDCNN_ERROR, and both as JSON on stdin.",
        metavar="COMMAND",
        rich_help_panel="Output",
        show_default=False,
        envvar="VIDCNN_ON_FAILURE",
        show_envvar=False,
    ),
]
NotifyOption = Annotated[
    str | None,
    typer.Option(
        "--notify",
        help="A URL that gets a JSON object (POST) when the run ends, however it ends; also in VIDCNN_NOTIFY.",
        metavar="URL",
        rich_help_panel="Output",
        show_default=False,
        envvar="VIDCNN_NOTIFY",
        show_envvar=False,
    ),
]
Trial = Literal["--dry-run", "--estimate"]
"""What is printed about an inference job instead of running it."""


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Where a job runs, and how it is shown: options that all commands with a job have.

    Each field is an option (`vidcnn.commands.options.takes_run_options`).
    """

    cluster: ClusterOption = None
    up: UpOption = False
    no_wait: NoWaitOption = False
    out_on_cluster: OutOnClusterOption = False
    env: EnvOption = None
    env_file: EnvFileOption = None
    as_json: JsonOption = False
    quiet: QuietOption = False
    debug: DebugOption = False
    on_failure: OnFailureOption = None
    notify: NotifyOption = None


@contextmanager
def announced_run(options: RunOptions, spec: Spec | None) -> Iterator[None]:
    """Say how a run ended to those who want to know (`vidcnn.reporting.ending`).

    Args:
        options: Who wants to know.
        spec: What the block runs. None: it only reads the job, and no more than its failure is of interest.

    Raises:
        UsageError: One of the options means nothing.
    """
    if options.on_failure is None and options.notify is None:
        yield
        return
    from vidcnn.config.job_files import command_of
    from vidcnn.reporting.ending import announced
    from vidcnn.storage.uris import public_location

    out = getattr(spec, "out", None)
    about = {} if spec is None else {"command": command_of(spec), "out": None if out is None else public_location(out)}
    with announced(about, notify=options.notify, on_failure=options.on_failure, failures_only=spec is None):
        yield


def submit_if_remote(spec: Spec, options: RunOptions, trial: Trial | None = None) -> bool:
    """Run a job on a cluster, if that is wanted.

    Returns:
        False if it is still to be run, by this process.

    Raises:
        VidcnnError: It cannot be run there.
        JobFailedError: It failed there.
    """
    from vidcnn.cluster.address import AUTO

    cluster = options.cluster
    if cluster is not None and getattr(spec, "from_", None) is not None:
        raise UsageError("--from is the work of one process, and no cluster is needed", "leave --cluster out")
    if cluster is None or cluster == AUTO:
        check_local(options)
        if cluster == AUTO:
            from vidcnn.cluster import attach_to_cluster

            attach_to_cluster()
        return False
    if options.no_wait and (options.on_failure or options.notify):
        raise UsageError("--no-wait does not see how the job ends", "leave it out, or --on-failure and --notify")
    from vidcnn.cluster.remote import ClusterTarget, run_on_cluster
    from vidcnn.cluster.submission import Submission
    from vidcnn.cluster.variables import read_variables

    flags = {"--json": options.as_json, "--quiet": options.quiet, "--debug": options.debug}
    arguments = [flag for flag, given in flags.items() if given] + ([trial] if trial else [])
    submission = Submission.of(
        spec,
        arguments,
        variables=read_variables(options.env or (), options.env_file),
        out_on_cluster=options.out_on_cluster,
    )
    run_on_cluster(submission, ClusterTarget(cluster, options.up, not options.no_wait, not options.quiet))
    return True


def check_local(options: RunOptions) -> None:
    """Refuse options that mean nothing without a cluster.

    Raises:
        UsageError: There are some.
    """
    given = {
        "--up": options.up,
        "--no-wait": options.no_wait,
        "--out-on-cluster": options.out_on_cluster,
        "--env": options.env,
        "--env-file": options.env_file,
    }
    names = [name for name, value in given.items() if value]
    if names:
        raise UsageError(
            f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'} for clusters", "name one with --cluster"
        )
