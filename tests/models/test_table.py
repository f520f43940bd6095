from __future__ import annotations

import subprocess
import sys

import pytest

from tests.commands import PROJECT
from vidcnn.models.registry import ARCHITECTURES
from vidcnn.models.table import model_rows

PUBLISHED = [entry.name for entry in ARCHITECTURES.values() if entry.weights]


def test_the_table_lists_every_architecture_with_its_parameters() -> None:
    from torchvision.models import get_model_weights

    rows = {row.name: row for row in model_rows()}
    assert list(rows) == list(ARCHITECTURES)
    for name in PUBLISHED:
        assert rows[name].num_parameters == get_model_weights(name)["KINETICS400_V1"].meta["num_params"]
        assert rows[name].weights == ("kinetics400",)
    assert rows["s3d"].input == "128x224x224 at 15 fps"
    assert rows["s3d"].gflops == pytest.approx(143.8, abs=0.1)
    assert rows["simple3d"].weights == ()


def test_the_command_loads_no_torch() -> None:
    code = (
        "from vidcnn.cli import app; app(['models'], standalone_mode=False); import sys; print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PROJECT)
    assert done.stdout.endswith("False\n")
