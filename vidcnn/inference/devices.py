"""What a processor or a GPU can do, and what is chosen by it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from vidcnn.choices import TrainingPrecision
from vidcnn.errors import ModelError


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


def has_bf16(device: torch.device) -> bool:
    """Return whether `device` multiplies bfloat16 in hardware, so that it is faster than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    return bool(cpu_features() & {"avx512_bf16", "amx_tile", "amx_bf16", "bf16"})


def fastest_precision(device: torch.device) -> TrainingPrecision:
    """Return what `device` is fastest in, of the precisions that are good enough: what ``auto`` means."""
    return "bf16" if has_bf16(device) else "fp32"


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
    """Forbid TF32 and bfloat16 shortcuts in float32 arithmetic, whatever the process has allowed."""
    backends: Any = torch.backends
    settings = (backends.cudnn.conv, backends.cuda.matmul, backends.mkldnn.conv, backends.mkldnn.matmul)
    before = [setting.fp32_precision for setting in settings]
    try:
        for setting in settings:
            setting.fp32_precision = "ieee"
        yield
    finally:
        for setting, value in zip(settings, before, strict=True):
            setting.fp32_precision = value
