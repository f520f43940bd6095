"""A command without a job spec, such as `vidcnn doctor`, on its way to a cluster; see `vidcnn.cluster.submission`."""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vidcnn.cluster.entry import LAUNCH_FILE
from vidcnn.cluster.submission import carried
from vidcnn.version import __version__


class PlainCommand:
    """A command that is called on the head as it would be here. It reads and writes nothing that must be found first.

    Args:
        arguments: The command with its arguments. They are in the record of the job, so no login may be in them.
        environment: Variables for all of its processes, which anybody may see.
    """

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        self._arguments = tuple(arguments)
        self._environment = dict(environment)
        self.secrets: dict[str, str] = {}
        self.variables: dict[str, str] = {}
        # It may run several times at once.
        self.name = f"vidcnn-{self._arguments[0]}-{secrets.token_hex(5)}"
        self.metadata = {"vidcnn_version": __version__, "vidcnn_command": self._arguments[0], "vidcnn_out": ""}

    def write(
        self, folder: Path, secrets_parcel: str | None = None, variables_parcel: str | None = None
    ) -> dict[str, Any]:
        """Write the command into an empty folder, and return the runtime environment that carries it."""
        launch = {"command": self._arguments, "python": list(sys.version_info[:2]), "secrets": secrets_parcel}
        (folder / LAUNCH_FILE).write_text(json.dumps(launch))
        return carried(folder, variables_parcel, self._environment)
