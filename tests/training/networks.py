"""Some steps of a network of the registry, in each precision: a program, whose memory is not clean when it gets it.

Kernels that read what they were not given show in the loss, or in a gradient that is not a number: each piece of
memory that the C library hands out is full of large numbers (``MALLOC_PERTURB_``).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from vidcnn.models.registry import architecture
from vidcnn.models.resolve import make_bundle
from vidcnn.sampling.segments import Sampling
from vidcnn.training.batch import Batch, Worker
from vidcnn.training.loop import Trainer
from vidcnn.training.recipe import Recipe

NUM_STEPS = 20
NUM_CLASSES = 2


def train(name: str, num_frames: int, size: int, precision: str) -> list[float]:
    """Train on clips of two kinds, and return the loss of each step.

    Raises:
        AssertionError: A gradient is not a number.
    """
    bundle = make_bundle(name, weights="random", num_classes=NUM_CLASSES)
    preprocessing = replace(bundle.preprocessing, resize=(size, size), crop=(size, size))
    if (num_frames, preprocessing.crop) != (bundle.sampling.num_frames, bundle.preprocessing.crop):
        bundle = replace(bundle, sampling=Sampling(num_frames, fps=15), preprocessing=preprocessing)
    architecture(name).check_input(bundle.sampling, bundle.preprocessing)
    recipe = Recipe(NUM_STEPS, 2, optimizer="sgd", learning_rate=1e-3, schedule="constant", precision=precision)  # type: ignore[arg-type]
    trainer = Trainer(bundle, recipe, Worker())
    losses = []
    for step in range(NUM_STEPS):
        samples = range(2 * step, 2 * step + 2)
        shape = (num_frames, size, size, 3)
        pixels = [np.random.default_rng(sample).integers(0, 100, shape, np.uint8) for sample in samples]
        batch = Batch(
            samples,
            np.stack([frames + np.uint8(100 * (sample % 2)) for sample, frames in zip(samples, pixels, strict=True)]),
            np.eye(NUM_CLASSES, dtype=np.float32)[[sample % 2 for sample in samples]],
            np.ones(2, np.float32),
        )
        result = trainer.train_step(batch)
        bad = [name for name, weight in trainer.trained.named_parameters() if not weight.grad.isfinite().all()]  # type: ignore[union-attr]
        assert result.is_finite, f"step {step} in {precision}: {bad}"
        losses.append(float(result.losses.mean()))
    return losses


def train_in_dirty_memory(name: str, num_frames: int, size: int, timeout: float) -> dict[str, list[float]]:
    """Return the losses in each precision, from a process whose memory is dirty."""
    child = subprocess.run(
        [sys.executable, "-m", "tests.training.networks", name, str(num_frames), str(size)],
        cwd=Path(__file__).parents[2],
        env=os.environ | {"MALLOC_PERTURB_": "128"},  # what is handed out is filled with 127
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert child.returncode == 0, child.stderr[-2000:]
    losses: dict[str, list[float]] = json.loads(child.stdout.splitlines()[-1])
    return losses


if __name__ == "__main__":
    torch.manual_seed(0)
    print(json.dumps({kind: train(sys.argv[1], *map(int, sys.argv[2:4]), kind) for kind in ("fp32", "bf16")}))
