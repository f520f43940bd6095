"""What is sent to a cluster for a command to run there: the program, the job spec, and a name.

The program is the vidcnn that is installed here, so that what runs there is what was tried here; its dependencies, and
the videos, must be there. The name follows from the job alone, so that the same job is not submitted twice at once.

What is sent is on the disks of the cluster, and its record is shown to all who may look at it. So locations with a
login are left out of it (`Submission.secrets`): variables are in their places, and they are sent in a way of their own,
on which `vidcnn.cluster.parcel` takes them through the memory of the head to the job alone. So do the environment
variables that the user sends along.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vidcnn.cluster import parcel, sides
from vidcnn.cluster.entry import LAUNCH_FILE, SPEC_FILE
from vidcnn.cluster.environment import QUIET_ENVIRONMENT
from vidcnn.config import Spec
from vidcnn.config.job_files import command_of
from vidcnn.config.substitution import literal, substitute
from vidcnn.errors import UsageError
from vidcnn.logins import hide_logins, holds_login
from vidcnn.storage.uris import public_location
from vidcnn.streams import STDIN
from vidcnn.version import __version__

_STOP_SECONDS = 60
"""How long a job may take to end in order; Ray itself would give it 3 seconds."""


@dataclass(frozen=True)
class Submission:
    """A command for a cluster.

    Attributes:
        command: ``infer``, ``train`` or ``evaluate``.
        values: The fields of its spec that are not at their defaults.
        arguments: Further options of the command.
        directory: Folder that relative paths are meant from.
        secrets: Locations with a login, by the names of the variables that replace them in `values`.
        variables: Environment variables for all processes of the job.
        seen: What this machine sees of the paths of the job (`vidcnn.cluster.sides`).
        out_on_cluster: Whether the output may be on a disk of the head alone.
    """

    command: str
    values: dict[str, Any]
    arguments: tuple[str, ...]
    directory: str
    secrets: dict[str, str] = field(default_factory=dict, repr=False)
    variables: dict[str, str] = field(default_factory=dict, repr=False)
    seen: dict[str, Any] = field(default_factory=dict)
    out_on_cluster: bool = False

    @classmethod
    def of(
        cls,
        spec: Spec,
        arguments: Iterable[str],
        *,
        variables: Mapping[str, str] | None = None,
        out_on_cluster: bool = False,
    ) -> Submission:
        """Return what runs a spec as if it were run here.

        Raises:
            UsageError: It reads a list on standard input.
        """
        if STDIN in getattr(spec, "source", ()):
            raise UsageError(
                "a list on standard input cannot be sent to a cluster",
                "write it to a file that the cluster sees, and name that",
            )
        secrets: dict[str, str] = {}
        values = _without_secrets(literal(spec.model_dump(mode="json", exclude_defaults=True)), secrets)
        return cls(
            command_of(spec),
            values,
            tuple(arguments),
            os.getcwd(),
            secrets,
            dict(variables or {}),
            sides.look(spec.model_dump(mode="json")),
            out_on_cluster,
        )

    @property
    def name(self) -> str:
        """What the ids of its jobs begin with; it depends on what is done, not on how it is shown nor on a login."""
        trials = [argument for argument in self.arguments if argument in ("--dry-run", "--estimate")]
        content = json.dumps([self.command, self._public_values, self.directory, *trials], sort_keys=True)
        return f"vidcnn-{self.command}-{hashlib.sha256(content.encode()).hexdigest()[:10]}"

    @property
    def metadata(self) -> dict[str, str]:
        """What the job server is to remember."""
        values = self._public_values
        place = public_location(str(values.get("out") or values.get("model") or ""))
        return {"vidcnn_version": __version__, "vidcnn_command": self.command, "vidcnn_out": place}

    @property
    def _public_values(self) -> dict[str, Any]:
        shown = {name: hide_logins(secret) for name, secret in self.secrets.items()}
        values: dict[str, Any] = _replaced(self.values, lambda text: substitute(text, shown))
        return values

    def write(
        self, folder: Path, secrets_parcel: str | None = None, variables_parcel: str | None = None
    ) -> dict[str, Any]:
        """Write the job into an empty folder, and return the runtime environment that carries it.

        Args:
            folder: An empty folder, which is sent to the cluster.
            secrets_parcel: Under which name the secrets wait for the job, if it has any.
            variables_parcel: Under which name its environment variables wait for its processes, if it has any.
        """
        (folder / SPEC_FILE).write_text(json.dumps({"command": self.command, **self.values}))
        launch = {
            "arguments": self.arguments,
            "directory": self.directory,
            "python": list(sys.version_info[:2]),
            "secrets": secrets_parcel,
            "seen": self.seen,
            "out_on_cluster": self.out_on_cluster,
        }
        (folder / LAUNCH_FILE).write_text(json.dumps(launch))
        return carried(folder, variables_parcel)


def carried(folder: Path, variables_parcel: str | None = None, more: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the runtime environment that carries a folder, and the vidcnn that is installed here.

    Args:
        folder: What is sent along.
        variables_parcel: Under which name environment variables wait for the processes of the job, if there are any.
        more: Variables that anybody may see.
    """
    environment = {**QUIET_ENVIRONMENT, "RAY_JOB_STOP_WAIT_TIME_S": str(_STOP_SECONDS), **(more or {})}
    runtime_env: dict[str, Any] = {
        "working_dir": str(folder),
        "py_modules": [str(Path(__file__).resolve().parents[1])],
        "excludes": ["**/__pycache__/"],
        "env_vars": environment,
    }
    if variables_parcel is not None:
        environment[parcel.VARIABLES] = variables_parcel
        runtime_env["worker_process_setup_hook"] = f"{parcel.__name__}.{parcel.set_variables.__name__}"
    return runtime_env


ENTRYPOINT = r"""
raylet=$(sed -n 's/^PPid:[^0-9]*//p' "/proc/$PPID/status" 2>/dev/null)
python=$(tr '\0' '\n' <"/proc/$raylet/cmdline" 2>/dev/null | sed -n 's/^--python_worker_command=\([^ ]*\) .*/\1/p')
exec "${python:-$(command -v python || command -v python3)}" -m vidcnn.cluster.entry
""".strip()
"""The command that starts a job on the head: with the Python that Ray itself uses, which need not be in the PATH."""


def _without_secrets(values: Any, secrets: dict[str, str]) -> Any:
    """Return the values of a job file with variables for locations with a login, which are added to `secrets`."""
    names: dict[str, str] = {}

    def replace(text: str) -> str:
        if not holds_login(text):
            return text
        if text not in names:
            names[text] = f"VIDCNN_LOCATION_{len(names) + 1}"
            secrets[names[text]] = substitute(text, {})
        return f"${{{names[text]}}}"

    return _replaced(values, replace)


def _replaced(value: Any, replace: Callable[[str], str]) -> Any:
    """Return JSON values with another text in the place of each text."""
    match value:
        case str():
            return replace(value)
        case list():
            return [_replaced(item, replace) for item in value]
        case dict():
            return {name: _replaced(item, replace) for name, item in value.items()}
    return value


def next_id(name: str, ids: Iterable[str]) -> str:
    """Return an id for the next job of a name.

    Args:
        name: `Submission.name`.
        ids: Ids of the jobs that there have been.
    """
    pattern = re.compile(rf"{re.escape(name)}-(\d+)")
    numbers = [int(match.group(1)) for job_id in ids if (match := pattern.fullmatch(job_id))]
    return f"{name}-{max(numbers, default=0) + 1}"


def is_of(name: str, job_id: str) -> bool:
    """Return whether a job is of a name."""
    return re.fullmatch(rf"{re.escape(name)}-\d+", job_id) is not None
