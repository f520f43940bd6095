"""How many clips a network takes at once: by what never varies on a machine, so that scores do not vary either."""

from __future__ import annotations

import os

import torch

from vidcnn.inference.devices import resolve_device
from vidcnn.models.bundle import Bundle
from vidcnn.sampling.segments import MAX_TASK_BYTES

CPU_BATCH_SIZE = 2
"""Clips in a batch on the CPU: of 1, 2, 4 and 8 the smallest that is as fast as any, in bfloat16 as in float32.

In float32 a single clip takes other kernels, a third slower for r3d_18 and several times slower for simple3d.
"""

MAX_GPU_BATCH_SIZE = 32
_MAX_GPU_BATCH_BYTES = 64 * 2**20
"""Pixels of a batch: several batches for each decoder must fit in the object store."""

MOST_CPU_BATCH_SIZE = 32
"""Clips in a batch on the CPU, whatever is wanted: more take memory and are no faster."""
_ACTIVATION_BYTES = 512
"""For each pixel of a clip: more than any network of the zoo needs."""


def choose_batch_size(bundle: Bundle, device: str, wanted: int | None) -> int:
    """Return how many clips the network takes at once.

    The batch is padded to this size, however few clips there are, so it must not be out of all proportion.

    Args:
        bundle: The model, with the clips that it is to take.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
        wanted: What the user wants, which is taken as far as `most_clips` allows; None for the default.
    """
    return default_batch_size(bundle, device) if wanted is None else min(wanted, most_clips(bundle, device))


def most_clips(bundle: Bundle, device: str) -> int:
    """Return the largest batch that is of use and fits, by what never varies on a machine.

    Args:
        bundle: The model, with the clips that it is to take.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
    """
    resolved = resolve_device(device)
    clip_pixels = _clip_pixels(bundle)
    if resolved.type == "cuda":
        memory = torch.cuda.get_device_properties(resolved).total_memory
        return max(1, min(memory // (_ACTIVATION_BYTES * clip_pixels), MAX_TASK_BYTES // (3 * clip_pixels)))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    return max(CPU_BATCH_SIZE, min(MOST_CPU_BATCH_SIZE, memory // (_ACTIVATION_BYTES * clip_pixels)))


def smaller_batches(wanted: int | None, taken: int) -> str | None:
    """Return the notice for a user who wanted a larger batch than `choose_batch_size` took; None where none did."""
    if wanted is None or wanted <= taken:
        return None
    return f"the model takes {taken:,} clips at once, not {wanted:,}: more would need memory and be no faster"


def default_batch_size(bundle: Bundle, device: str) -> int:
    """Choose a batch from what never varies on a machine, so that scores do not vary either.

    Args:
        bundle: The model, with the clips that it is to take.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
    """
    resolved = resolve_device(device)
    if resolved.type != "cuda":
        return CPU_BATCH_SIZE
    clip_pixels = _clip_pixels(bundle)
    fitting = torch.cuda.get_device_properties(resolved).total_memory // 2 // (_ACTIVATION_BYTES * clip_pixels)
    fitting = min(fitting, _MAX_GPU_BATCH_BYTES // (3 * clip_pixels))
    return min(MAX_GPU_BATCH_SIZE, 1 << max(0, fitting.bit_length() - 1))


def _clip_pixels(bundle: Bundle) -> int:
    height, width = bundle.preprocessing.crop
    return bundle.sampling.num_frames * height * width
