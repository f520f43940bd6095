"""The GPUs: whether torch can use them, and whether its build fits them."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vidcnn.errors import first_line
from vidcnn.reporting.findings import Finding, plain

TOPIC = "GPU"
_DEVICE = Path("/dev/nvidia0")
_DRIVER = Path("/proc/driver/nvidia/version")
_LEAST_CUDNN = 91_500
"""Before 9.15, some 3D convolutions in bfloat16 are wrong, and others slow."""
_BUSY_SHARE = 0.5
_GIB = 2**30


def check_gpus(device: Path = _DEVICE, driver_file: Path = _DRIVER) -> list[Finding]:
    """Look at the GPUs; torch is loaded.

    Args:
        device: The first GPU, as the kernel shows it.
        driver_file: Where the driver says which it is.
    """
    import torch

    driver = _driver_version(driver_file)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        is_there = torch.cuda.is_available()
    if not is_there:
        reason = plain(str(caught[-1].message)) if caught else ""
        return [_absent(device.exists(), torch.version.cuda, driver, reason)]
    count = torch.cuda.device_count()
    findings = [_gpu(torch, number, count) for number in range(count)]
    facts = {"version": driver or None, "torch_cuda": torch.version.cuda}
    findings.append(
        Finding(TOPIC, "driver", f"{driver or 'of unknown version'}, CUDA {torch.version.cuda}", facts=facts)
    )
    cudnn = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
    if cudnn is not None and cudnn < _LEAST_CUDNN:
        findings.append(
            Finding(
                TOPIC,
                "cuDNN",
                str(cudnn),
                "warning",
                f"cuDNN {cudnn} computes some 3D convolutions wrong in bf16, and others slowly",
                "pip install --upgrade nvidia-cudnn-cu12 (9.15 or newer), or use --precision fp32",
            )
        )
    return findings


def has_kernels(capability: tuple[int, int], architectures: Sequence[str]) -> bool:
    """Return whether a build of torch has code for a GPU.

    Code for ``sm_80`` runs on GPUs of the capability 8.0 to 8.9; ``compute_80`` can be translated for all later ones.

    Args:
        capability: The GPU's compute capability.
        architectures: What the build was made for, as ``torch.cuda.get_arch_list`` names it.
    """
    for name in architectures:
        kind, _, number = name.partition("_")
        digits = re.match(r"\d+", number)
        if digits is None:
            continue
        built = divmod(int(digits.group()), 10)
        is_same = built[0] == capability[0] and built[1] <= capability[1]
        if is_same or (kind == "compute" and built <= capability):
            return True
    return not architectures


def _gpu(torch: Any, number: int, count: int) -> Finding:
    name = f"cuda:{number}"
    try:
        properties = torch.cuda.get_device_properties(number)
        free, total = torch.cuda.mem_get_info(number)
    except RuntimeError as error:
        return Finding(
            TOPIC,
            name,
            "cannot be used",
            "failure",
            f"{name} cannot be used: {plain(first_line(error))}",
            "end what else uses it, look at nvidia-smi, or leave it out with CUDA_VISIBLE_DEVICES",
        )
    capability = (properties.major, properties.minor)
    model = plain(properties.name)
    built_for = torch.cuda.get_arch_list()
    facts = {
        "model": model,
        "memory_bytes": total,
        "free_bytes": free,
        "capability": list(capability),
    }
    value = f"{model}, {free / _GIB:.0f} of {total / _GIB:.0f} GiB free"
    if not has_kernels(capability, built_for):
        return Finding(
            TOPIC,
            name,
            value,
            "failure",
            f"torch was built without code for the {model} (sm_{capability[0]}{capability[1]}): it has "
            f"{', '.join(built_for)}",
            "install a torch for it from pytorch.org, or use --device cpu",
            facts,
        )
    if free < _BUSY_SHARE * total:
        return Finding(
            TOPIC,
            name,
            value,
            "warning",
            f"other programs have {(total - free) / _GIB:.0f} of the {total / _GIB:.0f} GiB of {name}",
            "end them (nvidia-smi shows which), or expect small batches",
            facts,
        )
    return Finding(TOPIC, name, value, facts=facts, short=f"{count} x {model}")


def _absent(is_there: bool, built_for: str | None, driver: str, reason: str) -> Finding:
    """Return why torch sees no GPU."""
    facts = {"driver": driver or None, "torch_cuda": built_for}
    if not is_there:
        return Finding(TOPIC, "GPUs", "none: models run on the processors", "note", facts=facts, short="no GPU")
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if hidden is not None and hidden.strip() in ("", "-1"):
        value = f"hidden by CUDA_VISIBLE_DEVICES='{plain(hidden)}'"
        return Finding(TOPIC, "GPUs", value, "note", facts=facts, short="no GPU")
    if built_for is None:
        problem = "there is a GPU, and this torch was built for processors alone"
        remedy = "pip install --force-reinstall torch torchvision, without an index of CPU builds"
    else:
        problem = f"there is a GPU, and torch (CUDA {built_for}) cannot use it with the driver {driver or '?'}"
        problem += f": {reason}" if reason else ""
        remedy = f"update the NVIDIA driver to one for CUDA {built_for}, or install a torch for an older CUDA"
    return Finding(TOPIC, "GPUs", "there, but torch cannot use it", "failure", problem, remedy, facts, "GPU unusable")


def _driver_version(file: Path) -> str:
    """Return the version of NVIDIA's driver; empty where there is none."""
    try:
        found = re.search(r"Kernel Module.*?\s(\d+(?:\.\d+)+)\s", file.read_text(errors="replace"))
    except OSError:
        return ""
    return found.group(1) if found else ""
