"""What is sent to a cluster for a command to run there: the program, the job spec, and a name.

The program is the vidcnn that is installed here, so that what runs there is what was tried here; its dependencies, and
the videos, must be there. The name follows from the job alone, so that the same job is not submitted twice at once.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import vidcnn
from vidcnn.cluster.entry import LAUNCH_FILE, SPEC_FILE
from vidcnn.cluster.environment import QUIET_ENVIRONMENT
from vidcnn.config import Spec
from vidcnn.jobs import command_of
from vidcnn.substitution import literal

_STOP_SECONDS = 60
"""How long a job may take to end in good order; Ray itself would give it 3 seconds."""


@dataclass(frozen=True)
class Submission:
    """A command for a cluster.

    Attributes:
        command: ``infer``, ``train`` or ``evaluate``.
        values: The fields of its spec that are not at their defaults.
        arguments: Further options of the command.
        directory: Folder that relative paths are meant from.
    """

    command: str
    values: dict[str, Any]
    arguments: tuple[str, ...]
    directory: str

    @classmethod
    def of(cls, spec: Spec, arguments: Iterable[str]) -> Submission:
        """Return what runs a spec as if it were run here."""
        values = spec.model_dump(mode="json", exclude_defaults=True)
        return cls(command_of(spec), values, tuple(arguments), os.getcwd())

    @property
    def name(self) -> str:
        """What the ids of its jobs begin with; it depends on what is done, not on how it is shown."""
        trials = [argument for argument in self.arguments if argument in ("--dry-run", "--estimate")]
        content = json.dumps([self.command, self.values, self.directory, *trials], sort_keys=True)
        return f"vidcnn-{self.command}-{hashlib.sha256(content.encode()).hexdigest()[:10]}"

    @property
    def metadata(self) -> dict[str, str]:
        """What the job server is to remember."""
        values = self.values
        place = values.get("out") or values.get("model") or ""
        return {"vidcnn_version": vidcnn.__version__, "vidcnn_command": self.command, "vidcnn_out": str(place)}

    def write(self, folder: Path) -> dict[str, Any]:
        """Write the job into an empty folder, and return the runtime environment that carries it."""
        (folder / SPEC_FILE).write_text(json.dumps({"command": self.command, **literal(self.values)}))
        launch = {"arguments": self.arguments, "directory": self.directory, "python": list(sys.version_info[:2])}
        (folder / LAUNCH_FILE).write_text(json.dumps(launch))
        return {
            "working_dir": str(folder),
            "py_modules": [os.path.dirname(os.path.abspath(vidcnn.__file__))],
            "excludes": ["**/__pycache__/"],
            "env_vars": {**QUIET_ENVIRONMENT, "RAY_JOB_STOP_WAIT_TIME_S": str(_STOP_SECONDS)},
        }


ENTRYPOINT = r"""
raylet=$(sed -n 's/^PPid:[^0-9]*//p' "/proc/$PPID/status" 2>/dev/null)
python=$(tr '\0' '\n' <"/proc/$raylet/cmdline" 2>/dev/null | sed -n 's/^--python_worker_command=\([^ ]*\) .*/\1/p')
exec "${python:-$(command -v python || command -v python3)}" -m vidcnn.cluster.entry
""".strip()
"""The command that starts a job on the head: with the Python that Ray itself uses, which need not be in the PATH."""


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
    """Tell whether a job is of a name."""
    return re.fullmatch(rf"{re.escape(name)}-\d+", job_id) is not None
