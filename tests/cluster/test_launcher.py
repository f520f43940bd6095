from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import PROJECT
from vidcnn.cluster.head import start_cluster
from vidcnn.cluster.launcher import read_launcher
from vidcnn.errors import UsageError

AWS = """\
cluster_name: c
max_workers: 4
provider:
  type: aws
  region: eu-central-1
auth:
  ssh_user: ubuntu
available_node_types:
  head:
    resources: {CPU: 0}
    node_config: {InstanceType: m6i.large}
  worker:
    min_workers: 1
    max_workers: 4
    node_config: {InstanceType: c6i.large}
head_node_type: head
"""
LOCAL = """\
cluster_name: c
provider:
  type: local
  head_ip: 10.0.0.1
  worker_ips: [10.0.0.2, 10.0.0.3]
auth:
  ssh_user: me
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "cluster.yaml"
    path.write_text(text)
    return path


def refusal(folder: Path, text: str) -> str:
    with pytest.raises(UsageError) as caught:
        read_launcher(write(folder, text))
    return str(caught.value)


def test_the_launcher_file_of_the_project_is_good() -> None:
    launcher = read_launcher(PROJECT / "cluster.yaml")
    assert (launcher.name, launcher.provider["type"], launcher.dashboard_port) == ("vidcnn", "aws", 8265)
    assert launcher.token_path == Path("~/.ray/auth_token").expanduser()
    assert launcher.where("auth", "ssh_user").startswith("cluster.yaml:")


def test_the_launcher_file_of_the_project_is_edited_in_three_places_and_asks_for_the_ray_that_is_tested() -> None:
    text = (PROJECT / "cluster.yaml").read_text()
    pinned = next(
        line for line in (PROJECT / ".ci" / "constraints.txt").read_text().split() if line.startswith("ray==")
    )
    assert text.count("# edit:") == 3
    assert f'"ray[data,default,train]=={pinned.removeprefix("ray==")}"' in text


@pytest.mark.parametrize("text", [AWS, LOCAL, "cluster_name: c\nprovider: {type: aws, region: eu-central-1}\n"])
def test_what_ray_takes_is_good(tmp_path: Path, text: str) -> None:
    assert read_launcher(write(tmp_path, text)).name == "c"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        # Ray's schema
        (
            "cluster_name: c",
            "cluster_name: 3",
            "cluster.yaml:1: cluster_name must be text (in quotes if need be), not 3",
        ),
        ("cluster_name: c\n", "", "cluster.yaml:1: the file needs a key cluster_name"),
        ("max_workers: 4\np", "max_workers: -1\np", "cluster.yaml:2: max_workers must be at least 0, not -1"),
        ("  ssh_user", "  ssh_usr", "cluster.yaml:7: auth.ssh_usr is not a key of auth: did you mean ssh_user?"),
        ("{CPU: 0}", "{CPU: x}", "cluster.yaml:10: available_node_types.head.resources.CPU must be a whole number"),
        ("type: aws", "type: [aws]", "cluster.yaml:4: provider.type must be text"),
        ("auth:\n  ssh_user: ubuntu", "auth: ubuntu", 'cluster.yaml:6: auth must be a mapping, not "ubuntu"'),
        ("  type: aws\n", "", "cluster.yaml:3: provider needs a key type"),
        ("head_node_type: head", "setup_commands: make", "cluster.yaml:16: setup_commands must be a list"),
        ("  ssh_user: ubuntu", "  ssh_proxy_use_node_id: true", "cluster.yaml:6: auth needs a key ssh_proxy_command"),
        # What it leaves to chance
        ("type: aws", "type: asw", "cluster.yaml:4: provider.type 'asw' is unknown: did you mean aws?"),
        ("type: aws", "type: kuberay", "cluster.yaml:4: a cluster of the provider kuberay is not reached over SSH"),
        ("  region: eu-central-1\n", "", "cluster.yaml:3: provider.region is missing"),
        ("head_node_type: head", "head_node_type: heat", "cluster.yaml:16: head_node_type 'heat' is none of available"),
        ("head_node_type: head", "", "cluster.yaml:8: head_node_type is missing"),
        (
            "    max_workers: 4",
            "    max_workers: 0",
            "cluster.yaml:13: available_node_types.worker has min_workers 1 above",
        ),
        (
            "min_workers: 1",
            "min_workers: -1",
            "cluster.yaml:13: available_node_types.worker.min_workers must be at least",
        ),
        ("max_workers: 4\np", "max_workers: 0\np", "cluster.yaml:2: max_workers 0 is below the 1 that min_workers"),
        ("eu-central-1", "YOUR_REGION", "cluster.yaml:5: provider.region is still the example's 'YOUR_REGION'"),
        ("ubuntu", "<user>", "cluster.yaml:7: auth.ssh_user is still the example's '<user>'"),
        ("ubuntu", "u\n  ssh_private_key: /no/key", "cluster.yaml:8: auth.ssh_private_key: there is no file '/no/key'"),
        (
            "head_node_type: head",
            "head_node_type: head\ndocker: {image: i}",
            "cluster.yaml:17: docker.container_name is",
        ),
        (
            "head_node_type: head",
            "head_node_type: head\nfile_mounts: {/a: 1}",
            "cluster.yaml:17: file_mounts: '/a' must have a path of this machine, not 1",
        ),
        (
            "head_node_type: head",
            "head_node_type: head\nhead_start_ray_commands:\n  - ray stop",
            "cluster.yaml:17: head_start_ray_commands start no head",
        ),
        (
            "head_node_type: head",
            "head_node_type: head\nhead_start_ray_commands:\n  - ray start --head",
            "cluster.yaml:17: no worker would ever start",
        ),
    ],
)
def test_mistakes_are_told_with_their_line(tmp_path: Path, old: str, new: str, expected: str) -> None:
    assert old in AWS
    assert refusal(tmp_path, AWS.replace(old, new)).startswith(expected)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("  ssh_user: me", "  ssh_private_key: null", "cluster.yaml:7: auth.ssh_private_key must be text"),
        ("auth:\n  ssh_user: me\n", "", "cluster.yaml:1: auth.ssh_user is missing"),
        ("  head_ip: 10.0.0.1\n", "", "cluster.yaml:2: the provider local needs head_ip, and worker_ips"),
        (
            "[10.0.0.2, 10.0.0.3]",
            "[10.0.0.1]",
            "cluster.yaml:5: provider.worker_ips.0 is the same machine as provider.h",
        ),
        (
            "[10.0.0.2, 10.0.0.3]",
            "[a, b, a]",
            "cluster.yaml:5: provider.worker_ips.2 is the same machine as provider.w",
        ),
        ("[10.0.0.2, 10.0.0.3]", "[10.1]", "cluster.yaml:5: provider.worker_ips.0 must be the name or address"),
        ("10.0.0.1", "YOUR_HEAD_NODE_HOSTNAME", "cluster.yaml:4: provider.head_ip is still the example's"),
        (
            "  ssh_user: me",
            "  ssh_user: me\nhead_node_type: a",
            "cluster.yaml:8: head_node_type is not for the provider",
        ),
    ],
)
def test_mistakes_in_lists_of_machines_are_told_with_their_line(
    tmp_path: Path, old: str, new: str, expected: str
) -> None:
    assert old in LOCAL
    assert refusal(tmp_path, LOCAL.replace(old, new)).startswith(expected)


def test_a_cluster_on_which_nothing_can_run_is_refused(tmp_path: Path) -> None:
    text = AWS.replace("    min_workers: 1\n    max_workers: 4\n", "    max_workers: 0\n")
    assert "nothing can run: the head has no CPU for tasks, and no worker may start" in refusal(tmp_path, text)
    read_launcher(write(tmp_path, text.replace("{CPU: 0}", "{CPU: 2}")))


def test_all_mistakes_are_told_at_once_in_the_order_of_their_lines(tmp_path: Path) -> None:
    text = AWS.replace("cluster_name: c", "cluster_name: 3").replace("  ssh_user", "  ssh_usr") + "colour: red\n"
    lines = refusal(tmp_path, text).splitlines()
    assert lines[0] == f"3 problems in '{tmp_path}/cluster.yaml'"
    assert [line.split(":")[1] for line in lines[1:]] == ["1", "7", "17"]
    assert lines[3].strip() == "cluster.yaml:17: colour is not a key of a launcher file"


def test_files_that_are_not_yaml_are_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path, "a: [1\nb: 2\n").startswith("cluster.yaml:2: not YAML")
    assert refusal(tmp_path, "- a\n") == "cluster.yaml:1: must be a mapping with the keys cluster_name and provider"
    assert refusal(tmp_path, "") == "cluster.yaml:1: must be a mapping with the keys cluster_name and provider"
    (tmp_path / "cluster.yaml").write_bytes(b"a: \xff\n")
    with pytest.raises(UsageError, match="it is not text in UTF-8"):
        read_launcher(tmp_path / "cluster.yaml")
    with pytest.raises(UsageError, match=r"cannot read the cluster's launcher file .*No such file"):
        read_launcher(tmp_path / "no.yaml")


def test_the_port_and_the_token_are_those_of_the_file(tmp_path: Path) -> None:
    more = "head_start_ray_commands: [ray start --head --dashboard-port=9000]\nfile_mounts: {~/.ray/auth_token: /k/t}\n"
    launcher = read_launcher(write(tmp_path, LOCAL.replace("[10.0.0.2, 10.0.0.3]", "[]") + "max_workers: 0\n" + more))
    assert (launcher.dashboard_port, launcher.token_path) == (9000, Path("/k/t"))
    with pytest.raises(UsageError, match=r"cluster.yaml:10: there is no '/k/t' .*: `ray get-auth-token --generate`"):
        launcher.check_mounts()


def test_a_cluster_that_asks_for_no_token_is_started_only_where_that_is_wanted(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cluster 'c' would take jobs from anybody who reaches it: nothing in"):
        start_cluster(read_launcher(write(tmp_path, AWS)), lambda line: None)
    for mode in ("token", "disabled"):
        start = f"RAY_AUTH_MODE={mode} ray start --head --autoscaling-config=~/ray_bootstrap_config.yaml"
        read_launcher(write(tmp_path, AWS + f"head_start_ray_commands: [ray stop, {start}]\n")).check_token()
    for path in (PROJECT / "cluster.yaml", *(PROJECT / "jobs" / "clusters").glob("*.yaml")):
        assert "RAY_AUTH_MODE=token" in path.read_text()


def test_reading_a_launcher_file_does_not_import_ray() -> None:
    code = (
        "import sys; from pathlib import Path; from vidcnn.cluster.launcher import read_launcher; "
        "read_launcher(Path('cluster.yaml')); import vidcnn.cluster.tunnel; assert 'ray' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=PROJECT)


@pytest.mark.parametrize("name", ["gcp", "azure", "on-premise"])
def test_the_files_for_other_machines_are_whole(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for path in (".ray/auth_token", ".ssh/id_rsa", ".ssh/id_rsa.pub", ".ssh/id_ed25519"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text("key")
    path = PROJECT / "jobs" / "clusters" / f"{name}.yaml"
    launcher = read_launcher(path)
    launcher.check_mounts()
    assert launcher.name == "vidcnn"
    text, for_aws = path.read_text(), (PROJECT / "cluster.yaml").read_text()
    dependencies = for_aws[for_aws.index('    "av>=16,<19"') : for_aws.index("  - grep -q env/bin/activate")]
    assert set(re.findall(r'"[^"]+"', dependencies)) <= set(re.findall(r'"[^"]+"', text))
    assert for_aws[for_aws.index("# The dashboard listens") :] in text
    assert f"--cluster jobs/clusters/{name}.yaml" in text
