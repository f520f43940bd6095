"""What another account of the machine reaches of a run: nothing of its files and sockets, nothing of its ports."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil
import pytest

from tests.commands import PROJECT, environment
from vidcnn.cluster.watch import MARK

pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user"),
]

NOBODY = 65534

# Starts a Ray with worker processes, and says where it is; the umask is that of a user who hides nothing.
DRIVER = """
import json, os, sys
os.umask(0)
from vidcnn.cluster.embedded import local_ray
with local_ray(num_gpus=0):
    import ray
    ray.get([ray.remote(lambda: 1).remote() for _ in range(4)])
    answer = [ray.get_runtime_context().gcs_address, os.environ["RAY_AUTH_TOKEN"]]
    print(json.dumps(answer), file=sys.__stdout__, flush=True)
    sys.stdin.read()
"""


@dataclass
class Run:
    """A run that works: its folder, the address of its Ray's head, its token, and its processes."""

    scratch: Path
    head: str
    token: str
    processes: list[psutil.Process]

    def sockets(self, kind: str) -> list[Any]:
        """Return the sockets of its processes: all of the kind ``unix``, or those of ``tcp`` that listen."""
        found = []
        for process in self.processes:
            with suppress(psutil.NoSuchProcess):
                found += process.net_connections(kind)
        return [one for one in found if kind == "unix" or one.status == psutil.CONN_LISTEN]

    @property
    def ports(self) -> list[int]:
        """The ports on which it listens."""
        return sorted({one.laddr.port for one in self.sockets("tcp")})


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    with TemporaryDirectory(prefix="d", dir="/tmp") as base:
        os.chmod(base, 0o1777)
        patient = {"RAY_TMPDIR": base, "RAY_agent_register_timeout_ms": "300000"}
        with subprocess.Popen(
            [sys.executable, "-c", DRIVER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=PROJECT,
            env=environment() | patient,
        ) as driver:
            assert driver.stdin is not None
            assert driver.stdout is not None
            head, token = json.loads(driver.stdout.readline())
            (scratch,) = Path(base).iterdir()
            processes = [psutil.Process(driver.pid), *psutil.Process(driver.pid).children(recursive=True)]
            yield Run(scratch, head, token, processes)
            driver.stdin.close()
            assert driver.wait(60) == 0


# Python and its modules may be where another user cannot read them: all are loaded before, those that come late too.
BECOME = f"""
import http.client, json, os, socket, sys
import grpc, ray, ray.dag
from ray._raylet import GcsClient
grpc.insecure_channel("127.0.0.1:1").close()
os.setgroups([])
os.setresgid({NOBODY}, {NOBODY}, {NOBODY})
os.setresuid({NOBODY}, {NOBODY}, {NOBODY})
os.environ["HOME"] = "/nonexistent"
"""


def as_nobody(code: str, given: object, **variables: str) -> Any:
    """Run code as another user, who is given a JSON value and prints another."""
    done = subprocess.run(
        [sys.executable, "-c", BECOME + code],
        input=json.dumps(given),
        env={name: value for name, value in environment().items() if not name.startswith("RAY_")} | variables,
        cwd="/",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


# Does all that it can to paths that it knows, and names what it succeeded in.
INTRUDER = """
given, done = json.load(sys.stdin), []
def attempt(name, act, path):
    try:
        act(path)
    except OSError:
        return
    done.append([name, path])
def connect(path):
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
for path in given:
    attempt("look", os.lstat, path)
    attempt("list", os.listdir, path)
    attempt("read", lambda path: open(path, "rb").close(), path)
    attempt("write", lambda path: open(path, "ab").close(), path)
    attempt("add", lambda path: open(path + "/intruder", "w").close(), path)
    attempt("link", lambda path: os.symlink("/", path + "/intruder"), path)
    attempt("rename", lambda path: os.rename(path, path + ".moved"), path)
    attempt("open to all", lambda path: os.chmod(path, 0o777), path)
    attempt("connect", connect, path)
print(json.dumps(done))
"""


def test_another_user_reaches_neither_files_nor_sockets(run: Run, tmp_path: Path) -> None:
    inside = sorted(path for path in run.scratch.rglob("*"))
    assert any(path.is_socket() for path in inside), "there is nothing to protect"
    assert any(path.name == "raylet.out" for path in inside), "there is nothing to protect"
    tried = [str(run.scratch), *map(str, inside)]
    done = [[name, path] for name, path in as_nobody(INTRUDER, tried) if [name, path] != ["look", str(run.scratch)]]
    assert done == []


def test_no_unix_socket_is_outside_of_the_folder_nor_without_a_file(run: Run) -> None:
    named = {one.laddr for one in run.sockets("unix") if one.laddr}
    assert any(name.startswith(str(run.scratch)) for name in named)
    assert [name for name in named if not name.startswith(str(run.scratch))] == []


def test_all_that_listens_does_so_on_loopback(run: Run) -> None:
    assert len(run.ports) > 4, "the servers were not found"
    elsewhere = [
        (one.laddr, one) for one in run.sockets("tcp") if one.laddr.ip not in ("127.0.0.1", "::1", "::ffff:127.0.0.1")
    ]
    assert elsewhere == []


# Asks each port by HTTP and by gRPC, without a token, and prints what answered other than by a refusal.
CALLER = """
PATHS = ("/", "/api/version", "/api/jobs/", "/api/job_agent/jobs/", "/logs/", "/metrics", "/nodes?view=summary")
POSTS = ("/get_or_create_runtime_env", "/api/job_agent/jobs/")
CALLS = ("InternalKVGcsService/InternalKVKeys", "NodeManagerService/GetNodeStats", "NodeInfoGcsService/GetAllNodeInfo",
         "CoreWorkerService/GetCoreWorkerStats", "CoreWorkerService/PushTask", "ObjectManagerService/Pull",
         "ReporterService/GetTraceback", "LogService/ListLogs", "JobInfoGcsService/GetAllJobInfo")
ports, answers, refused = json.load(sys.stdin), [], set()
for port in ports:
    for method, path in [*(("GET", path) for path in PATHS), *(("POST", path) for path in POSTS)]:
        try:
            client = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            client.request(method, path, b"" if method == "POST" else None)
            status = client.getresponse().status
        except (OSError, http.client.HTTPException):
            break  # speaks something else
        if status == 401:
            refused.add(port)
        else:
            answers.append([port, method, path, status])
    if port in refused:
        continue
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        for name in CALLS:
            call = channel.unary_unary(f"/ray.rpc.{name}")
            try:
                call(b"", timeout=5)
            except grpc.RpcError as error:
                if error.code() is grpc.StatusCode.UNAUTHENTICATED:
                    refused.add(port)
                elif error.code() is not grpc.StatusCode.UNIMPLEMENTED:
                    answers.append([port, name, error.code().name])
            else:
                answers.append([port, name, "OK"])
print(json.dumps([answers, sorted(refused)]))
"""


def test_every_port_refuses_who_has_no_token(run: Run) -> None:
    answers, refused = as_nobody(CALLER, run.ports)
    assert answers == []
    assert refused == run.ports, "a port gave no answer that this test knows"


# Asks the head for a value, which is what joining its cluster begins with.
ASKER = """
try:
    GcsClient(address=json.load(sys.stdin)).internal_kv_get(b"x", None)
    print(json.dumps("answered"))
except Exception as error:
    print(json.dumps(type(error).__name__))
"""


@pytest.mark.parametrize(
    "variables", [{"RAY_AUTH_MODE": "disabled"}, {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "x" * 64}]
)
def test_another_user_cannot_join_without_the_token(run: Run, variables: dict[str, str]) -> None:
    assert as_nobody(ASKER, run.head, **variables) == "AuthenticationError"


def test_it_is_the_token_that_keeps_another_user_out(run: Run) -> None:
    assert as_nobody(ASKER, run.head, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=run.token) == "answered"


def test_the_token_is_on_no_command_line_and_in_no_file(run: Run) -> None:
    for process in run.processes:
        with suppress(psutil.NoSuchProcess):
            assert run.token not in " ".join(process.cmdline())
    token = run.token.encode()
    assert [path for path in run.scratch.rglob("*") if path.is_file() and token in path.read_bytes()] == []
    assert any(process.environ().get(MARK) == str(run.scratch) for process in run.processes[1:])
