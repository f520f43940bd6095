"""What is only known where the model is going to run: on a cluster, the head may be another kind of machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from vidcnn.cluster import Machine, is_attached
from vidcnn.errors import UsageError, VidcnnError

Answer = TypeVar("Answer")


def ask_there(question: Callable[..., Answer], *arguments: Any, device: str) -> Answer:
    """Call a function on a machine that has what the model needs.

    Args:
        question: The function.
        *arguments: Its arguments.
        device: ``cpu`` or ``cuda``.

    Raises:
        VidcnnError: The function raised it.
    """
    if not is_attached():
        return question(*arguments)
    import ray
    from ray.exceptions import RayTaskError

    needs: dict[str, Any] = {"num_gpus": 1} if device == "cuda" else {"num_cpus": 0.01}
    try:
        answer: Answer = ray.get(ray.remote(question).options(**needs).remote(*arguments))
    except RayTaskError as error:
        raise error.cause if isinstance(error.cause, VidcnnError) else error from None
    return answer


def uses_gpus(device: str, machine: Machine) -> bool:
    """Return whether the model runs on GPUs.

    Args:
        device: What the user wants: ``auto``, ``cpu`` or ``cuda``.
        machine: What there is.

    Raises:
        UsageError: ``cuda`` is wanted, and there is no GPU.
    """
    if device == "cuda" and machine.num_gpus < 1:
        raise UsageError("--device cuda, but there is no GPU", "use --device cpu, or check the driver")
    return machine.num_gpus >= 1
