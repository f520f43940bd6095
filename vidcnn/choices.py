"""The words that options with a choice take; the types of what they set, too, so that each choice is written once."""

from __future__ import annotations

from typing import Literal

Switch = Literal["on", "off"]
AutoSwitch = Literal["auto", Switch]

EventFormat = Literal["parquet", "csv", "json", "srt", "vtt"]
"""Files of events."""
Sandbox = Literal["auto", "require", "off"]
"""How decoding processes are confined: as far as the kernel can, fully or not at all."""

Device = Literal["auto", "cpu", "cuda"]

TrainingPrecision = Literal["bf16", "fp32"]
"""How numbers are computed: in bfloat16 where that is accurate enough, or in float32."""
TrainingPrecisionOption = Literal["auto", TrainingPrecision]
"""``auto`` is what the hardware computes fastest."""
Precision = Literal[TrainingPrecision, "int8", "exact"]
"""The same for inference, with ``int8`` for a network that was quantized, and ``exact``, which also resizes frames as
torchvision does."""
UNCOMPILED: frozenset[Precision] = frozenset(("int8", "exact"))
"""Precisions that are never compiled: one has kernels of its own, the other is the reference."""
SAFER: dict[Precision, Precision] = {"int8": "fp32", "bf16": "fp32", "fp32": "exact"}
"""What a network runs in that computes wrongly in a precision."""
PrecisionOption = Literal["auto", Precision]

ShortClips = Literal["repeat_last", "loop", "drop"]
"""What becomes of a clip that reaches past the end of its video."""
Interpolation = Literal["bilinear", "bicubic", "nearest", "area"]
"""How frames are resized: ``area`` takes the mean over what each new pixel covers, the others only the pixels next to
its centre."""

Split = Literal["train", "val", "test"]
Optimizer = Literal["adamw", "sgd"]
Schedule = Literal["cosine", "multistep", "constant"]
"""How the learning rate falls."""

Downsample = Literal["max", "strided"]
"""How `Simple3D` halves time, height and width."""
InputMode = Literal["frames", "differences", "both"]
"""What the first layer of `Simple3D` takes."""
