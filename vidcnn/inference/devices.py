"""What a processor or a GPU can do, and what is chosen by it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import torch

from vidcnn.choices import TrainingPrecision
from vidcnn.errors import ModelError

_TILES = frozenset(("amx_tile", "amx_bf16"))
_BF16 = frozenset(("avx512_bf16", "bf16"))
_LEAST_GAIN = 1.15
"""For less, float32 is worth more than a little speed."""
_NUM_MEASURED = 4


def resolve_device(name: str) -> torch.device:
    """Return the device called `name`; ``auto`` is CUDA where there is one.

    Raises:
        ModelError: There is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ModelError(f"unknown device '{name}'", "give auto, cpu, cuda or cuda:1") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ModelError(f"this machine has no device '{name}'", "use --device cpu, or check the driver")
    return device


def fastest_precision(device: torch.device) -> TrainingPrecision:
    """Return what `device` is fastest in, of the precisions that are good enough: what ``auto`` means.

    That a processor multiplies bfloat16 does not make it faster: some do it at half the rate, where they are meant to
    do it in tiles (AMX) and a virtual machine hides these. So it is measured, once in a process.
    """
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return "fp32"
    features = cpu_features()
    if features & _TILES:
        return "bf16"
    return "bf16" if features & _BF16 and bf16_gain() >= _LEAST_GAIN else "fp32"


@lru_cache(maxsize=1)
def bf16_gain() -> float:
    """Measure how many times as fast a 3D convolution is in bfloat16 as in float32, on one thread, in about 0.1 s."""
    seconds: dict[torch.dtype, list[float]] = {torch.float32: [], torch.bfloat16: []}
    layer = torch.nn.Conv3d(64, 64, 3, padding=1).requires_grad_(False)
    values = torch.zeros(2, 64, 4, 28, 28)  # for a single clip, float32 takes other kernels
    num_threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        for _ in range(_NUM_MEASURED + 1):
            for dtype, measured in seconds.items():
                inputs = values.to(dtype).to(memory_format=torch.channels_last_3d)
                layer = layer.to(dtype).to(memory_format=torch.channels_last_3d)
                began = time.perf_counter()
                layer(inputs)
                measured.append(time.perf_counter() - began)
    finally:
        torch.set_num_threads(num_threads)
    return min(seconds[torch.float32]) / min(seconds[torch.bfloat16])


def cpu_features() -> frozenset[str]:
    """Return the names of this CPU's instruction set extensions, as torch calls them."""
    read = getattr(torch.cpu, "get_capabilities", None)
    if read is not None:
        return frozenset(name for name, value in read().items() if value is True)
    # Older torch knows only these, by private names.
    known = ("avx2", "avx512", "avx512_bf16", "amx_tile")
    return frozenset(name for name in known if getattr(torch.cpu, f"_is_{name}_supported", bool)())


@contextmanager
def ieee_float32() -> Iterator[None]:
    """Forbid TF32 and bfloat16 shortcuts in float32 arithmetic, whatever the process has allowed.

    They are allowed again when the last of the threads has left that are here at once.
    """
    _exact_threads.enter()
    try:
        yield
    finally:
        _exact_threads.leave()


class _ExactThreads:
    """Threads that need exact arithmetic now. What is allowed is a setting of the whole process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._number = 0
        self._before: list[str] = []

    def enter(self) -> None:
        with self._lock:
            if not self._number:
                self._before = [setting.fp32_precision for setting in self._settings]
                for setting in self._settings:
                    setting.fp32_precision = "ieee"
            self._number += 1

    def leave(self) -> None:
        with self._lock:
            self._number -= 1
            if not self._number:
                for setting, value in zip(self._settings, self._before, strict=True):
                    setting.fp32_precision = value

    @property
    def _settings(self) -> tuple[Any, ...]:
        backends: Any = torch.backends
        return backends.cudnn.conv, backends.cuda.matmul, backends.mkldnn.conv, backends.mkldnn.matmul


_exact_threads = _ExactThreads()
