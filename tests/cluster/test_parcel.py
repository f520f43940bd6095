"""A job whose locations hold a login works, and the login is in nothing that its cluster writes or shows."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.canary import KEY, MARK, SECRET, holders, holds, location, watched
from tests.cluster.nodes import Nodes, three_nodes
from tests.commands import environment, make_tiny_bundle, vidcnn
from tests.s3 import Server
from tests.videos import write_video
from vidcnn.cluster.entry import LAUNCH_FILE, SPEC_FILE
from vidcnn.cluster.parcel import new_name, pack
from vidcnn.cluster.submission import Submission
from vidcnn.config import InferSpec
from vidcnn.config.job_files import read_job
from vidcnn.config.substitution import private_values

TIMEOUT = 900
PAGES = (
    "api/jobs/",
    "api/v0/jobs?detail=1",
    "api/v0/actors?detail=1",
    "api/v0/tasks?detail=1&limit=9999",
    "api/v0/runtime_envs?detail=1",
    "api/v0/workers?detail=1",
    "api/v0/objects?detail=1",
    "nodes?view=details",
    "api/actors",
)
"""Pages of Ray's dashboard and of its state API, which all may read who reach it."""

READ_STORE = """
import sys
from ray._raylet import GcsClient
client = GcsClient(address=sys.argv[1])
for namespace in (None, b"job", b"fun", b"session", b"dashboard", b"package", b"cluster", b"tracing", b"serve"):
    for key in client.internal_kv_keys(b"", namespace):
        value = client.internal_kv_get(key, namespace) or b""
        print(key.hex(), value.hex())
"""


def test_what_lies_on_the_disks_of_a_cluster_holds_variables_instead_of_a_login(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret, key = "s3://KEY:hu/sh@in/a${b}", "s3://KEY:hu/sh@out/preds"
    spec = InferSpec(source=(secret, "s3://in/plain", secret), out=key, model="r3d_18")
    job = Submission.of(spec, [])
    job.write(tmp_path, new_name())
    written = "".join((tmp_path / name).read_text() for name in (SPEC_FILE, LAUNCH_FILE))
    assert "hu/sh" not in f"{written}{job.metadata}{job!r}"
    assert job.metadata["vidcnn_out"] == "s3://out/preds"
    for name, value in json.loads(pack(job.secrets)).items():
        monkeypatch.setitem(private_values, name, value)
    assert read_job(tmp_path / SPEC_FILE) == spec


def test_a_job_is_the_same_with_another_login(tmp_path: Path) -> None:
    names = {
        Submission.of(InferSpec(source=("s3://in",), out=f"s3://{login}out/preds?region=x"), []).name
        for login in ("", "KEY:one@", "KEY:t/wo@")
    }
    assert len(names) == 1
    assert Submission.of(InferSpec(source=("s3://in",), out="s3://out/preds?region=y"), []).name not in names


def test_names_of_parcels_cannot_be_guessed() -> None:
    names = {new_name() for _ in range(100)}
    assert len(names) == 100
    assert all(re.fullmatch(r"_ray_pkg_[0-9a-f]{32}\.zip", name) for name in names)


@pytest.fixture
def storage(s3: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    for index in range(3):
        s3.put(f"videos/{index}.mp4", body=write_video(tmp_path / "video.mp4", 40).read_bytes())
    for path in make_tiny_bundle(tmp_path / "bundle").iterdir():
        s3.put(f"bundle/{path.name}", body=path.read_bytes())
    return s3


@pytest.fixture
def short() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="v") as folder:
        yield Path(folder)


def page(nodes: Nodes, path: str) -> bytes:
    request = urllib.request.Request(f"{nodes.address}/{path}", headers={"Authorization": f"Bearer {nodes.token}"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            content: bytes = answer.read()
            return content
    except urllib.error.HTTPError as error:  # a page that this version of Ray has not
        return error.read()


def store_of(nodes: Nodes) -> list[tuple[bytes, bytes]]:
    """Return the keys and values in the store of the head."""
    raylet = " ".join(nodes.processes("raylet", "--gcs-address")[0].cmdline())
    address = re.search(r"--gcs-address=(\S+)", raylet)
    assert address
    environ = environment() | nodes.environment | {"RAY_AUTH_MODE": "token"}
    read = [sys.executable, "-c", READ_STORE, address[1]]
    done = subprocess.run(read, env=environ, capture_output=True, text=True, timeout=120, check=True)
    return [
        (bytes.fromhex(key), bytes.fromhex(value))
        for key, _, value in (line.partition(" ") for line in done.stdout.splitlines())
    ]


@pytest.mark.ray
@pytest.mark.slow
def test_a_job_of_a_cluster_takes_its_login_along_and_shows_it_nowhere(
    storage: Server, tmp_path: Path, short: Path
) -> None:
    out = location(storage, "bkt/preds.parquet")
    arguments = ["infer", location(storage, "bkt/videos"), "--model", location(storage, "bkt/bundle"), "--out", out]
    with three_nodes(RAY_TMPDIR=str(short)) as nodes, watched(short, root=nodes.pid) as seen:
        way = ["--cluster", nodes.address, "--report"]
        done = vidcnn(*arguments, *way, extra=nodes.environment, timeout=TIMEOUT)
        assert done.returncode == 0, done.stderr
        assert "s3://bkt/preds.parquet: 3 videos" in done.stdout
        failed = vidcnn(
            "infer",
            location(storage, "bkt/absent"),
            *arguments[2:],
            *way,
            "--debug",
            extra=nodes.environment,
            timeout=TIMEOUT,
        )
        assert failed.returncode == 1
        assert "s3://bkt/absent' does not exist" in failed.stderr
        login = tmp_path / "login.env"
        login.write_text(f"# for the storage\nAWS_ACCESS_KEY_ID={KEY}\n\nAWS_SECRET_ACCESS_KEY={SECRET}\n")
        plain = [f"s3://bkt/videos{storage.query}", "--model", f"s3://bkt/bundle{storage.query}"]
        target = f"s3://bkt/other.parquet{storage.query}"
        with_variables = vidcnn(
            "infer", *plain, "--out", target, *way, "--env-file", str(login), extra=nodes.environment, timeout=TIMEOUT
        )
        assert with_variables.returncode == 0, with_variables.stderr
        assert "s3://bkt/other.parquet: 3 videos" in with_variables.stdout
        shown = {path: page(nodes, path) for path in PAGES}
        stored = store_of(nodes)
        jobs = json.loads(shown["api/jobs/"])
        assert {job["metadata"]["vidcnn_out"] for job in jobs if job["metadata"]} == {
            "s3://bkt/preds.parquet",
            "s3://bkt/other.parquet",
        }
        said = vidcnn("jobs", "list", "--json", *way[:2], extra=nodes.environment)
    assert MARK.decode() not in "".join(each.stdout + each.stderr for each in (done, failed, with_variables, said))
    assert [path for path, content in shown.items() if MARK in content] == []
    assert sum(key.startswith(b"gcs://_ray_pkg_") for key, _ in stored) >= 2
    assert [key for key, value in stored if holds(value, key.decode(errors="replace"))] == []
    assert (seen.num_processes > 10, seen.num_files > 20) == (True, True)
    assert (seen.command_lines, seen.files) == (set(), set())
    assert holders(short) == []
