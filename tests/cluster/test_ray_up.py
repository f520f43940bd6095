"""A cluster that ``ray up`` truly brings up over SSH, in namespaces of its own, with token authentication."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.cluster.namespace import Namespace, open_namespace
from tests.commands import make_tiny_bundle, vidcnn
from tests.videos import write_video

pytestmark = [pytest.mark.nightly, pytest.mark.ray]

# Reaches the cluster, asks its dashboard without and with the token, and says which machines there are.
REACH = """
import json, sys, time, urllib.error, urllib.request
from pathlib import Path
from vidcnn.cluster.launcher import read_launcher
from vidcnn.cluster.tunnel import reach_cluster

def ask(path, token=None):
    request = urllib.request.Request(tunnel.address + path)
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code

said, launcher = [], read_launcher(Path(sys.argv[1]))
with reach_cluster(launcher, up=sys.argv[2] == "up", say=said.append) as tunnel:
    token = launcher.token_path.read_text()
    refused = ask("/api/jobs/")
    session = ask("/api/version", token)["session_name"]
    deadline = time.monotonic() + float(sys.argv[4])
    nodes = []
    while len(nodes) < int(sys.argv[3]) and time.monotonic() < deadline:
        nodes = [node["raylet"] for node in ask("/nodes?view=summary", token)["data"]["summary"]]
        nodes = sorted(node["nodeManagerAddress"] for node in nodes if node.get("state") == "ALIVE")
        time.sleep(1)
print(json.dumps({"said": said, "refused": refused, "session": session, "nodes": nodes}))
"""


@pytest.fixture(scope="module")
def namespace() -> Iterator[Namespace]:
    with (
        tempfile.TemporaryDirectory(prefix="ns-") as folder,  # pytest's own have long paths
        open_namespace(Path(folder)) as namespace,
    ):
        yield namespace


def test_a_cluster_is_brought_up_over_ssh_once_and_then_left_as_it_is(namespace: Namespace) -> None:
    launcher = namespace.launcher(workers=1)
    elsewhere = {"RAY_ADDRESS": "10.9.9.9:6379", "RAY_API_SERVER_ADDRESS": "http://10.9.9.9:8265"}
    first = namespace.python(REACH, launcher, "up", "2", "300", timeout=600, environment=elsewhere, check=True)
    assert "Ray runtime started." in first.stderr
    started = json.loads(first.stdout)
    assert started["said"] == [
        f"starting cluster '{namespace.folder.name.lower()}' with `ray up`; `ray down cluster.yaml` ends it"
    ]
    assert started["refused"] == 401
    assert started["nodes"] == ["127.0.0.1", "127.0.0.2"]

    again = namespace.python(REACH, launcher, "up", "2", "30", timeout=180, check=True)
    assert not again.stderr
    assert json.loads(again.stdout) == started | {"said": []}


def rows(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return sorted(found, key=lambda row: (row["video"], -1 if row["clip"] is None else row["clip"]))


def test_a_command_goes_through_ssh_even_if_that_breaks_and_ends_as_it_ended_there(
    namespace: Namespace, tmp_path: Path
) -> None:
    (tmp_path / "videos").mkdir()
    for index in range(3):
        write_video(tmp_path / "videos" / f"{index}.mp4", 200, first_number=97 * index)
    (tmp_path / "videos" / "broken.mp4").write_bytes(b"no video")
    bundle = make_tiny_bundle(tmp_path / "bundle")
    arguments = ["infer", tmp_path / "videos", "--model", bundle, "--step=4", "--max-error-fraction=0"]
    embedded = vidcnn(*arguments, "--out", tmp_path / "embedded.parquet", timeout=600)
    assert embedded.returncode == 3, embedded.stderr

    there = ["--cluster", namespace.launcher(workers=1), "--up"]
    command = [sys.executable, "-m", "vidcnn", *arguments, "--out", tmp_path / "preds.parquet", "--json", *there]
    with namespace.popen(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        before = next(line for line in process.stderr if line.startswith("job vidcnn-infer-"))
        namespace.run("pkill", "-9", "-f", "^ssh -N", check=True)
        stdout, stderr = process.communicate(timeout=600)
    assert process.returncode == 3, stderr
    name = namespace.folder.name.lower()
    assert before.endswith("cluster.yaml\n")
    assert f"the tunnel to cluster '{name}' broke; opening it again" in stderr
    assert f"the tunnel to cluster '{name}' is back" in stderr
    assert json.loads(stdout)["bad_videos"] == 1
    assert rows(tmp_path / "preds.parquet") == rows(tmp_path / "embedded.parquet")
    assert not namespace.run("pgrep", "-f", "^ssh -N").stdout
