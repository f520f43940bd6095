"""`vidcnn doctor`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from vidcnn.commands import ClusterOption, DebugOption, JsonOption, UpOption
from vidcnn.errors import UnfitMachineError, UsageError
from vidcnn.streams import show

_HINT = "what is marked FAIL says what, and how to mend it"


def doctor(
    *,
    storage: Annotated[
        str | None,
        typer.Option(
            help="Write a small file there, read it back, and compare its time with the clock.",
            metavar="DIR|URI",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Measure this model instead of a small one with random weights.",
            metavar="NAME|BUNDLE",
            show_default=False,
        ),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Leave out the measurement, which takes five seconds.")
    ] = False,
    cluster: ClusterOption = None,
    up: UpOption = False,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Look at this machine, or at each node of a cluster: what it has, what is wrong, and how to mend it.

    The exit code is 4 where something will fail; warnings leave it at 0.
    """
    from vidcnn.cluster.address import AUTO

    if up and cluster in (None, AUTO):
        raise UsageError("--up is for clusters", "name one with --cluster")
    if cluster is not None and cluster != AUTO:
        _send(cluster, up=up, storage=storage, model=model, flags={"--quick": quick, "--json": as_json})
        return
    from vidcnn.doctor.examination import Wishes
    from vidcnn.reporting import findings as report

    wishes = Wishes(model, storage, quick)
    if cluster == AUTO:
        from vidcnn.doctor.nodes import examine_nodes

        found = examine_nodes(wishes)
        text = report.nodes_text(found.given, found.lost, report.screen_width())
        show(json.dumps(report.nodes_json(found.given, found.lost)) if as_json else text)
        num_bad = report.num_unfit(found.given, found.lost)
        if num_bad:
            raise UnfitMachineError(f"{num_bad:,} of {len(found.given) + len(found.lost):,} nodes are not fit", _HINT)
        return
    from vidcnn.doctor.examination import examine
    from vidcnn.reporting.live import LiveLine
    from vidcnn.reporting.summaries import count

    with LiveLine(enabled=not as_json) as live:
        examination = examine(wishes, lambda topic: live.begin(f"looking at: {topic}") if live.is_live else None)
    text = report.examination_text(examination, report.screen_width())
    show(json.dumps(report.examination_json(examination)) if as_json else text)
    if examination.num_failures:
        raise UnfitMachineError(f"{count(examination.num_failures, 'thing')} will fail on this machine", _HINT)


def _send(cluster: str, *, up: bool, storage: str | None, model: str | None, flags: dict[str, bool]) -> None:
    """Do the same on a cluster, as a job."""
    from vidcnn.cluster.plain_command import PlainCommand
    from vidcnn.cluster.remote import ClusterTarget, run_on_cluster
    from vidcnn.doctor.software import REQUIREMENTS, requirements
    from vidcnn.logins import holds_login

    options = {name: value for name, value in (("--storage", storage), ("--model", model)) if value is not None}
    for name, value in options.items():
        if holds_login(value):
            raise UsageError(
                f"{name} with a login is not sent to a cluster", "give the machines of the cluster rights of their own"
            )
    arguments = ["doctor", "--cluster", "auto", *(word for pair in options.items() for word in pair)]
    arguments += [flag for flag, given in flags.items() if given]
    command = PlainCommand(arguments, {REQUIREMENTS: json.dumps(requirements())})
    run_on_cluster(command, ClusterTarget(cluster, up, wait=True, show_progress=not flags["--json"]))
