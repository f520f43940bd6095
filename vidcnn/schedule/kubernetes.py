"""A CronJob for Kubernetes 1.31 or newer, and the ConfigMap that contains the job spec."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vidcnn.errors import UsageError
from vidcnn.schedule.task import Task

_MAX_JOB_BYTES = 1_000_000
"""What fits into a ConfigMap."""
_FOLDER, _FILE = "/etc/vidcnn", "job.yaml"
_STOP_SECONDS = 300
_DEADLINE_SECONDS = 3600
"""How long after its time a run still starts: when the one before has taken longer, or Kubernetes itself was down."""
_FINAL_EXIT_CODES = (2, 3, 75)
"""Wrong usage, more bad videos than allowed, and an output that another run holds: what a retry does not change."""


@dataclass(frozen=True)
class Pod:
    """What a run gets.

    Attributes:
        image: Image with vidcnn.
        secret: Name of a Secret whose keys become variables of the environment.
        volumes: Names of volume claims, each with the folder where it is mounted.
        service_account: Name of the service account, where the cloud's own storage is read with its rights.
        num_cpus: Processors.
        memory_gib: Memory in GiB, the object store included.
        num_gpus: NVIDIA GPUs.
        max_hours: After so long, the run is stopped.
    """

    image: str
    secret: str | None = None
    volumes: tuple[tuple[str, str], ...] = ()
    service_account: str | None = None
    num_cpus: int = 4
    memory_gib: int = 16
    num_gpus: int = 0
    max_hours: float | None = None


def manifest_text(task: Task, pod: Pod, job_text: str) -> str:
    """Write the ConfigMap and the CronJob.

    Args:
        task: What is run, and when.
        pod: What each run gets. A run on a cluster only submits and waits there: it has no use for memory and GPUs.
        job_text: The job spec.

    Raises:
        UsageError: The job spec does not fit into a ConfigMap.
    """
    if len(job_text.encode()) > _MAX_JOB_BYTES:
        raise UsageError(f"the job spec '{task.job}' is larger than a ConfigMap may be", "list videos in a file")
    labels = {"app.kubernetes.io/name": "vidcnn", "app.kubernetes.io/instance": task.name}
    metadata = {"name": task.name, "labels": labels}
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {_FILE: job_text}}
    cron_job = {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": metadata,
        "spec": {
            "schedule": task.cron.text,
            "timeZone": task.timezone or "Etc/UTC",
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": _DEADLINE_SECONDS,
            "successfulJobsHistoryLimit": 3,
            "failedJobsHistoryLimit": 3,
            "jobTemplate": {"metadata": {"labels": labels}, "spec": _job(task, pod, labels)},
        },
    }
    return _dump([config, cron_job])


def _job(task: Task, pod: Pod, labels: dict[str, str]) -> dict[str, Any]:
    rules = [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        {
            "action": "FailJob",
            "onExitCodes": {"containerName": "vidcnn", "operator": "In", "values": list(_FINAL_EXIT_CODES)},
        },
    ]
    deadline = {} if pod.max_hours is None else {"activeDeadlineSeconds": max(1, round(pod.max_hours * 3600))}
    return {
        "backoffLimit": 2,
        **deadline,
        "podFailurePolicy": {"rules": rules},
        "template": {"metadata": {"labels": labels}, "spec": _pod(task, pod)},
    }


def _pod(task: Task, pod: Pod) -> dict[str, Any]:
    claims = [(f"claim-{number}", claim, folder) for number, (claim, folder) in enumerate(pod.volumes)]
    mounts: list[dict[str, Any]] = [
        {"name": "job", "mountPath": _FOLDER, "readOnly": True},
        *({"name": name, "mountPath": folder} for name, _, folder in claims),
    ]
    volumes: list[dict[str, Any]] = [
        {"name": "job", "configMap": {"name": task.name}},
        *({"name": name, "persistentVolumeClaim": {"claimName": claim}} for name, claim, _ in claims),
    ]
    if task.cluster is None:  # Ray passes clips on in shared memory, of which a pod has 64 MiB by itself
        mounts.append({"name": "shared-memory", "mountPath": "/dev/shm"})
        size = f"{max(1, pod.memory_gib // 4)}Gi"
        volumes.append({"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": size}})
    container = {
        "name": "vidcnn",
        "image": pod.image,
        "command": ["vidcnn", *map(_literal, task.arguments(f"{_FOLDER}/{_FILE}"))],
        **({"workingDir": pod.volumes[0][1]} if pod.volumes else {}),
        **({"env": _variables(task)} if task.environment else {}),
        **({"envFrom": [{"secretRef": {"name": pod.secret}}]} if pod.secret else {}),
        "resources": _resources(task, pod),
        "volumeMounts": mounts,
    }
    return {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": _STOP_SECONDS,
        **({"serviceAccountName": pod.service_account} if pod.service_account else {}),
        "containers": [container],
        "volumes": volumes,
    }


def _variables(task: Task) -> list[dict[str, str]]:
    return [{"name": name, "value": _literal(value)} for name, value in task.environment.items()]


def _literal(text: str) -> str:
    """Write a text in which Kubernetes replaces ``$(NAME)`` by a variable, and ``$$`` by ``$``."""
    return text.replace("$", "$$")


def _resources(task: Task, pod: Pod) -> dict[str, dict[str, str]]:
    if task.cluster is not None:
        return {"requests": {"cpu": "250m", "memory": "1Gi"}, "limits": {"memory": "2Gi"}}
    wanted = {"cpu": str(pod.num_cpus), "memory": f"{pod.memory_gib}Gi"}
    if pod.num_gpus:
        wanted["nvidia.com/gpu"] = str(pod.num_gpus)
    return {"requests": wanted, "limits": dict(wanted)}  # Ray counts the processors of the limit


def _dump(documents: Sequence[dict[str, Any]]) -> str:
    """Write documents of YAML, with texts of several lines as such and nothing referring to other places."""
    import yaml

    class Dumper(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:
            return True

    def write_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)

    Dumper.add_representer(str, write_text)
    return yaml.dump_all(documents, Dumper=Dumper, sort_keys=False, allow_unicode=True, explicit_start=True, width=120)
