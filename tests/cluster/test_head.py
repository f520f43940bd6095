from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import PROJECT
from tests.s3 import Server
from vidcnn.cluster.head import Head, find_head
from vidcnn.cluster.launcher import Launcher, read_launcher
from vidcnn.errors import VidcnnError

LOCAL = (
    "cluster_name: c\nprovider:\n  type: local\n  head_ip: 10.0.0.1\n  worker_ips: []\n{more}auth: {{ssh_user: me}}\n"
)


def read(folder: Path, text: str) -> Launcher:
    path = folder / "cluster.yaml"
    path.write_text(text)
    return read_launcher(path)


@pytest.mark.parametrize(
    ("more", "host"),
    [
        ("", "10.0.0.1"),
        ("  external_head_ip: 1.2.3.4\n", "1.2.3.4"),
        ("  external_head_ip: 1.2.3.4\n  use_internal_ips: true\n", "10.0.0.1"),
        ("  external_head_ip: 1.2.3.4\n  use_internal_ips: true\n  use_external_head_ip: true\n", "1.2.3.4"),
    ],
)
def test_the_head_of_a_list_of_machines_is_in_the_file(tmp_path: Path, more: str, host: str) -> None:
    assert find_head(read(tmp_path, LOCAL.format(more=more))) == Head(host, "me", None, None)


@pytest.mark.nightly
def test_a_provider_that_does_not_tell_is_shown_with_its_reason(tmp_path: Path) -> None:
    text = "cluster_name: c\nprovider: {type: external, module: nowhere.Provider}\n"
    with pytest.raises(VidcnnError) as caught:
        find_head(read(tmp_path, text))
    assert str(caught.value).startswith("cluster.yaml:2: the provider external does not show where cluster 'c' is: ")
    assert "No module named 'nowhere'" in str(caught.value)
    assert "`ray get-head-ip cluster.yaml` has to work" in str(caught.value)


@pytest.mark.nightly
def test_the_launcher_file_of_the_project_is_taken_by_ray_and_its_head_is_found(
    tmp_path: Path, running_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    # All of AWS that is asked for is answered by moto, from which Ray also gets the key that it makes.
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "dummy")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{running_server.host}")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    running_server.request("POST", "moto-api/reset")
    launcher = read_launcher(PROJECT / "cluster.yaml")
    assert find_head(launcher) is None

    # What `ray up` does, up to the first word with the machine over SSH.
    code = """
import boto3, json, sys, yaml
from ray.autoscaler import sdk
from ray.autoscaler._private.providers import _get_node_provider
boto3.client("iam", region_name="eu-central-1").create_instance_profile(InstanceProfileName="vidcnn")
with open(sys.argv[1]) as file:
    config = sdk.bootstrap_config(yaml.safe_load(file), no_config_cache=True)
provider = _get_node_provider(config["provider"], config["cluster_name"])
for name, node in config["available_node_types"].items():
    kind = "head" if name == "head" else "worker"
    tags = {"ray-node-type": kind, "ray-node-status": "up-to-date", "ray-node-name": name, "ray-launch-config": "x"}
    provider.create_node(node["node_config"], tags, 1)
print(json.dumps({name: node["resources"] for name, node in config["available_node_types"].items()}))
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, launcher.path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    resources = json.loads(done.stdout.splitlines()[-1])
    assert {name: (node["CPU"], node.get("GPU", 0)) for name, node in resources.items()} == {
        "head": (0, 0),
        "decoder": (16, 0),
        "classifier": (4, 1),
    }

    head = find_head(launcher)
    assert head is not None
    assert head.user == "ubuntu"
    assert head.key == str(tmp_path / ".ssh" / "ray-autoscaler_eu-central-1.pem")
    assert os.path.isfile(head.key)
    assert head.host.count(".") == 3
