"""An output in each of its two forms."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.predictions.cases import MODES


@pytest.fixture(params=MODES)
def out(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    return tmp_path / request.param
