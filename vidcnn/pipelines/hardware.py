"""What can only be told where the model is going to run: on a cluster, the head may be another kind of machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from vidcnn.cluster import is_attached

Answer = TypeVar("Answer")


def ask_there(question: Callable[..., Answer], *arguments: Any, device: str) -> Answer:
    """Call a function on a machine that has what the model needs.

    Args:
        question: The function.
        *arguments: Its arguments.
        device: ``cpu`` or ``cuda``.
    """
    if not is_attached():
        return question(*arguments)
    import ray

    needs: dict[str, Any] = {"num_gpus": 1} if device == "cuda" else {"num_cpus": 0.01}
    answer: Answer = ray.get(ray.remote(question).options(**needs).remote(*arguments))
    return answer
