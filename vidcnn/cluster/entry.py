"""What a cluster's head starts for a job: ``python -m vidcnn.cluster.entry``, in the folder that was sent along.

It runs the job spec in place of the command, on the cluster, and marks what it prints for the command that follows it.
"""

from __future__ import annotations

import json
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from vidcnn import interrupts
from vidcnn.reporting import relay
from vidcnn.safe_text import message_text

LAUNCH_FILE = "launch.json"
SPEC_FILE = "job.json"

_NEEDED = ("av", "cv2", "pyarrow", "pydantic", "ray", "safetensors", "torch", "torchvision", "typer", "yaml")
"""Modules that are not sent along."""


def main() -> None:
    """Run the job that is in the present folder, and exit."""
    interrupts.own_process()
    launch = json.loads(Path(LAUNCH_FILE).read_text())
    spec = Path(SPEC_FILE).resolve()
    here, there = ".".join(map(str, launch["python"])), ".".join(map(str, sys.version_info[:2]))
    if here != there:
        _refuse(
            f"the cluster runs Python {there}, and this command Python {here}",
            "use the same minor version of Python in both places",
        )
    relay.mark_output()
    relay.say_ready()
    if missing := [name for name in _NEEDED if find_spec(name) is None]:
        _refuse(
            f"the cluster has no module '{missing[0]}'",
            "install what it needs on all machines, as the setup_commands of cluster.yaml and the Dockerfile do",
        )
    _take_parcels(launch["secrets"])
    try:
        _run(spec, launch)
    finally:
        from vidcnn.cluster import parcel

        parcel.remove_variables()


def _run(spec: Path, launch: dict[str, Any]) -> None:
    from vidcnn import cli
    from vidcnn.config.job_files import read_job

    if (command := launch.get("command")) is not None:  # one without a job spec
        sys.argv = ["vidcnn", *command]
        cli.main()
        return
    _stand_where_it_was_given(read_job(spec).model_dump(mode="json"), launch)
    sys.argv = ["vidcnn", "run", str(spec), "--cluster", "auto", *launch["arguments"]]
    cli.main()


def _take_parcels(secrets: str | None) -> None:
    """Give the job what was not sent along with it: locations, and environment variables."""
    from vidcnn.cluster import attach_to_cluster, parcel
    from vidcnn.cluster.environment import prepare_environment
    from vidcnn.config.substitution import private_values

    if secrets is None and parcel.VARIABLES not in os.environ:
        return
    attach_to_cluster()
    prepare_environment()
    if secrets is not None:
        private_values.update(parcel.take(secrets))
        if not private_values:
            _refuse("the logins of this job are not there any more", "submit it again")
    if not parcel.set_variables(os.environ["RAY_ADDRESS"]):
        _refuse("the variables of this job (--env) are not there any more", "submit it again")


def _stand_where_it_was_given(values: dict[str, Any], launch: dict[str, Any]) -> None:
    """Go to the folder where the command was given, if it is here, and see that the paths of the job are here, too."""
    from vidcnn.cluster import sides
    from vidcnn.errors import UsageError

    directory, seen = launch["directory"], launch["seen"]
    try:
        os.chdir(directory)
    except OSError:
        out = sides.local_out(values)
        given = [*sides.paths_read(values), *([] if out is None else [out])]
        relative = [path for path in given if not os.path.isabs(path)]
        if relative:
            _refuse(
                f"the cluster has no folder {directory}, from which '{relative[0]}' is meant",
                "name a path that the cluster sees, such as a shared folder or s3://BUCKET/KEY",
                code=UsageError.exit_code,
            )
    is_trial = not {"--dry-run", "--estimate"}.isdisjoint(launch["arguments"])
    try:
        sides.check(values, seen, writes=not is_trial and not launch["out_on_cluster"])
    except UsageError as error:
        _refuse(error.message, error.hint, error.exit_code)


def _refuse(message: str, hint: str, code: int = 1) -> None:
    print(f"vidcnn: {message_text(message)}\n        {message_text(hint)}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
