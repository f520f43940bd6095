"""Tests of precisions that a processor may only imitate."""

from __future__ import annotations

import pytest

from vidcnn.inference.devices import bf16_gain, cpu_features

_LEAST_GAIN = 0.2


def is_imitated(precision: str) -> bool:
    """Return whether the processor computes in a precision hundreds of times as slowly as in float32."""
    if precision != "bf16":
        return False
    return not any("bf16" in name for name in cpu_features()) or bf16_gain() < _LEAST_GAIN


def skip_where_imitated(precision: str) -> None:
    """Skip a test that computes much in bf16 where the processor has no instructions for it."""
    if is_imitated(precision):
        pytest.skip("this processor has no bf16: it takes hundreds of times as long as float32")
