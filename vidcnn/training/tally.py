"""What training saw in some steps, counted so that it does not show in which parts it was counted."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from vidcnn.training.feed import BadSample


@dataclass
class Tally:
    """What some workers saw in some steps.

    Attributes:
        losses: Sum of the losses of each worker's share of each step.
        num_good: Samples that could be decoded.
        num_correct: Those whose class was found.
        bad: The samples that could not be decoded.
        num_short: Samples that could be decoded, and are longer than their video.
    """

    losses: list[float] = field(default_factory=list)
    num_good: int = 0
    num_correct: int = 0
    bad: list[BadSample] = field(default_factory=list)
    num_short: int = 0

    @classmethod
    def from_values(cls, values: dict[str, Any]) -> Tally:
        """Read what `values` returned."""
        return cls(**{**values, "bad": [BadSample(**sample) for sample in values["bad"]]})

    def values(self) -> dict[str, Any]:
        """Return all as plain values."""
        return asdict(self)

    def add(self, other: Tally) -> None:
        """Count what another tally has too."""
        self.losses += other.losses
        self.num_good += other.num_good
        self.num_correct += other.num_correct
        self.bad += other.bad
        self.num_short += other.num_short

    @property
    def loss(self) -> float:
        """Mean over the samples; the same whatever the order in which they were added."""
        return math.fsum(self.losses) / max(1, self.num_good)

    @property
    def accuracy(self) -> float:
        """Share of the samples whose class was found."""
        return self.num_correct / max(1, self.num_good)
