"""The manifests for KubeRay that ship.

KubeRay publishes the schemas of its resources in its own repository and chart, and no package carries them: their
folder may be named by VIDCNN_KUBERAY_CRDS. What is in the pods is checked against the schemas of Kubernetes itself.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from vidcnn.config.job_files import read_job

TEXT = (Path(__file__).parents[2] / "jobs" / "kuberay.yaml").read_text()
CONFIG, CLUSTER, JOB = yaml.safe_load_all(TEXT)


def closed(schema: Any) -> Any:
    """Return a schema that takes no fields which it does not name, as Kubernetes drops them without a word."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    result = {key: closed(value) for key, value in schema.items()}
    if "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
        result["additionalProperties"] = False
    return result


@pytest.mark.parametrize(("resource", "plural"), [(CLUSTER, "rayclusters"), (JOB, "rayjobs")])
def test_the_resources_conform_to_kuberays_own_schemas(resource: dict[str, Any], plural: str) -> None:
    folder = os.environ.get("VIDCNN_KUBERAY_CRDS")
    if folder is None:
        pytest.skip("VIDCNN_KUBERAY_CRDS names no folder with the schemas of KubeRay (its chart's folder crds)")
    definition = yaml.safe_load(Path(folder, f"ray.io_{plural}.yaml").read_text())
    (version,) = [version for version in definition["spec"]["versions"] if version["name"] == "v1"]
    schema = closed(version["schema"]["openAPIV3Schema"])
    schema["properties"]["metadata"] = {"type": "object"}
    jsonschema.validate(resource, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(resource | {"spec": resource["spec"] | {"clusterSelecter": {}}}, schema)


@pytest.mark.parametrize("group", [CLUSTER["spec"]["headGroupSpec"], *CLUSTER["spec"]["workerGroupSpecs"]])
def test_the_pods_conform_to_the_schemas_of_kubernetes(group: dict[str, Any]) -> None:
    template = {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "x"}, "template": group["template"]}
    kubernetes_validate.validate(template, "1.31", strict=True)


def test_the_job_is_valid_and_the_head_has_it(tmp_path: Path) -> None:
    kubernetes_validate.validate(CONFIG, "1.31", strict=True)
    (name,) = CONFIG["data"]
    (tmp_path / name).write_text(CONFIG["data"][name])
    assert read_job(tmp_path / name)
    pod = CLUSTER["spec"]["headGroupSpec"]["template"]["spec"]
    (volume,) = pod["volumes"]
    (mount,) = pod["containers"][0]["volumeMounts"]
    assert volume["configMap"]["name"] == CONFIG["metadata"]["name"]
    assert mount["name"] == volume["name"]
    assert f"vidcnn run {mount['mountPath']}/{name} --cluster auto " in JOB["spec"]["entrypoint"]
    assert JOB["spec"]["clusterSelector"] == {"ray.io/cluster": CLUSTER["metadata"]["name"]}


def test_the_head_does_no_work_and_the_workers_come_when_there_is_some() -> None:
    spec = CLUSTER["spec"]
    assert spec["enableInTreeAutoscaling"] is True
    assert spec["authOptions"] == {"mode": "token"}
    assert spec["headGroupSpec"]["rayStartParams"] == {"num-cpus": "0", "num-gpus": "0"}
    gpus = {}
    for group in spec["workerGroupSpecs"]:
        assert (group["replicas"], group["minReplicas"]) == (0, 0)
        assert group["maxReplicas"] > 0
        (container,) = group["template"]["spec"]["containers"]
        gpus[group["groupName"]] = container["resources"]["limits"].get("nvidia.com/gpu")
    assert gpus == {"decoder": None, "classifier": "1"}


def test_all_pods_have_one_image() -> None:
    groups = [CLUSTER["spec"]["headGroupSpec"], *CLUSTER["spec"]["workerGroupSpecs"]]
    assert len({container["image"] for group in groups for container in group["template"]["spec"]["containers"]}) == 1
