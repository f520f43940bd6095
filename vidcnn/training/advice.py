"""What a user can do about a run that needs other settings, which a run directory with a checkpoint refuses."""

from __future__ import annotations

from vidcnn.training.checkpoints import Checkpoint
from vidcnn.training.state import RunSettings


def other_settings_hint(change: str, settings: RunSettings, architecture: str, newest: Checkpoint | None) -> str:
    """Return how to train with other settings.

    Args:
        change: What to change, as an order: ``lower --lr``.
        settings: The run's.
        architecture: Name of the network.
        newest: The run's newest checkpoint, if there is one.
    """
    if newest is None:
        return f"{change}, with the same --out: there is no checkpoint yet that it would have to fit"
    if settings.mirror is not None:
        return f"{change}, with another --out: this run, at step {newest.step}, continues with its own settings only"
    return (
        f"{change}, with another --out, since this run continues with its own settings only; to begin with its weights "
        f"of step {newest.step}, add --model {architecture} --weights {newest.path}"
    )
