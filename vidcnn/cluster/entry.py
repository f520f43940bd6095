"""What a cluster's head starts for a job: ``python -m vidcnn.cluster.entry``, in the folder that was sent along.

It stands where the command was given, marks what it prints for the one that follows it, and runs the job spec there.
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

LAUNCH_FILE = "launch.json"
SPEC_FILE = "job.json"

_NEEDED = ("av", "cv2", "pyarrow", "pydantic", "ray", "safetensors", "torch", "torchvision", "typer", "yaml")
"""Modules that are not sent along."""


def main() -> None:
    """Run the job that lies in the present folder, and exit."""
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
    if launch["parcel"] is not None:
        _take_secrets(launch["parcel"])
    from vidcnn import cli
    from vidcnn.config.job_files import read_job

    _go_to(launch["directory"], read_job(spec).model_dump())
    sys.argv = ["vidcnn", "run", str(spec), "--cluster", "auto", *launch["arguments"]]
    cli.main()


def _take_secrets(name: str) -> None:
    """Give the job the locations that were not sent along with it."""
    from vidcnn.cluster import attach_to_cluster, parcel
    from vidcnn.cluster.environment import prepare_environment
    from vidcnn.config.substitution import private_values

    attach_to_cluster()
    prepare_environment()
    private_values.update(parcel.take(name))
    if not private_values:
        _refuse("the logins of this job are not there any more", "submit it again")


def _go_to(directory: str, values: dict[str, Any]) -> None:
    """Stand where the command was given, if there is such a folder here."""
    try:
        os.chdir(directory)
    except OSError:
        relative = [path for path in _paths(values) if not os.path.isabs(path) and "://" not in path]
        if relative:
            _refuse(
                f"the cluster has no folder {directory}, from which '{relative[0]}' is meant",
                "name a path that the cluster sees, such as a shared folder or s3://BUCKET/KEY",
                code=2,
            )


def _paths(values: dict[str, Any]) -> list[str]:
    """Return the places that a job reads from and writes to."""
    given = [values.get(name) for name in ("data", "out", "root", "labels")]
    return [path for path in (*values.get("source", ()), *given) if path is not None]


def _refuse(message: str, hint: str, code: int = 1) -> None:
    print(f"vidcnn: {message}\n        {hint}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
