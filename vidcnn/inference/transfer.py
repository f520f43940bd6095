"""Clips to the device, batch after batch, while the network computes.

Takes clips of any number and size, and a network that takes batches of one size; returns the scores of all clips. Each
batch goes to the device in pieces of a few megabytes, through a ring of buffers that holds two batches. With two pieces
to a batch::

    processor   fills 0a 0b 1a 1b      2a      2b      3a ...
    upload            0a 0b 1a 1b      2a      2b
    compute              [batch 0]     [batch 1]     [batch 2]

A buffer is filled again when its upload is done, and the device's half of it overwritten when the batch has taken it.
What the network computes never depends on that: the batch itself is written and read by the one lane that computes.

Letters: N clips, T frames, H height, W width, C = 3 channels, D values of the embedding, K classes; h and w are the
height and width that the network takes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vidcnn.inference.lanes import Buffer, Lanes, Mark

Clips = NDArray[np.uint8] | Tensor
Network = Callable[[Tensor], tuple[Tensor, Tensor]]

_PIECE_BYTES = 4 * 2**20
"""Enough that a copy takes longer than starting it; and the first one of a batch is soon on its way."""
_RING_BYTES = 256 * 2**20
_KEPT_BYTES = 128 * 2**20
"""A larger ring, for clips that are yet to be resized, is given back when it is not in use."""


@dataclass
class _Slot:
    """A buffer of the ring.

    Attributes:
        buffer: Room for a piece.
        uploaded: When its last upload is done; None before the first.
        taken: When the batch has taken what was uploaded last.
    """

    buffer: Buffer
    uploaded: Mark | None = None
    taken: Mark | None = None


class Transfer:
    """Runs a network on clips. For one thread at a time.

    Args:
        lanes: The device.
        geometry: Brings clips, uint8 ``(n, T, H, W, C)`` on the device, to ``(n, T, h, w, C)``, each by itself.
        batch_shape: ``(N, T, h, w, C)`` of the network's batches.
    """

    def __init__(self, lanes: Lanes, geometry: Callable[[Tensor], Tensor], batch_shape: tuple[int, ...]) -> None:
        self._lanes = lanes
        self._geometry = geometry
        self._batch = torch.zeros(batch_shape, dtype=torch.uint8, device=lanes.device)
        self._ring: list[_Slot] = []
        self._position = 0

    def run(self, network: Network, clips: Clips, num_classes: int, num_features: int) -> tuple[Tensor, Tensor]:
        """Run a network on clips; the last batch is filled up with black ones.

        Args:
            network: Maps a batch to scores ``(N, K)`` and embeddings ``(N, D)``, both float32.
            clips: uint8 ``(n, T, H, W, C)``, in an array, or in a tensor that is on the device.
            num_classes: K.
            num_features: D.

        Returns:
            Scores ``(n, K)`` and embeddings ``(n, D)`` on the CPU.
        """
        batch_size = len(self._batch)
        scores = torch.empty(len(clips), num_classes, device=self._lanes.device)
        features = torch.empty(len(clips), num_features, device=self._lanes.device)
        try:
            for start in range(0, len(clips), batch_size):
                stop = min(start + batch_size, len(clips))
                self._fill(clips[start:stop])
                self._compute(network, scores[start:stop], features[start:stop])
        finally:
            self._lanes.compute.mark().wait()  # after a failure, too: the next call finds nothing under way
        if sum(slot.buffer.host.nbytes for slot in self._ring) > _KEPT_BYTES:
            self._ring = []
        return scores.cpu(), features.cpu()

    def _compute(self, network: Network, scores: Tensor, features: Tensor) -> None:
        """Run the network on the batch, and keep what is not padding: its own results may be overwritten."""

        def work() -> None:
            found = network(self._batch)
            scores.copy_(found[0][: len(scores)])
            features.copy_(found[1][: len(features)])

        self._lanes.compute.run(work)

    def _fill(self, clips: Clips) -> None:
        """Bring some clips into the batch, and black ones behind them."""
        compute, num_clips = self._lanes.compute, len(clips)
        if isinstance(clips, Tensor):
            compute.run(lambda: self._take(clips, 0))
        else:
            piece = min(len(self._batch), max(1, _PIECE_BYTES // clips[0].nbytes))
            for start in range(0, num_clips, piece):
                self._upload(clips[start : start + piece], start, piece)
        if num_clips < len(self._batch):
            compute.run(self._batch[num_clips:].zero_)

    def _upload(self, clips: NDArray[np.uint8], place: int, piece: int) -> None:
        """Bring some clips to the device, and from there into the batch, at a place.

        Args:
            clips: At most as many as `piece`.
            place: Where in the batch.
            piece: Clips for which a buffer has room.
        """
        slot = self._next_slot((piece, *clips.shape[1:]))
        upload, compute = self._lanes.upload, self._lanes.compute
        host, device = (side[: len(clips)] for side in slot.buffer)
        if slot.uploaded is not None:
            slot.uploaded.wait()
        # Of the processor itself, it may be read-only, turned or scattered.
        host.numpy()[:] = clips
        if slot.taken is not None:
            upload.after(slot.taken)
        if slot.buffer.device is not slot.buffer.host:
            upload.run(lambda: device.copy_(host, non_blocking=True))
        slot.uploaded = upload.mark()
        compute.after(slot.uploaded)
        compute.run(lambda: self._take(device, place))
        slot.taken = compute.mark()

    def _take(self, clips: Tensor, place: int) -> None:
        self._batch[place : place + len(clips)].copy_(self._geometry(clips))

    def _next_slot(self, shape: tuple[int, ...]) -> _Slot:
        """Return the slot that was used longest ago, of a ring for pieces of a shape."""
        if not self._ring or self._ring[0].buffer.host.shape != shape:
            pieces_per_batch = -(-len(self._batch) // shape[0])
            fitting = _RING_BYTES // int(np.prod(shape))
            self._ring = []
            self._ring = [_Slot(self._lanes.buffer(shape)) for _ in range(max(2, min(2 * pieces_per_batch, fitting)))]
        self._position = (self._position + 1) % len(self._ring)
        return self._ring[self._position]
