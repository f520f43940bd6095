"""What is wrong with a Ray cluster-launcher file: from its values to problems with their places.

First come the rules of Ray's own schema; if they are kept, those that the schema does not have but without which Ray's
launcher fails, often after the first machines are paid for. What Ray merely warns of is no problem here, except for
clusters on which nothing could run.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from vidcnn.config.yaml_lines import KeyPath, shown_path

PROVIDERS = ("aws", "azure", "gcp", "aliyun", "vsphere", "local", "external")
"""Providers whose machines are reached over SSH."""

Found = tuple[KeyPath, str]
"""A problem: where, and what."""

_OTHER_PROVIDERS = ("kuberay", "kubernetes", "readonly", "spark", "fake_multinode", "fake_multinode_docker")
_PLACEHOLDER = re.compile(
    r"(?i)^<[^<>]*>$|\b(your|worker_node_\d|head_node)_|\b(change|replace|edit)[-_ ]?me\b"
    r"|/path/to/|x{5,}|^\.\.\.$|^todo\b"
)
_KINDS = {
    "string": "text (in quotes if need be)",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping",
    "null": "null",
}


def find_problems(config: Any) -> list[Found]:
    """Find what is wrong with a launcher file.

    Args:
        config: Its value.

    Returns:
        Places, and what is wrong there.
    """
    if not isinstance(config, Mapping):
        return [((), "must be a mapping with the keys cluster_name and provider")]
    found = list(_against_schema(config))
    # What follows relies on the types that the schema asks for.
    return found or [
        *_placeholders(config, ()),
        *_provider_problems(config),
        *_node_type_problems(config),
        *_command_problems(config),
        *_file_problems(config),
    ]


def _against_schema(config: Mapping[str, Any]) -> Iterator[Found]:
    from jsonschema import Draft7Validator

    for error in Draft7Validator(_schema()).iter_errors(_as_ray_completes(config)):
        yield from _in_words(error)


def _schema() -> Any:
    """Return Ray's schema, without importing Ray, which takes seconds."""
    package = find_spec("ray")
    assert package is not None
    assert package.origin is not None
    return json.loads((Path(package.origin).parent / "autoscaler" / "ray-schema.json").read_text())


def _as_ray_completes(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a launcher file without what Ray takes out, and with what it fills in, before it checks the schema."""
    completed = {name: value for name, value in config.items() if name != "min_workers"}
    types = completed.get("available_node_types")
    kind = _provider_type(config)
    if (kind == "aws" or kind not in PROVIDERS) and isinstance(types, dict):
        completed["available_node_types"] = {
            name: {"resources": {}} | node if isinstance(node, dict) else node for name, node in types.items()
        }
    return completed


def _in_words(error: Any) -> Iterator[Found]:
    place: KeyPath = tuple(error.absolute_path)
    name, rule, value = shown_path(place), error.validator_value, error.instance
    if error.validator == "required":
        for key in rule:
            if key not in value:
                yield place, f"{name or 'the file'} needs a key {key}"
    elif error.validator == "additionalProperties":
        known = list(error.schema.get("properties", {}))
        for key in value:
            if key not in known:
                nearest = difflib.get_close_matches(str(key), known, 1)
                advice = f": did you mean {nearest[0]}?" if nearest else ""
                yield (*place, key), f"{shown_path((*place, key))} is not a key of {name or 'a launcher file'}{advice}"
    elif error.validator == "type":
        kinds = [rule] if isinstance(rule, str) else rule
        wanted = " or ".join(_KINDS.get(kind, kind) for kind in kinds)
        yield place, f"{name} must be {wanted}, not {_value(value)}"
    elif error.validator == "minimum":
        yield place, f"{name} must be at least {rule}, not {_value(value)}"
    elif error.validator == "enum":
        yield place, f"{name} must be one of {', '.join(map(str, rule))}, not {_value(value)}"
    else:
        yield place, f"{name}: {error.message}"


def _placeholders(value: Any, place: KeyPath) -> Iterator[Found]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not str(key).endswith("_commands"):
                yield from _placeholders(item, (*place, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _placeholders(item, (*place, index))
    elif isinstance(value, str) and _PLACEHOLDER.search(value):
        yield place, f"{shown_path(place)} is still the example's {value!r}: put your own there"


def _provider_problems(config: Mapping[str, Any]) -> Iterator[Found]:
    provider, kind = config["provider"], _provider_type(config)
    place = ("provider", "type")
    if kind in _OTHER_PROVIDERS:
        yield place, f"a cluster of the provider {kind} is not reached over SSH: give its address, http://HOST:8265"
    elif kind not in PROVIDERS:
        nearest = difflib.get_close_matches(kind, PROVIDERS, 1)
        advice = f"did you mean {nearest[0]}?" if nearest else f"providers are {', '.join(PROVIDERS)}"
        yield place, f"provider.type {kind!r} is unknown: {advice}"
    elif kind == "external" and "module" not in provider:
        yield place, "an external provider needs provider.module"
    elif kind in ("aws", "gcp") and not provider.get("region"):
        yield ("provider", "region"), "provider.region is missing: name the one where your machines shall run"
    if kind == "gcp" and not provider.get("project_id"):
        yield ("provider", "project_id"), "provider.project_id must be the id of your project"
    if kind == "local":
        yield from _local_problems(config)


def _local_problems(config: Mapping[str, Any]) -> Iterator[Found]:
    provider = config["provider"]
    if not config.get("auth", {}).get("ssh_user"):
        yield ("auth",), "auth.ssh_user is missing: the user that the machines are entered as"
    for key in ("available_node_types", "head_node_type"):
        if config.get(key):
            yield (key,), f"{key} is not for the provider local: its machines are provider.worker_ips"
    if "coordinator_address" in provider:
        if "max_workers" not in config:
            yield ("provider", "coordinator_address"), "max_workers is needed beside provider.coordinator_address"
        return
    if not provider.get("head_ip") or not isinstance(provider.get("worker_ips"), list):
        yield ("provider",), "the provider local needs head_ip, and worker_ips (a list, empty for a head alone)"
        return
    seen: dict[str, str] = {provider["head_ip"]: "provider.head_ip"}
    for index, address in enumerate(provider["worker_ips"]):
        place = ("provider", "worker_ips", index)
        if not isinstance(address, str):
            yield place, f"{shown_path(place)} must be the name or address of a machine, not {_value(address)}"
        elif address in seen:
            yield place, f"{shown_path(place)} is the same machine as {seen[address]}: {address}"
        else:
            seen[address] = shown_path(place)


def _node_type_problems(config: Mapping[str, Any]) -> Iterator[Found]:
    types: Mapping[str, Mapping[str, Any]] = config.get("available_node_types") or {}
    head, most = config.get("head_node_type", ""), config.get("max_workers")
    if not types or _provider_type(config) == "local":
        return
    if not head:
        yield ("available_node_types",), "head_node_type is missing: name the node type of the head"
    elif head not in types:
        yield ("head_node_type",), f"head_node_type {head!r} is none of available_node_types: {', '.join(types)}"
    for name, node in types.items():
        low, high = node.get("min_workers", 0), node.get("max_workers")
        place = ("available_node_types", name)
        for key in ("min_workers", "max_workers"):
            if node.get(key, 0) < 0:
                yield (*place, key), f"{shown_path((*place, key))} must be at least 0, not {node[key]}"
        if high is not None and 0 <= high < low:
            yield (*place, "min_workers"), f"{shown_path(place)} has min_workers {low} above its max_workers {high}"
    wanted = sum(node.get("min_workers", 0) for node in types.values())
    if most is not None and wanted > most:
        yield ("max_workers",), f"max_workers {most} is below the {wanted} that min_workers of all node types ask for"
    idle_head = head in types and types[head].get("resources", {}).get("CPU") == 0
    if idle_head and not wanted and not _workers_may_start(config):
        yield ("max_workers",), "nothing can run: the head has no CPU for tasks, and no worker may start"


def _workers_may_start(config: Mapping[str, Any]) -> bool:
    if config.get("max_workers") == 0:
        return False
    head = config.get("head_node_type")
    types = config.get("available_node_types") or {}
    # Without a number of its own, a type has as many as the whole cluster, save that of the head.
    return not types or any(node.get("max_workers", 0 if name == head else 1) > 0 for name, node in types.items())


def _command_problems(config: Mapping[str, Any]) -> Iterator[Found]:
    commands = config.get("head_start_ray_commands")
    if commands is None:
        return
    place = ("head_start_ray_commands",)
    starts = [command for command in commands if "ray start" in command]
    if not any("--head" in command for command in starts):
        yield place, "head_start_ray_commands start no head: one of them must be `ray start --head ...`"
    elif _workers_may_start(config) and not any("--autoscaling-config" in command for command in starts):
        yield place, "no worker would ever start: `ray start` needs --autoscaling-config=~/ray_bootstrap_config.yaml"


def _file_problems(config: Mapping[str, Any]) -> Iterator[Found]:
    for there, here in (config.get("file_mounts") or {}).items():
        if not isinstance(here, str):
            yield ("file_mounts", there), f"file_mounts: {there!r} must have a path of this machine, not {_value(here)}"
    key = config.get("auth", {}).get("ssh_private_key")
    if key is not None and not Path(key).expanduser().is_file():
        yield ("auth", "ssh_private_key"), f"auth.ssh_private_key: there is no file '{key}'"
    docker = config.get("docker") or {}
    image = docker.get("image") or (docker.get("head_image") and docker.get("worker_image"))
    if docker and bool(image) != bool(docker.get("container_name")):
        missing = "container_name" if image else "image"
        yield ("docker",), f"docker.{missing} is missing: a container needs an image and a name"


def _provider_type(config: Mapping[str, Any]) -> str:
    provider = config.get("provider")
    return str(provider.get("type", "")) if isinstance(provider, Mapping) else ""


def _value(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 40 else f"{text[:37]}..."
