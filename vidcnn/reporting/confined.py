"""What confined decoding processes, machine by machine: as JSON, and in words where something is missing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vidcnn.sandbox.confinement import Strength

_NUM_SHOWN = 3


def confinement_json(confinement: Mapping[str, Strength]) -> dict[str, dict[str, Any]]:
    """Return what confined the decoding processes of some machines as JSON values, in the order of their names."""
    return {machine: strength._asdict() for machine, strength in sorted(confinement.items())}


def confinement_lines(confinement: Mapping[str, Strength]) -> list[str]:
    """Return the machines whose decoding processes were not fully confined, a line for each kind of them."""
    machines: dict[str, list[str]] = {}
    for machine, strength in sorted(confinement.items()):
        if not strength.is_full:
            machines.setdefault(strength.text, []).append(machine)
    return [f"confinement of decoding processes on {_some(names)}: {text}" for text, names in machines.items()]


def _some(names: list[str]) -> str:
    more = len(names) - _NUM_SHOWN
    return ", ".join(names[:_NUM_SHOWN]) + (f" and {more:,} more" if more > 0 else "")
