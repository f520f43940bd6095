"""A small network and random batches, for tests of training without videos."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from vidcnn.models.bundle import Bundle
from vidcnn.models.resolve import make_bundle
from vidcnn.sampling.segments import Sampling
from vidcnn.training.batch import Batch, Worker
from vidcnn.training.recipe import Recipe

NUM_CLASSES = 4
SHAPE = (4, 16, 16, 3)


def tiny_bundle(directory: Path, **arguments: Any) -> Bundle:
    labels = directory / "labels.txt"
    labels.write_text("a\nb\nc\nd\n")
    options = {"channels": [4, 6], "hidden": 8} | arguments
    bundle = make_bundle("simple3d", weights="random", labels=str(labels), arguments=options)
    assert bundle.sampling == Sampling(16, fps=15)
    return bundle


def recipe(**values: Any) -> Recipe:
    return Recipe(**{"num_steps": 100, "batch_size": 8, "learning_rate": 0.01, "seed": 3} | values)


def batch(samples: range, bad: frozenset[int] = frozenset()) -> Batch:
    """Make the batch of some samples; each sample's pixels and class follow from its number."""
    pixels = np.empty((len(samples), *SHAPE), np.uint8)
    targets = np.zeros((len(samples), NUM_CLASSES), np.float32)
    for row, sample in enumerate(samples):
        generator = np.random.default_rng(sample)
        label = sample % NUM_CLASSES
        pixels[row] = generator.integers(0, 120, SHAPE) + 30 * label
        targets[row, label] = 1
    weights = np.array([sample not in bad for sample in samples], np.float32)
    return Batch(samples, pixels, targets, weights)


def share(worker: Worker, step: int, batch_size: int = 8) -> Batch:
    return batch(worker.share(step, batch_size))
