"""Bundles and clips that tests of scores share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from vidcnn.models.bundle import Bundle
from vidcnn.models.resolve import make_bundle
from vidcnn.sampling.segments import Sampling

Clips = NDArray[np.uint8]


@pytest.fixture
def threads() -> Iterator[None]:
    """Threads are set for the whole process: put them back."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def clips_of(bundle: Bundle, num: int, size: tuple[int, int] | None = None, seed: int = 0) -> Clips:
    shape = (num, bundle.sampling.num_frames, *(size or bundle.preprocessing.crop), 3)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def small_bundle(name: str = "simple3d", num_frames: int = 16, **options: Any) -> Bundle:
    bundle = make_bundle(name, weights="random", num_classes=11, **options)
    return replace(bundle, sampling=Sampling(num_frames, fps=15))
