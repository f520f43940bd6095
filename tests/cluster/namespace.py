"""A machine within the machine: processes, network and home directory of its own, and an SSH server on its loopback.

``ray up`` runs ``ray stop`` on the machines that it takes, which ends every Ray process that it can see. In here it
sees only its own. Everything ends with the block, and with the process that opened it.
"""

from __future__ import annotations

import os
import pwd
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.commands import PROJECT

HOST = "127.0.0.1"
WORKER = "127.0.0.2"
_START_SECONDS = 20

_SSHD = """\
Port 22
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
StrictModes no
UsePAM no
MaxStartups 100
PidFile none
"""

# The first process of the namespace: when it ends, all others do. It ends with its standard input.
_INIT = """\
set -e
ip link set lo up
mount --bind {folder}/passwd /etc/passwd
mkdir -p /tmp/ray
mount --bind {folder}/ray /tmp/ray
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /run
mkdir /run/sshd
{sshd} -f {folder}/sshd_config -E {folder}/sshd.log
touch {folder}/ready
read -r line || true
"""

_LAUNCHER = """\
cluster_name: {name}
provider:
  type: local
  head_ip: {host}
  worker_ips: [{workers}]
auth:
  ssh_user: {user}
  ssh_private_key: {key}
file_mounts:
  ~/.ray/auth_token: ~/.ray/auth_token
head_start_ray_commands:
  - ray stop
  - >-
    RAY_AUTH_MODE=token ray start --head --node-ip-address={host} --port=6379 --num-cpus=2
    --object-store-memory=300000000 --autoscaling-config=~/ray_bootstrap_config.yaml
worker_start_ray_commands:
  - RAY_AUTH_MODE=token ray start --address=$RAY_HEAD_IP:6379 --node-ip-address={worker} --num-cpus=1
    --object-store-memory=100000000
"""


@dataclass(frozen=True)
class Namespace:
    """A machine within the machine.

    Attributes:
        folder: Its files, seen from outside and from inside alike.
        pid: Its first process, seen from outside.
        user: Who one is inside.
    """

    folder: Path
    pid: int
    user: str

    @property
    def home(self) -> Path:
        """The home directory of the user inside."""
        return self.folder / "home"

    @property
    def key(self) -> Path:
        """The private key that the SSH server takes."""
        return self.folder / "key"

    def launcher(self, *, workers: int = 0, key: Path | None = None) -> Path:
        """Write a launcher file for a cluster of this machine, with token authentication.

        Args:
            workers: Worker nodes besides the head: 0 or 1.
            key: The private key; None takes the right one.
        """
        path = self.folder / "cluster.yaml"
        path.write_text(
            _LAUNCHER.format(
                name=self.folder.name.lower(),  # Ray's SSH connections are shared by those of the same name
                host=HOST,
                workers=WORKER if workers else "",
                worker=WORKER,
                user=self.user,
                key=key or self.key,
            )
        )
        return path

    def popen(
        self, *command: str | Path, environment: Mapping[str, str] | None = None, **options: Any
    ) -> subprocess.Popen[str]:
        """Start a command inside, in the project's folder."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        inside = kept | {"HOME": str(self.home), "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1", "COLUMNS": "120"}
        enter = ["nsenter", f"--target={self.pid}", "--pid", "--net", "--mount", f"--wd={PROJECT}", "--"]
        return subprocess.Popen(
            [*enter, *map(str, command)], env=inside | dict(environment or {}), text=True, **options
        )

    def run(
        self,
        *command: str | Path,
        timeout: float = 180,
        environment: Mapping[str, str] | None = None,
        check: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside to its end."""
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = self.popen(*command, environment=environment, **pipes)
        try:
            out, err = process.communicate(timeout=timeout)
        finally:
            process.kill()  # what it started ends with the namespace
        done = subprocess.CompletedProcess(process.args, process.returncode, out, err)
        if check:
            assert done.returncode == 0, done.stdout + done.stderr
        return done

    def python(self, code: str, *arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run Python code inside."""
        return self.run(sys.executable, "-c", code, *arguments, **options)

    def vidcnn(self, *arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a command of vidcnn inside."""
        return self.run(sys.executable, "-m", "vidcnn", *arguments, **options)


def missing() -> str:
    """Return why there can be no namespace here, or nothing."""
    if os.getuid() != 0:
        return "namespaces with an SSH server need root"
    for program in ("unshare", "nsenter", "ip", "ssh", "ssh-keygen", "rsync", "pkill", _sshd()):
        if not shutil.which(program):
            return f"{program} is not installed"
    tried = subprocess.run(
        ["unshare", "--pid", "--net", "--mount", "--fork", "--mount-proc", "ip", "link", "set", "lo", "up"],
        capture_output=True,
        text=True,
        check=False,
    )
    return f"no namespaces here: {tried.stderr.strip()}" if tried.returncode else ""


@contextmanager
def open_namespace(folder: Path) -> Iterator[Namespace]:
    """Open a machine within the machine.

    Args:
        folder: An empty folder for its files, with a short path: Ray puts sockets there.
    """
    if reason := missing():
        pytest.skip(reason)
    user = pwd.getpwuid(os.getuid())
    _prepare(folder, user)
    script = _INIT.format(folder=shlex.quote(str(folder)), sshd=_sshd())
    outer = subprocess.Popen(
        ["unshare", "--pid", "--net", "--mount", "--fork", "--kill-child", "--mount-proc", "bash", "-c", script],
        stdin=subprocess.PIPE,
    )
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not (folder / "ready").exists():
            assert outer.poll() is None, "the namespace did not start"
            assert time.monotonic() < deadline, "the namespace does not start"
            time.sleep(0.05)
        (inner,) = Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text().split()
        yield Namespace(folder, int(inner), user.pw_name)
    finally:
        assert outer.stdin is not None
        outer.stdin.close()
        try:
            outer.wait(10)
        except subprocess.TimeoutExpired:
            outer.send_signal(signal.SIGKILL)
            outer.wait()


def _prepare(folder: Path, user: pwd.struct_passwd) -> None:
    for name in ("home", "ray"):
        (folder / name).mkdir()
    (folder / "passwd").write_text(
        f"{user.pw_name}:x:{user.pw_uid}:{user.pw_gid}::{folder}/home:/bin/bash\n"
        "sshd:x:65533:65534::/run/sshd:/usr/sbin/nologin\nnobody:x:65534:65534::/nonexistent:/usr/sbin/nologin\n"
    )
    for name in ("host_key", "key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    shutil.copy(folder / "key.pub", folder / "authorized_keys")
    (folder / "sshd_config").write_text(_SSHD.format(folder=folder))
    (folder / "home" / ".bashrc").write_text(
        f"export PATH={Path(sys.executable).parent}:$PATH RAY_USAGE_STATS_ENABLED=0\n"
    )
    token = folder / "home" / ".ray" / "auth_token"
    token.parent.mkdir()
    token.write_text("0123456789abcdef0123456789abcdef")
    token.chmod(0o600)


def _sshd() -> str:
    # Not in the PATH of an ordinary user, and it insists on being called by its full path.
    return shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin") or "/usr/sbin/sshd"
