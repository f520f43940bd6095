from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.commands import PROJECT
from vidcnn.cluster.checks import PROVIDERS, find_problems

AWS: dict[str, Any] = {
    "cluster_name": "c",
    "max_workers": 4,
    "provider": {"type": "aws", "region": "eu-central-1"},
    "auth": {"ssh_user": "ubuntu"},
    "available_node_types": {
        "head": {"resources": {"CPU": 0}, "node_config": {"InstanceType": "m6i.large"}},
        "worker": {"min_workers": 1, "max_workers": 4, "node_config": {"InstanceType": "c6i.large"}},
    },
    "head_node_type": "head",
}
LOCAL: dict[str, Any] = {
    "cluster_name": "c",
    "provider": {"type": "local", "head_ip": "10.0.0.1", "worker_ips": ["10.0.0.2"]},
    "auth": {"ssh_user": "me"},
}


def changed(config: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """Return a launcher file with another value at a path such as ``provider.type``; None takes it out."""
    result = copy.deepcopy(config)
    *folders, name = path.split(".")
    inner = result
    for folder in folders:
        inner = inner[folder]
    if value is None:
        del inner[name]
    else:
        inner[name] = value
    return result


@pytest.mark.parametrize("config", [AWS, LOCAL, yaml.safe_load((PROJECT / "cluster.yaml").read_text())])
def test_a_good_file_has_no_problem(config: dict[str, Any]) -> None:
    assert find_problems(config) == []


@pytest.mark.parametrize("provider", PROVIDERS)
def test_each_provider_that_is_reached_over_ssh_is_known(provider: str) -> None:
    assert not any("is unknown" in text for _, text in find_problems(changed(AWS, "provider.type", provider)))


@pytest.mark.parametrize(
    ("config", "place", "text"),
    [
        ([1], (), "must be a mapping with the keys cluster_name and provider"),
        (changed(AWS, "provider", None), (), "the file needs a key provider"),
        (
            changed(AWS, "max_wokers", 3), ("max_wokers",),
            "max_wokers is not a key of a launcher file: did you mean max_workers?",
        ),
        (changed(AWS, "max_workers", "4"), ("max_workers",), 'max_workers must be a whole number, not "4"'),
        (changed(AWS, "max_workers", -1), ("max_workers",), "max_workers must be at least 0, not -1"),
        (
            changed(AWS, "provider.type", "asw"), ("provider", "type"),
            "provider.type 'asw' is unknown: did you mean aws?",
        ),
        (
            changed(AWS, "provider.type", "kuberay"), ("provider", "type"),
            "a cluster of the provider kuberay is not reached over SSH: give its address, http://HOST:8265",
        ),
        (
            changed(AWS, "provider.region", None), ("provider", "region"),
            "provider.region is missing: name the one where your machines shall run",
        ),
        (
            changed(AWS, "auth.ssh_user", "<your user>"), ("auth", "ssh_user"),
            "auth.ssh_user is still the example's '<your user>': put your own there",
        ),
        (
            changed(AWS, "head_node_type", "heat"), ("head_node_type",),
            "head_node_type 'heat' is none of available_node_types: head, worker",
        ),
        (
            changed(AWS, "available_node_types.worker.min_workers", 5),
            ("available_node_types", "worker", "min_workers"),
            "available_node_types.worker has min_workers 5 above its max_workers 4",
        ),
        (
            changed(AWS, "max_workers", 0), ("max_workers",),
            "max_workers 0 is below the 1 that min_workers of all node types ask for",
        ),
        (
            changed(AWS, "head_start_ray_commands", ["ray start --head"]), ("head_start_ray_commands",),
            "no worker would ever start: `ray start` needs --autoscaling-config=~/ray_bootstrap_config.yaml",
        ),
        (
            changed(AWS, "head_start_ray_commands", ["ray stop"]), ("head_start_ray_commands",),
            "head_start_ray_commands start no head: one of them must be `ray start --head ...`",
        ),
        (
            changed(LOCAL, "auth.ssh_user", None), ("auth",),
            "auth.ssh_user is missing: the user that the machines are entered as",
        ),
        (
            changed(LOCAL, "provider.worker_ips", ["10.0.0.2", "10.0.0.1"]), ("provider", "worker_ips", 1),
            "provider.worker_ips.1 is the same machine as provider.head_ip: 10.0.0.1",
        ),
        (
            changed(LOCAL, "docker", {"image": "x"}), ("docker",),
            "docker.container_name is missing: a container needs an image and a name",
        ),
    ],
)  # fmt: skip
def test_a_problem_is_told_with_its_place(config: Any, place: tuple[Any, ...], text: str) -> None:
    assert (place, text) in find_problems(config)


def test_a_key_that_is_not_there_and_one_that_is_are_told_apart(tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    config = changed(LOCAL, "auth.ssh_private_key", str(key))
    assert find_problems(config) == [(("auth", "ssh_private_key"), f"auth.ssh_private_key: there is no file '{key}'")]
    key.touch()
    assert find_problems(config) == []
