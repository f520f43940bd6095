"""Golden clips: one or two clips that anyone can draw, and what a bundle's network makes of them.

The clips come from a formula in integers, so nothing of them is stored, and they are the same on every machine. A
bundle records the network's embeddings and logits for them, computed in float32. Whoever loads the network computes
them again, in the precision in which it is going to run, and so learns whether it computes what it should
(`vidcnn.inference.golden`).

Letters: N clips (1 or 2), T frames, H height, W width, C = 3 channels, D values of the embedding, K classes.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

MOST_CLIPS = 2
FORMULA = 1
"""Version of the formula. A record of another one is not checked."""

_GRID = 256
"""The clips are drawn on a grid of 256x256, whatever their size, and so look alike in all sizes."""
_NUM_BLOCKS = 32
"""Blocks of noise along each side."""
_SQUARE = 72
_MOTIONS = ((7, 9, 13), (0, 11, -6))
"""For each clip: how fast the ground moves, and how far the square moves down and to the right from frame to frame."""


@dataclass(frozen=True)
class GoldenScores:
    """What a network makes of the golden clips.

    The texts are float32 numbers, little-endian, in Base64.

    Attributes:
        embeddings: ``(N, D)``.
        logits: ``(N, K)``.
        spreads: For each clip, how far its logits are from each other: what their errors are measured by.
    """

    embeddings: str
    logits: str
    spreads: tuple[float, ...]

    @classmethod
    def of(
        cls, embeddings: NDArray[np.float32], logits: NDArray[np.float32], spreads: NDArray[np.float32]
    ) -> GoldenScores:
        """Put numbers into texts."""
        return cls(_packed(embeddings), _packed(logits), tuple(map(float, spreads)))

    def read(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return embeddings ``(N, D)`` and logits ``(N, K)``.

        Raises:
            ValueError: A text is damaged.
        """
        num_clips = len(self.spreads)
        if not 1 <= num_clips <= MOST_CLIPS:
            raise ValueError(f"there are {num_clips} of them")
        return _unpacked(self.embeddings, num_clips), _unpacked(self.logits, num_clips)


@dataclass(frozen=True)
class Golden:
    """What a bundle records of its golden clips.

    Attributes:
        formula: Version of the formula of the clips.
        size: ``(T, H, W)`` of the clips: those of the bundle's own sampling and crop.
        labels_sha256: SHA-256 of the bundle's labels in their order.
        expected: What the network makes of the clips: computed in ``exact`` precision; and in ``int8``, which rounds so
            much that it has numbers of its own, for a bundle that was quantized.
        tolerances: How far from that each precision may be (see `vidcnn.inference.golden.Distance`).
    """

    formula: int
    size: tuple[int, int, int]
    labels_sha256: str
    expected: Mapping[str, GoldenScores]
    tolerances: Mapping[str, float]

    def misfit(self, labels: Sequence[str], size: tuple[int, int, int], embedding_size: int) -> str:
        """Return in words why the record is not that of a bundle; empty if it may be.

        Args:
            labels: The bundle's K labels.
            size: ``(T, H, W)`` of its clips.
            embedding_size: D.
        """
        if self.labels_sha256 != labels_digest(labels):
            return "its labels are not those, or not in the order, with which the bundle was made"
        if self.size != size:
            before, now = ("x".join(map(str, values)) for values in (self.size, size))
            return f"its clips are of {now} and were of {before} when the bundle was made"
        if "exact" not in self.expected:
            return "its golden clips have no scores"
        for scores in self.expected.values():
            try:
                embeddings, logits = scores.read()
            except ValueError as error:
                return f"the scores of its golden clips are damaged: {error}"
            if (embeddings.shape[1], logits.shape[1]) != (embedding_size, len(labels)):
                return "the scores of its golden clips are those of another network"
        return ""


def labels_digest(labels: Sequence[str]) -> str:
    """Return the SHA-256 of labels in their order."""
    return sha256(json.dumps(list(labels)).encode()).hexdigest()


def golden_clips(num_clips: int, num_frames: int, height: int, width: int) -> NDArray[np.uint8]:
    """Draw the golden clips: a ground that changes slowly, noise in blocks, and a square that passes over it.

    In the first clip all of it moves. In the second one only the square does, and in another direction.

    Args:
        num_clips: N.
        num_frames: T.
        height: H.
        width: W.

    Returns:
        uint8 ``(N, T, H, W, 3)``.
    """
    clips = np.empty((num_clips, num_frames, height, width, 3), np.uint8)
    rows = np.arange(height) * _GRID // height
    columns = np.arange(width) * _GRID // width
    channels = np.arange(3)
    for clip, (speed, down, right) in enumerate(_MOTIONS[:num_clips]):
        for time in range(num_frames):
            along_rows = _wave(rows[:, None] * (2 + channels) + speed * time)  # (H, C)
            along_columns = _wave(columns[:, None] * (3 + clip) + 85 * channels - speed * time)  # (W, C)
            noise = _noise(clip, time if speed else 0)[rows * _NUM_BLOCKS // _GRID][:, columns * _NUM_BLOCKS // _GRID]
            frame = (3 * (along_rows[:, None] + along_columns) >> 3) + noise  # (H, W, C), at most 191 + 63
            is_inside_rows = (rows - down * time - 40) % _GRID < _SQUARE
            is_inside_columns = (columns - right * time - 90) % _GRID < _SQUARE
            inside = np.ix_(is_inside_rows, is_inside_columns)
            frame[inside] = 255 - frame[inside]
            clips[clip, time] = frame
    return clips


def _wave(phase: NDArray[np.int64]) -> NDArray[np.int16]:
    """Return a wave of straight lines that rises from 0 to 255 and falls again in 512 steps."""
    return np.minimum(phase % 512, 511 - phase % 512).astype(np.int16)


def _noise(clip: int, time: int) -> NDArray[np.int16]:
    """Return noise in [0, 64), ``(blocks, blocks, C)``."""
    value = np.arange(_NUM_BLOCKS * _NUM_BLOCKS * 3, dtype=np.uint32) + np.uint32(1_000_003 * (1 + clip + 2 * time))
    for factor in (0x7FEB352D, 0x846CA68B):
        value ^= value >> np.uint32(16)
        value *= np.uint32(factor)
    return (value >> np.uint32(26)).astype(np.int16).reshape(_NUM_BLOCKS, _NUM_BLOCKS, 3)


def _packed(values: NDArray[np.float32]) -> str:
    return base64.b64encode(np.ascontiguousarray(values, "<f4").tobytes()).decode()


def _unpacked(text: str, num_clips: int) -> NDArray[np.float32]:
    try:
        content = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from error
    return np.frombuffer(content, "<f4").reshape(num_clips, -1).astype(np.float32)
