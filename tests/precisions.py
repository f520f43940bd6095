"""Tests of precisions that a processor may only imitate."""

from __future__ import annotations

import pytest

from vidcnn.inference.devices import bf16_gain

_LEAST_GAIN = 0.2


def is_imitated(precision: str) -> bool:
    """Return whether the processor has no instructions for a precision."""
    return precision == "bf16" and bf16_gain() < _LEAST_GAIN


def skip_where_imitated(precision: str) -> None:
    """Skip a test that computes much in bf16 where the processor has no instructions for it."""
    if is_imitated(precision):
        pytest.skip(f"this processor has no bf16: it takes {1 / bf16_gain():.0f} times as long as float32")
