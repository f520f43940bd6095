"""The processors: how many may be used, what they can do, and what that means for a model."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from vidcnn.cluster.control_groups import Limits
from vidcnn.reporting.findings import Finding, plain

TOPIC = "processor"
_CPUINFO = Path("/proc/cpuinfo")
_FEATURES: Mapping[str, tuple[str, ...]] = {
    "AVX2": ("avx2",),
    "AVX-512": ("avx512f",),
    "VNNI": ("avx512_vnni", "avx_vnni"),
    "bf16": ("avx512_bf16", "amx_bf16", "bf16"),
    "AMX": ("amx_tile",),
    "NEON": ("asimd",),
    "SVE": ("sve",),
    "i8mm": ("i8mm",),
}
"""What matters to a model, and the kernel's names for it."""
_EXPECTED = {"x86_64": ("AVX2", "AVX-512", "VNNI", "bf16", "AMX"), "aarch64": ("NEON", "SVE", "bf16", "i8mm")}


def check_processors(limits: Limits, cpuinfo: Path = _CPUINFO) -> list[Finding]:
    """Look at the processors; nothing is loaded for it.

    Args:
        limits: Limits of the container.
        cpuinfo: The kernel's description of them.
    """
    described = _described(cpuinfo)
    model = plain(described.get("model name", "")) or platform.processor() or platform.machine()
    return [_cores(model, limits), _features(set((described.get("flags") or described.get("Features", "")).split()))]


def usable_cores(limits: Limits) -> float:
    """Return how many processors this process may use, a share of one counted as such."""
    allowed = float(len(os.sched_getaffinity(0)))
    return min(allowed, limits.cpus) if limits.cpus is not None else allowed


def check_arithmetic() -> list[Finding]:
    """Find out in what precisions a model runs well on these processors; torch is loaded, and measures for 0.1 s."""
    import torch

    from vidcnn.inference.devices import fastest_precision
    from vidcnn.inference.int8_ops import why_no_int8

    reason, fastest = why_no_int8(), fastest_precision(torch.device("cpu"))
    int8 = "yes" if reason is None else f"no, {reason}"
    return [
        Finding(
            TOPIC,
            "int8",
            f"{int8}; the fastest float precision is {fastest}",
            "good" if reason is None else "note",
            facts={"int8": reason is None, "why_not": reason, "fastest_precision": fastest},
            short=f"{'int8, ' if reason is None else ''}{fastest}",
        )
    ]


def _cores(model: str, limits: Limits) -> Finding:
    present, usable = os.cpu_count() or 1, usable_cores(limits)
    facts = {"model": model, "present": present, "usable": usable, "quota": limits.cpus}
    of = "" if usable == present else f" of {present}"
    why = ""
    if usable < present:
        why = ", a limit of the container" if usable == limits.cpus else ", the others are for other processes"
    number = f"{usable:g}{of}{why}"
    short = f"{usable:g} core{'' if usable == 1 else 's'}"
    if usable < 1:
        return Finding(
            TOPIC,
            "processors",
            f"{number}; {model}",
            "warning",
            f"this container may use {usable:g} of a processor: all takes longer, and some will run into timeouts",
            "give it a whole one: --cpus 1 (Docker), resources.limits.cpu: 1 (Kubernetes)",
            facts,
            short,
        )
    return Finding(TOPIC, "processors", f"{number}; {model}", facts=facts, short=short)


def _features(flags: set[str]) -> Finding:
    has = [name for name, names in _FEATURES.items() if flags.intersection(names)]
    lacks = [name for name in _EXPECTED.get(platform.machine(), ()) if name not in has]
    value = ", ".join(has) + (f"; without {', '.join(lacks)}" if lacks else "") if has else "not known"
    facts = {name: name in has for name in _FEATURES}
    if flags and platform.machine() == "x86_64" and "AVX2" not in has:
        return Finding(
            TOPIC,
            "features",
            value,
            "warning",
            "the processor has no AVX2: models and decoders run several times slower",
            "use a machine of the last ten years, or let the virtual machine show its host's features",
            facts,
        )
    return Finding(TOPIC, "features", value, facts=facts)


def _described(cpuinfo: Path) -> dict[str, str]:
    """Return what the kernel says of the first processor."""
    found: dict[str, str] = {}
    with suppress(OSError):
        for line in cpuinfo.read_text(errors="replace").splitlines():
            name, _, value = line.partition(":")
            found.setdefault(name.strip(), value.strip())
    return found
