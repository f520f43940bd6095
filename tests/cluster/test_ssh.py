from __future__ import annotations

from pathlib import Path

import pytest

from vidcnn.cluster.head import Head
from vidcnn.cluster.launcher import Launcher, read_launcher
from vidcnn.cluster.ssh import UnreachableError, explain, is_port_taken, last_words, tunnel_command

ADDED = "Warning: Permanently added '10.0.0.1' (ED25519) to the list of known hosts."
WARNING = "@@@@@@@@@@@@@@@@@@@@@@@\n@  WARNING: {}!  @\n@@@@@@@@@@@@@@@@@@@@@@@\nIt is like this."
HEAD = Head("10.0.0.1", "me", "~/key.pem", None)


@pytest.fixture
def launcher(tmp_path: Path) -> Launcher:
    path = tmp_path / "cluster.yaml"
    path.write_text(
        "cluster_name: night\nprovider: {type: local, head_ip: 10.0.0.1, worker_ips: []}\nauth: {ssh_user: me}\n"
    )
    return read_launcher(path)


def test_the_command_forwards_loopback_to_loopback_and_asks_nothing(tmp_path: Path) -> None:
    command = tunnel_command(HEAD, 4000, 8265, tmp_path / "known")
    assert command[:3] == ["ssh", "-N", "-T"]
    assert command[-4:] == ["-L", "127.0.0.1:4000:127.0.0.1:8265", "--", "10.0.0.1"]
    assert command[command.index("-i") + 1] == str(Path("~/key.pem").expanduser())
    assert command[command.index("-l") + 1] == "me"
    assert {"BatchMode=yes", "IdentitiesOnly=yes", "StrictHostKeyChecking=accept-new"} <= set(command)
    assert not any("ProxyCommand" in part for part in command)


def test_what_the_launcher_file_leaves_open_is_left_to_ssh(tmp_path: Path) -> None:
    command = tunnel_command(Head("i-0abc", None, None, "aws ssm %h %p"), 4000, 8265, tmp_path / "known")
    assert not {"-i", "-l", "IdentitiesOnly=yes"} & set(command)
    assert "ProxyCommand=aws ssm %h %p" in command


@pytest.mark.parametrize(
    ("output", "expected", "may_mend"),
    [
        (
            f"{ADDED}\nme@10.0.0.1: Permission denied (publickey).\n",
            "(10.0.0.1) does not let you in: me@10.0.0.1: Permission denied (publickey).: cluster.yaml:3: check auth.",
            False,
        ),
        (
            f"{WARNING.format('REMOTE HOST IDENTIFICATION HAS CHANGED')}\nHost key verification failed.\n",
            "shows another host key than it used to: Host key verification failed.: cluster.yaml:3: if the machine was "
            "set up again, forget the old key: ssh-keygen -R 10.0.0.1",
            False,
        ),
        (
            "ssh: connect to host 10.0.0.1 port 22: Connection refused\n",
            "cannot be reached: ssh: connect to host 10.0.0.1 port 22: Connection refused: cluster.yaml:3: check that",
            True,
        ),
        ("ssh: connect to host 10.0.0.1 port 22: Connection timed out", "cannot be reached: ssh: connect", True),
        ("ssh: connect to host 10.0.0.1 port 22: No route to host", "cannot be reached: ssh: connect", True),
        (
            "ssh: Could not resolve hostname nohost: Name or service not known",
            "has a name that nothing answers to: ssh: Could not resolve hostname nohost: Name or service not known",
            False,
        ),
        (
            "channel 1: open failed: administratively prohibited: open failed",
            "forbids forwarding: channel 1: open failed",
            False,
        ),
        (
            f"{WARNING.format('UNPROTECTED PRIVATE KEY FILE')}\nme@10.0.0.1: Permission denied (publickey).",
            "cannot be entered: WARNING: UNPROTECTED PRIVATE KEY FILE!: cluster.yaml:3: chmod 600 ~/key.pem",
            False,
        ),
        ("ssh: No such file or directory\n", "ssh is not installed here: install OpenSSH's client", False),
        ("something new\n", "cannot be reached: something new: try `ssh 10.0.0.1` by hand", True),
        ("", "cannot be reached: ssh ended without a word", True),
    ],
)
def test_the_last_words_of_ssh_are_shown_and_explained(
    launcher: Launcher, output: str, expected: str, may_mend: bool
) -> None:
    error = explain(output, HEAD, launcher)
    assert expected in str(error)
    assert isinstance(error, UnreachableError) == may_mend


def test_chatter_is_not_taken_for_the_reason() -> None:
    assert last_words(f"{ADDED}\n\n") == ""


def test_a_taken_port_is_recognised() -> None:
    assert is_port_taken("bind [127.0.0.1]:4000: Address already in use\nCould not request local forwarding.\n")
    assert not is_port_taken("channel 1: open failed: connect failed: Connection refused\n")
