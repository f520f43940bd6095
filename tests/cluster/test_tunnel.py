"""Tunnels through a real SSH server, to a stand-in for Ray's dashboard: any HTTP server will do for that."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.namespace import Namespace, open_namespace

# Opens the tunnel, does something, and says how it went.
DRIVER = """
import json, os, signal, sys, time, urllib.error, urllib.request
from pathlib import Path
from vidcnn.cluster import tunnel as module
from vidcnn.cluster.launcher import read_launcher
from vidcnn.errors import VidcnnError
from vidcnn.processes import descendants, runs

module._ANSWER_SECONDS = module._STALL_SECONDS = 2.0
module._REOPEN_WAITS = (0.0, 0.2, 0.2)
said, answers, error = [], [], ""

def ask(tunnel):
    try:
        answers.append(urllib.request.urlopen(tunnel.address + "/api/version", timeout=5).status)
    except urllib.error.HTTPError as problem:
        answers.append(problem.code)
    except OSError as problem:
        answers.append(type(problem).__name__)

def kill_ssh():
    for process in descendants():
        if runs(process, "ssh\\0-N") and not runs(process, "keeper.py"):
            os.kill(process.pid, signal.SIGKILL)
            while process in descendants():
                time.sleep(0.01)

start = time.monotonic()
try:
    launcher = read_launcher(Path(sys.argv[1]))
    with module.reach_cluster(launcher, up=False, say=said.append) as tunnel:
        ask(tunnel)
        exec(sys.argv[2])
except VidcnnError as problem:
    error = str(problem)
left = [process for process in descendants() if runs(process, "ssh")]
print(json.dumps({"answers": answers, "said": said, "error": error, "left": left, "took": time.monotonic() - start}))
"""


@pytest.fixture(scope="module")
def namespace() -> Iterator[Namespace]:
    with (
        tempfile.TemporaryDirectory(prefix="ns-") as folder,  # pytest's own have long paths
        open_namespace(Path(folder)) as namespace,
    ):
        yield namespace


@pytest.fixture
def dashboard(namespace: Namespace) -> Iterator[None]:
    command = [sys.executable, "-m", "http.server", "8265", "--bind", "127.0.0.1"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = namespace.popen(*command, **quiet)
    waits = "import socket, time\nwhile socket.socket().connect_ex(('127.0.0.1', 8265)): time.sleep(0.05)"
    namespace.python(waits, check=True, timeout=20)
    yield
    namespace.run("pkill", "-f", "http.server 8265")  # sees the processes of the namespace only
    process.wait()


def drive(namespace: Namespace, launcher: Path, code: str = "", **environment: str) -> dict[str, Any]:
    done = namespace.python(DRIVER, launcher, code, timeout=60, environment=environment)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    assert not result["left"]
    return result


@pytest.mark.usefixtures("dashboard")
def test_the_dashboard_answers_through_the_tunnel_and_nothing_is_left(namespace: Namespace) -> None:
    proxy = {"http_proxy": "http://10.9.9.9:1", "NO_PROXY": "intranet"}
    result = drive(namespace, namespace.launcher(), "tunnel.check(); ask(tunnel)", **proxy)
    assert (result["answers"], result["said"], result["error"]) == ([404, 404], [], "")


@pytest.mark.usefixtures("dashboard")
def test_a_broken_tunnel_is_opened_again_at_the_same_address(namespace: Namespace) -> None:
    code = (
        "before = tunnel.address; kill_ssh(); ask(tunnel); tunnel.check(); ask(tunnel); assert tunnel.address == before"
    )
    result = drive(namespace, namespace.launcher(), code)
    assert (result["answers"], result["error"]) == ([404, "URLError", 404], "")
    name = namespace.folder.name.lower()
    assert result["said"] == [
        f"the tunnel to cluster '{name}' broke; opening it again",
        f"the tunnel to cluster '{name}' is back",
    ]


@pytest.mark.usefixtures("dashboard")
def test_a_tunnel_that_stays_broken_is_given_up_after_some_tries(namespace: Namespace) -> None:
    launcher = namespace.launcher()
    namespace.run("ip", "addr", "add", "10.9.9.9/32", "dev", "lo", check=True)
    launcher.write_text(launcher.read_text().replace("head_ip: 127.0.0.1", "head_ip: 10.9.9.9"))
    code = "os.system('ip addr del 10.9.9.9/32 dev lo'); kill_ssh(); tunnel.check()"
    result = drive(namespace, launcher, code)
    assert "(10.9.9.9) cannot be reached: ssh: connect to host 10.9.9.9 port 22: " in result["error"]
    assert "(tried 3 times): what was submitted continues" in result["error"]


@pytest.mark.usefixtures("dashboard")
def test_another_machine_in_the_heads_place_is_not_trusted(namespace: Namespace) -> None:
    new, config = namespace.folder / "other_host_key", namespace.folder / "sshd_config"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", new], check=True)
    other = namespace.folder / "other_sshd_config"
    other.write_text(config.read_text().replace("/host_key", "/other_host_key"))
    change = "pkill -o -x sshd; while ! {start} 2>/dev/null; do sleep 0.1; done"
    restart = change.format(start=f"/usr/sbin/sshd -f {other}")
    try:
        result = drive(namespace, namespace.launcher(), f"os.system({restart!r}); kill_ssh(); tunnel.check()")
        assert "shows another host key than it used to: Host key verification failed." in result["error"]
        assert "ssh-keygen -R 127.0.0.1" in result["error"]
    finally:
        namespace.run("bash", "-c", change.format(start=f"/usr/sbin/sshd -f {config}"), check=True)


def test_a_head_without_ray_is_told_from_one_that_is_down(namespace: Namespace) -> None:
    result = drive(namespace, namespace.launcher())
    assert "lets us in, but Ray's dashboard does not answer on its port 8265: channel" in result["error"]
    assert result["error"].endswith("Connection refused: --up starts Ray there")
    launcher = namespace.launcher()
    launcher.write_text(launcher.read_text().replace("head_ip: 127.0.0.1", "head_ip: 10.9.9.8"))
    result = drive(namespace, launcher)
    assert "(10.9.9.8) cannot be reached: ssh: connect to host 10.9.9.8 port 22" in result["error"]
    assert result["took"] < 20


def test_a_key_that_the_head_does_not_know_is_told(namespace: Namespace) -> None:
    wrong = namespace.folder / "wrong_key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", wrong], check=True)
    result = drive(namespace, namespace.launcher(key=wrong))
    assert "does not let you in: root@127.0.0.1: Permission denied (publickey).: cluster.yaml:" in result["error"]
    assert "check auth.ssh_user and auth.ssh_private_key" in result["error"]


@pytest.mark.usefixtures("dashboard")
def test_the_tunnel_ends_with_a_command_that_is_killed(namespace: Namespace) -> None:
    code = "print('open', flush=True); time.sleep(60)"
    with namespace.popen(sys.executable, "-c", DRIVER, namespace.launcher(), code, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        assert namespace.run("pgrep", "-f", "^ssh -N").stdout
        namespace.run("pkill", "-9", "-f", "time.sleep.60.$", check=True)
    deadline = time.monotonic() + 10
    while namespace.run("pgrep", "-f", "^ssh -N").stdout:
        assert time.monotonic() < deadline
