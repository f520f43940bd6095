from __future__ import annotations

import re
from typing import Any

import kubernetes_validate
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.schedule.cases import NASTY, make_task
from tests.schedule.expressions import expressions
from vidcnn.config.schedule import default_name
from vidcnn.errors import UsageError
from vidcnn.schedule.cron import parse_cron
from vidcnn.schedule.kubernetes import Pod, manifest_text

JOB = "command: infer\nsource: [s3://${BUCKET}/videos/]   # 'all' of \"it\"\nout: s3://results/preds\n"
VERSIONS = ("1.31", "1.37")
FULL = Pod(
    image="registry.example.com/vidcnn:1", secret="storage", volumes=(("videos", "/data"), ("results", "/out")),
    service_account="runner", num_cpus=8, memory_gib=32, num_gpus=1, max_hours=12,
)  # fmt: skip


def documents(text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    config, cron_job = yaml.safe_load_all(text)
    return config, cron_job


def pod_of(cron_job: dict[str, Any]) -> dict[str, Any]:
    pod: dict[str, Any] = cron_job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    return pod


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("pod", [Pod(image="vidcnn"), FULL], ids=["plain", "full"])
@pytest.mark.parametrize("cluster", [None, "http://head:8265"])
def test_the_manifests_conform_to_the_published_schemas(version: str, pod: Pod, cluster: str | None) -> None:
    task = make_task(environment={"BUCKET": "b"}, cluster=cluster, timezone="Europe/Berlin")
    for document in documents(manifest_text(task, pod, JOB)):
        kubernetes_validate.validate(document, version, strict=True)


def test_the_schemas_would_find_a_mistake() -> None:
    _, cron_job = documents(manifest_text(make_task(), FULL, JOB))
    cron_job["spec"]["concurencyPolicy"] = "Forbid"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(cron_job, VERSIONS[-1], strict=True)


def test_runs_do_not_overlap_and_are_not_lost_when_one_takes_long() -> None:
    _, cron_job = documents(manifest_text(make_task(), FULL, JOB))
    spec = cron_job["spec"]
    assert (spec["concurrencyPolicy"], spec["timeZone"], spec["schedule"]) == ("Forbid", "Etc/UTC", "0 2 * * *")
    assert spec["startingDeadlineSeconds"] >= 10  # Kubernetes itself looks every ten seconds
    assert spec["jobTemplate"]["spec"]["activeDeadlineSeconds"] == 12 * 3600
    assert pod_of(cron_job)["restartPolicy"] == "Never"
    assert pod_of(cron_job)["terminationGracePeriodSeconds"] >= 60


def test_what_a_retry_does_not_change_is_not_tried_again() -> None:
    _, cron_job = documents(manifest_text(make_task(), FULL, JOB))
    rules = cron_job["spec"]["jobTemplate"]["spec"]["podFailurePolicy"]["rules"]
    codes = next(rule["onExitCodes"] for rule in rules if rule["action"] == "FailJob")
    assert codes["values"] == [2, 3, 75]
    assert codes["containerName"] in [container["name"] for container in pod_of(cron_job)["containers"]]


def test_a_pod_finds_its_job_its_volumes_and_shared_memory() -> None:
    config, cron_job = documents(manifest_text(make_task(settings=("limit=20",)), FULL, JOB))
    pod = pod_of(cron_job)
    (container,) = pod["containers"]
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert set(mounts.values()) == set(volumes)
    assert container["command"] == ["vidcnn", "run", "/etc/vidcnn/job.yaml", "--set", "limit=20", "--quiet"]
    assert volumes[mounts["/etc/vidcnn"]]["configMap"]["name"] == config["metadata"]["name"]
    assert config["data"] == {"job.yaml": JOB}
    assert volumes[mounts["/data"]]["persistentVolumeClaim"]["claimName"] == "videos"
    assert volumes[mounts["/dev/shm"]]["emptyDir"] == {"medium": "Memory", "sizeLimit": "8Gi"}
    assert container["workingDir"] == "/data"
    assert container["envFrom"] == [{"secretRef": {"name": "storage"}}]
    assert container["resources"]["limits"] == {"cpu": "8", "memory": "32Gi", "nvidia.com/gpu": "1"}


def test_a_run_on_a_cluster_only_submits() -> None:
    _, cron_job = documents(manifest_text(make_task(cluster="http://head:8265"), FULL, JOB))
    (container,) = pod_of(cron_job)["containers"]
    assert container["command"][-3:] == ["--cluster", "http://head:8265", "--quiet"]
    assert "nvidia.com/gpu" not in container["resources"]["limits"]
    assert "/dev/shm" not in [mount["mountPath"] for mount in container["volumeMounts"]]


def expanded(text: str) -> str:
    """Return what Kubernetes makes of a command or value: ``$$`` is a dollar, ``$(NAME)`` a variable."""
    assert not re.search(r"(?<!\$)(\$\$)*\$\(", text)
    return text.replace("$$", "$")


@pytest.mark.parametrize("nasty", NASTY)
def test_values_arrive_as_they_are(nasty: str) -> None:
    task = make_task(environment={"X": nasty}, settings=(f"out={nasty}",))
    config, cron_job = documents(manifest_text(task, FULL, f"# {nasty}\n{JOB}"))
    (container,) = pod_of(cron_job)["containers"]
    assert expanded(container["env"][0]["value"]) == nasty
    assert expanded(container["command"][4]) == f"out={nasty}"
    assert config["data"]["job.yaml"] == f"# {nasty}\n{JOB}"


@given(expressions())
def test_schedules_are_in_the_numbers_that_kubernetes_knows(text: str) -> None:
    fields = parse_cron(text).text.split()
    for field, (low, high) in zip(fields, ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6)), strict=True):
        for term in field.split(","):
            numbers, _, step = term.partition("/")
            assert numbers == "*" or all(low <= int(number) <= high for number in numbers.split("-"))
            assert not step or (int(step) > 0 and (numbers == "*" or "-" in numbers))


@given(st.text(max_size=80))
def test_names_are_labels_of_rfc_1123(stem: str) -> None:
    name = default_name(stem)
    assert re.fullmatch("[a-z0-9]([a-z0-9-]{0,50}[a-z0-9])?", name)


def test_a_job_that_no_config_map_holds_is_refused() -> None:
    with pytest.raises(UsageError, match="larger than a ConfigMap"):
        manifest_text(make_task(), FULL, "x" * 1_100_000)
