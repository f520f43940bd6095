"""How a network is trained: plain numbers, and the learning rate as a function of the step."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from vidcnn.choices import Optimizer, Schedule, TrainingPrecision
from vidcnn.training.mixing import Mixing


@dataclass(frozen=True)
class Recipe:
    """Everything that the weights depend on, besides the data and the network to begin with.

    Args:
        num_steps: Steps of the whole run.
        batch_size: Samples of a step, B, all workers together.
        accumulation_steps: Parts in which a worker computes its share of a step, one after the other, to save memory.
        optimizer: ``sgd`` (with Nesterov momentum) or ``adamw``.
        learning_rate: At its highest, for the head and for all layers that `backbone_rate` does not change.
        backbone_rate: Factor on the learning rate of all layers but the head.
        momentum: Of ``sgd``.
        weight_decay: Of all weights but those of normalisation layers and biases.
        schedule: How the learning rate falls after the warm-up.
        warmup_steps: Steps in which it rises linearly from a hundredth.
        milestones: Steps at which ``multistep`` lowers it.
        gamma: Factor by which ``multistep`` lowers it.
        label_smoothing: Share of each target that goes to all classes equally.
        clip_norm: Largest norm of the gradient; None leaves it.
        ema_decay: Decay of the moving average of weights that is validated and saved; None has no average.
        mixing: Mixup and cutmix.
        frozen: Paths of modules that are not trained, such as ``stem`` or ``layer1``; ``backbone`` is all but the head.
        precision: ``bf16`` computes under autocast.
        sync_batch_norm: Whether batch statistics are of all workers' samples.
        compile: Whether the network is compiled.
        multi_label: Whether classes are scored independently.
        seed: Of everything that is random.
    """

    num_steps: int
    batch_size: int
    accumulation_steps: int = 1
    optimizer: Optimizer = "adamw"
    learning_rate: float = 1e-3
    backbone_rate: float = 1.0
    momentum: float = 0.9
    weight_decay: float = 0.05
    schedule: Schedule = "cosine"
    warmup_steps: int = 0
    milestones: tuple[int, ...] = ()
    gamma: float = 0.1
    label_smoothing: float = 0.0
    clip_norm: float | None = None
    ema_decay: float | None = None
    mixing: Mixing = field(default_factory=Mixing)
    frozen: tuple[str, ...] = ()
    precision: TrainingPrecision = "fp32"
    sync_batch_norm: bool = False
    compile: bool = False
    multi_label: bool = False
    seed: int = 0

    def rate(self, step: int) -> float:
        """Return the factor on the learning rate in a step, in (0, 1]."""
        if step < self.warmup_steps:
            return 0.01 + 0.99 * (step + 1) / self.warmup_steps
        if self.schedule == "multistep":
            return self.gamma ** sum(step >= milestone for milestone in self.milestones)
        if self.schedule == "cosine":
            done = (step - self.warmup_steps) / max(1, self.num_steps - self.warmup_steps)
            return max(1e-3, 0.5 * (1 + math.cos(math.pi * done)))
        return 1.0
