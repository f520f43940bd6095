"""The same question to each node of the Ray that this process is connected to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from vidcnn.errors import first_line

Answer = TypeVar("Answer")

_HEAD = "node:__internal_head__"
"""A resource that the head has, and no other node."""


@dataclass(frozen=True)
class Answers(Generic[Answer]):
    """What nodes answered.

    Attributes:
        given: The answers, by the names of nodes.
        lost: Nodes that gave none, and why.
    """

    given: dict[str, Answer]
    lost: dict[str, str]


def ask_each_node(question: Callable[..., Answer], *arguments: Any, seconds: float) -> Answers[Answer]:
    """Call a function on each node, on all at once.

    It is called beside whatever the nodes do, and waits for no place.

    Args:
        question: The function.
        *arguments: Its arguments.
        seconds: How long to wait for answers.
    """
    import ray
    from ray.exceptions import RayError, RayTaskError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    names = _names([node for node in nodes if node["Alive"]])
    tasks = {
        name: ray.remote(question)
        .options(num_cpus=0, max_retries=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node_id, soft=False))
        .remote(*arguments)
        for node_id, name in names.items()
    }
    ready, _ = ray.wait(list(tasks.values()), num_returns=len(tasks), timeout=seconds)
    answers = Answers[Answer]({}, {})
    for name, task in tasks.items():
        if task not in ready:
            ray.cancel(task, force=True)
            answers.lost[name] = f"gave no answer in {seconds:.0f} s"
            continue
        try:
            answers.given[name] = ray.get(task)
        except RayTaskError as error:
            answers.lost[name] = first_line(error.cause if isinstance(error.cause, Exception) else error)
        except RayError as error:
            answers.lost[name] = f"{type(error).__name__}: {first_line(error)}"
    return answers


def _names(nodes: list[dict[str, Any]]) -> dict[str, str]:
    """Return a name for each node by its id: its address, and a number where several have the same; the head first."""
    names: dict[str, str] = {}
    for node in sorted(nodes, key=lambda node: (_HEAD not in node["Resources"], node["NodeManagerAddress"])):
        address, number = node["NodeManagerAddress"], 1
        name = address
        while name in names.values():
            number += 1
            name = f"{address}#{number}"
        names[node["NodeID"]] = name
    return names
