"""Ray cluster-launcher files, which ``ray up`` takes: from the path of one to a checked `Launcher`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vidcnn.cluster.address import DASHBOARD_PORT
from vidcnn.cluster.checks import find_problems
from vidcnn.config.yaml_lines import Document, Problem, YamlError, read_yaml
from vidcnn.errors import UsageError

_TOKEN_ENDING = "/.ray/auth_token"
_AUTH_MODE = "RAY_AUTH_MODE"
"""The variable by which Ray asks for a token, or does not."""
_PORT = re.compile(r"--dashboard-port[= ](\d+)")


@dataclass(frozen=True)
class Launcher:
    """A launcher file that passed the checks.

    Attributes:
        path: The file, absolute.
        config: Its values.
    """

    path: Path
    config: Mapping[str, Any]
    _document: Document = field(repr=False)

    @property
    def name(self) -> str:
        """The cluster's name."""
        return str(self.config["cluster_name"])

    @property
    def provider(self) -> Mapping[str, Any]:
        """Where its machines come from; ``type`` names the provider."""
        provider: Mapping[str, Any] = self.config["provider"]
        return provider

    @property
    def auth(self) -> Mapping[str, Any]:
        """How its machines are entered."""
        return self.config.get("auth") or {}

    @property
    def dashboard_port(self) -> int:
        """The port of the dashboard on the head."""
        for command in self.config.get("head_start_ray_commands") or []:
            if "ray start" in command and (found := _PORT.search(command)):
                return int(found[1])
        return DASHBOARD_PORT

    @property
    def token_path(self) -> Path | None:
        """The file of this machine that is mounted as Ray's token in the cluster, or None; it may be missing."""
        for there, here in (self.config.get("file_mounts") or {}).items():
            if str(there).endswith(_TOKEN_ENDING):
                return Path(here).expanduser()
        return None

    def where(self, *place: str | int) -> str:
        """Return where a value of the file is, as ``cluster.yaml:17``."""
        return f"{self.path.name}:{self._document.line(place)}"

    def check_token(self) -> None:
        """Make sure that the file says who may use the cluster.

        Raises:
            UsageError: It neither lets Ray ask for a token nor says that it shall not.
        """
        if _AUTH_MODE not in json.dumps(self.config, default=str):
            raise UsageError(
                f"cluster '{self.name}' would take jobs from anybody who reaches it: nothing in {self.path.name} makes "
                "Ray ask for a token",
                "write RAY_AUTH_MODE=token before `ray start` in head_start_ray_commands and worker_start_ray_commands "
                "and '~/.ray/auth_token: ~/.ray/auth_token' into file_mounts; RAY_AUTH_MODE=disabled lets everybody in",
            )

    def check_mounts(self) -> None:
        """Make sure that what is to be copied to the machines is here.

        Raises:
            UsageError: A file or folder of ``file_mounts`` is missing.
        """
        for there, here in (self.config.get("file_mounts") or {}).items():
            if not Path(here).expanduser().exists():
                is_token = str(there).endswith(_TOKEN_ENDING)
                raise UsageError(
                    f"{self.where('file_mounts', there)}: there is no '{here}' to copy to {there}",
                    "`ray get-auth-token --generate` makes the token" if is_token else "correct the path, or make it",
                )


def read_launcher(path: Path) -> Launcher:
    """Read and check a launcher file.

    Raises:
        UsageError: It cannot be read, or cannot describe a cluster. The message lists all that is wrong, each with its
            line.
    """
    try:
        text = path.read_text()
    except OSError as error:
        raise UsageError(
            f"cannot read the cluster's launcher file '{path}': {error.strerror}",
            "--cluster takes a file or an address",
        ) from error
    except UnicodeDecodeError as error:
        raise UsageError(f"'{path}' is not YAML: it is not text in UTF-8") from error
    try:
        document = read_yaml(text)
    except YamlError as error:
        raise _refusal(path, error.problems) from error
    if found := find_problems(document.value):
        raise _refusal(path, sorted(Problem(document.line(place), message) for place, message in found))
    return Launcher(path.absolute(), document.value, document)


def _refusal(path: Path, problems: list[Problem]) -> UsageError:
    problems = list(dict.fromkeys(problems))
    lines = [f"{path.name}:{line}: {message}" for line, message in problems]
    if len(lines) == 1:
        return UsageError(lines[0])
    return UsageError("\n  ".join([f"{len(lines)} problems in '{path}'", *lines]))
