"""How SSH is called to reach a head, and what its last messages mean."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from vidcnn.cluster.head import Head
from vidcnn.cluster.launcher import Launcher
from vidcnn.errors import VidcnnError

_OPTIONS = {
    "BatchMode": "yes",  # asks nothing: there may be nobody to answer
    "ConnectTimeout": "15",
    "ControlMaster": "no",
    "ControlPath": "none",
    "ExitOnForwardFailure": "yes",
    "ForwardAgent": "no",
    "ForwardX11": "no",
    "LogLevel": "INFO",
    "PermitLocalCommand": "no",
    "ServerAliveCountMax": "3",
    "ServerAliveInterval": "5",
    "StrictHostKeyChecking": "accept-new",
}
_CHATTER = re.compile(r"^(Warning: Permanently added|[\s@]*$|debug\d:|\*\* )")


class _Meaning(NamedTuple):
    words: re.Pattern[str]
    what: str
    hint: str


_MEANINGS = tuple(
    _Meaning(re.compile(words), what, hint)
    for words, what, hint in (
        (r"UNPROTECTED PRIVATE KEY|bad permissions", "cannot be entered", "chmod 600 {key}"),
        (
            r"Permission denied",
            "does not let you in",
            "check auth.ssh_user and auth.ssh_private_key; a key with a passphrase has to be in the agent (ssh-add)",
        ),
        (
            r"Host key verification failed",
            "shows another host key than it used to",
            "if the machine was set up again, forget the old key: ssh-keygen -R {host}",
        ),
        (r"Could not resolve hostname", "has a name that nothing answers to", "check the address in the launcher file"),
        (r"administratively prohibited", "forbids forwarding", "set AllowTcpForwarding yes in its sshd_config"),
        (
            r"Connection refused|timed out|No route to host|unreachable|Connection (closed|reset)|kex_exchange",
            "cannot be reached",
            "check that it runs and that its firewall lets SSH in from here",
        ),
    )
)
_FINAL = _MEANINGS[:5]
"""What neither time nor trying again mends."""


class UnreachableError(VidcnnError):
    """The head does not answer, which may pass."""


def tunnel_command(head: Head, local_port: int, remote_port: int, known_hosts: Path) -> list[str]:
    """Return the command that forwards a local port to one of the head.

    Args:
        head: The way to the head.
        local_port: Where to listen, on loopback.
        remote_port: Where the dashboard listens, on the head's loopback.
        known_hosts: File that keeps the host keys seen by this command: the head must be the same one all along. Those
            that the user has in `~/.ssh` count as well.
    """
    options = dict(_OPTIONS, UserKnownHostsFile=f'"{known_hosts}" ~/.ssh/known_hosts')
    if head.key is not None:
        options["IdentitiesOnly"] = "yes"
    if head.proxy_command is not None:
        options["ProxyCommand"] = head.proxy_command
    arguments = [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
    if head.key is not None:
        arguments += ["-i", str(Path(head.key).expanduser())]
    if head.user is not None:
        arguments += ["-l", head.user]
    forward = f"127.0.0.1:{local_port}:127.0.0.1:{remote_port}"
    return ["ssh", "-N", "-T", *arguments, "-L", forward, "--", head.host]


def last_words(output: str) -> str:
    """Return the line of SSH's output with what went wrong, or nothing."""
    lines = [line.strip(" @\r") for line in output.splitlines() if not _CHATTER.match(line)]
    for meaning in _MEANINGS:
        for line in reversed(lines):
            if meaning.words.search(line):
                return line
    return lines[-1] if lines else ""


def is_port_taken(output: str) -> bool:
    """Return whether SSH ended since something else listens on the local port."""
    return bool(re.search(r"Address already in use|cannot listen to port", output))


def explain(output: str, head: Head, launcher: Launcher) -> VidcnnError:
    """Return the error for a tunnel that SSH did not open: an `UnreachableError` if another try may help.

    Args:
        output: What SSH printed.
        head: The way to the head.
        launcher: The cluster.
    """
    words = last_words(output) or "ssh ended without a word"
    where = f"the head of cluster '{launcher.name}' ({head.host})"
    if words.startswith("ssh: No such file"):
        return VidcnnError("ssh is not installed here", "install OpenSSH's client")
    for meaning in _MEANINGS:
        if meaning.words.search(words):
            kind = VidcnnError if meaning in _FINAL else UnreachableError
            hint = meaning.hint.format(host=head.host, key=head.key or "your key")
            return kind(f"{where} {meaning.what}: {words}", f"{launcher.where('auth')}: {hint}")
    return UnreachableError(f"{where} cannot be reached: {words}", f"try `ssh {head.host}` by hand")
