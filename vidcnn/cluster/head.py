"""Where a cluster's head is, and how it is started: from a `Launcher` to the way to its head over SSH.

Ray's launcher knows where machines are and which key opens them. It prints, exits and takes seconds to import, so it
runs in a process of its own: this module, as a program, prints its answer as JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from shutil import which
from typing import Any

from vidcnn.cluster.children import Child
from vidcnn.cluster.launcher import Launcher
from vidcnn.errors import VidcnnError
from vidcnn.processes import run_module, search_variables

_NOT_RUNNING = 3
"""Exit status of this module as a program when the cluster has no head."""


@dataclass(frozen=True)
class Head:
    """The way to a cluster's head.

    Attributes:
        host: Its name or address, or its number at the provider where a proxy command uses that.
        user: The user to enter it as; None leaves it to SSH.
        key: File of the private key; None leaves it to SSH.
        proxy_command: How SSH gets there, if not directly.
    """

    host: str
    user: str | None
    key: str | None
    proxy_command: str | None


def find_head(launcher: Launcher) -> Head | None:
    """Find the head of a cluster, or return None if there is none.

    Raises:
        VidcnnError: The provider does not answer.
    """
    if launcher.provider["type"] == "local" and "head_ip" in launcher.provider:
        # Ray remembers which of these clusters it has started, but on the machine that started it alone.
        provider = launcher.provider
        inside = provider.get("use_internal_ips") and not provider.get("use_external_head_ip")
        outside = None if inside else provider.get("external_head_ip")
        return _head_from(outside or provider["head_ip"], launcher.auth)
    command = [*run_module("vidcnn.cluster.head")[0], str(launcher.path)]
    with Child(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, environment=_environment(launcher)) as child:
        output = child.read().decode(errors="replace").strip()
        status = child.wait()
    if status == _NOT_RUNNING:
        return None
    lines = output.splitlines() or [f"exit status {status}"]
    if status or not lines[-1].startswith("{"):
        raise VidcnnError(
            f"{launcher.where('provider')}: the provider {launcher.provider['type']} does not show where cluster "
            f"'{launcher.name}' is: {lines[-1].strip()}",
            f"`ray get-head-ip {launcher.path.name}` has to work: check its packages and your credentials",
        )
    return Head(**json.loads(lines[-1]))


def start_cluster(launcher: Launcher, say: Callable[[str], None]) -> None:
    """Start a cluster with ``ray up``, whose output is printed on stderr as it comes.

    Args:
        launcher: The cluster.
        say: Prints what the user should know.

    Raises:
        UsageError: Its file does not say who may use it, or names files that are not here.
        VidcnnError: It does not start.
    """
    launcher.check_token()
    launcher.check_mounts()
    if not which("rsync"):
        raise VidcnnError("`ray up` needs rsync, which is not installed here", "install it, then do the same again")
    say(f"starting cluster '{launcher.name}' with `ray up`; `ray down {launcher.path.name}` ends it")
    options = ["--yes", "--no-config-cache", "--log-style=pretty"]
    command = [*run_module("ray.scripts.scripts")[0], "up", *options, str(launcher.path)]
    with Child(command, stdout=2, stderr=2, environment=_environment(launcher)) as child:
        if status := child.wait():
            raise VidcnnError(
                f"cluster '{launcher.name}' did not start: `ray up` ended with exit status {status}",
                "its output above shows why; machines that it started cost money until "
                f"`ray down {launcher.path.name}`",
            )


def _environment(launcher: Launcher) -> dict[str, str]:
    """Return where modules are found, and the variables that Ray gets unless the user sets others."""
    defaults = {
        "RAY_USAGE_STATS_ENABLED": "0",
        # The second autoscaler takes the head for one of the machines that the provider local is to start, and leaves
        # the last of them out.
        "RAY_UP_enable_autoscaler_v2": "0" if launcher.provider["type"] == "local" else "1",
    }
    return search_variables() | {name: os.environ.get(name, value) for name, value in defaults.items()}


def _head_from(host: str, auth: Mapping[str, Any]) -> Head:
    return Head(host, auth.get("ssh_user"), auth.get("ssh_private_key"), auth.get("ssh_proxy_command"))


def _main(path: str) -> int:
    """Print the way to the head of a launcher file's cluster."""
    import yaml
    from ray.autoscaler import sdk
    from ray.autoscaler._private.providers import _get_node_provider

    with open(path) as file:
        config = yaml.safe_load(file)
    try:
        host = sdk.get_head_node_ip(path)
    except RuntimeError as error:
        if "not found" not in str(error):
            raise
        return _NOT_RUNNING
    # Fills in the user, and the key that Ray made itself.
    config = sdk.bootstrap_config(config, no_config_cache=True)
    if config["auth"].get("ssh_proxy_use_node_id"):
        provider = _get_node_provider(config["provider"], config["cluster_name"])
        (host,) = provider.non_terminated_nodes({"ray-node-type": "head"})
    print(json.dumps(asdict(_head_from(host, config["auth"]))), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1]))
