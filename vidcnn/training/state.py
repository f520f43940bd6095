"""How a run continues, and how far it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

CHECKPOINTS = "checkpoints"
"""Folder of a run directory for its checkpoints."""


@dataclass(frozen=True)
class RunSettings:
    """How a run continues, apart from what it learns.

    Args:
        directory: Where checkpoints and notes go.
        note_steps: Steps between notes.
        validate_steps: Steps between validations; the last step is always one, if there are videos for it.
        checkpoint_seconds: Time between checkpoints, besides those of validations.
        num_best: Checkpoints kept for their validation, besides the newest.
        mirror: URI of the run directory where that is in object storage; `directory` is then the driver's copy.
        lease: Path in that storage of the object that is there as long as the driver holds the run directory.
    """

    directory: Path
    note_steps: int
    validate_steps: int
    checkpoint_seconds: float
    num_best: int
    mirror: str | None = None
    lease: str | None = None


@dataclass(frozen=True)
class RunState:
    """How far a run is, for those who watch it.

    Attributes:
        step: Steps done.
        seconds: Time since this process began to train.
        first_step: Steps that were done when it did.
        loss: Mean over the last noted steps.
        accuracy: Share of their samples whose class was found.
        waiting: Share of the time that the workers waited for clips, since this process began.
        num_bad: Samples of the run so far that could not be decoded.
        num_good: Samples of the run so far that could be decoded.
        num_short: Those of `num_good` that are longer than their video.
        score: What the last validation reached; None before the first.
        phase: ``training``, ``validating``, ``stopped`` or ``done``; in the last two, the step is saved.
    """

    step: int
    seconds: float
    first_step: int
    loss: float | None = None
    accuracy: float | None = None
    waiting: float = 0.0
    num_bad: int = 0
    num_good: int = 0
    num_short: int = 0
    score: float | None = None
    phase: str = "training"
