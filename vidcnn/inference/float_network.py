"""A bundle's network in float32 beside clips, in parts: what its int8 form is calibrated and fine-tuned by.

Letters: N clips, T frames, H height, W width, D values of the embedding, K classes.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vidcnn.inference.int8_network import trace
from vidcnn.inference.network import InferenceNetwork
from vidcnn.models.bundle import Bundle
from vidcnn.sampling.preprocessing import resize_and_crop_tensor
from vidcnn.video.pixels import UInt8Array


class FloatNetwork:
    """A bundle's network in float32, with batch normalisation folded, and some clips.

    Args:
        bundle: The model.
        clips: uint8 ``(N, T, H, W, 3)``.

    Attributes:
        traced: The graph of its backbone, which maps what `batch` returns to embeddings ``(N, D)``.
        head: Maps embeddings to logits ``(N, K)``.

    Raises:
        ModelError: It cannot be traced, or has no 3D convolutions.
    """

    def __init__(self, bundle: Bundle, clips: UInt8Array) -> None:
        self._network = InferenceNetwork(bundle, "fp32", torch.device("cpu"))
        self._preprocessing = bundle.preprocessing
        self._clips = clips
        self.head = self._network.head
        self.traced = trace(self._network.backbone, bundle.architecture)

    def batch(self, indexes: NDArray[np.int64]) -> Tensor:
        """Return what the backbone takes for some of the clips, float32 ``(n, C, T, H, W)``."""
        pixels = resize_and_crop_tensor(torch.from_numpy(self._clips[indexes]), self._preprocessing)
        with torch.no_grad():
            taken: Tensor = self._network.front(self._network.normalise(pixels))
        return taken

    def batches(self) -> Iterator[Tensor]:
        """Yield what the backbone takes for each clip."""
        for index in range(len(self._clips)):
            yield self.batch(np.array([index]))
