"""How a bundle's network computes in int8: what `vidcnn quantize` found, and `vidcnn.inference` runs.

The weights of the bundle are in float32; they are rounded when the network is loaded. So one bundle runs
in int8 where the processor multiplies it, and in bfloat16 or float32 elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from hashlib import sha256


@dataclass(frozen=True)
class Quantization:
    """The calibration of a network.

    Attributes:
        scales: Step and zero of each quantized value, by the value's name in the traced network
            (`vidcnn.inference.int8_ops.Scale`).
        kept: Names of the convolutions that stay in float32.
        corrections: What is added to each channel of the output of the others, by name.
        source: SHA-256 of the weights that it was found for.
        observer: How ranges were taken from the values that were seen.
        data: What it was calibrated on.
        num_clips: Clips that it was calibrated on.
        measured: What it costs and gives, by name, as `vidcnn quantize` prints it; nothing is computed from it.
    """

    scales: Mapping[str, tuple[float, int]]
    kept: tuple[str, ...] = ()
    corrections: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    source: str = ""
    observer: str = ""
    data: str = ""
    num_clips: int = 0
    measured: Mapping[str, float] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """The first 16 digits of the SHA-256 of all that scores depend on."""
        values = asdict(self)
        content = json.dumps([values["scales"], values["kept"], values["corrections"]], sort_keys=True)
        return sha256(content.encode()).hexdigest()[:16]
