from __future__ import annotations

import pytest

from vidcnn.models.build import build_network
from vidcnn.models.registry import ARCHITECTURES
from vidcnn.models.table import NUM_CLASSES, count_multiply_adds, model_rows

PUBLISHED = [entry.name for entry in ARCHITECTURES.values() if entry.weights]


@pytest.mark.parametrize("name", PUBLISHED)
def test_multiply_adds_of_sixteen_frames_are_those_that_torchvision_publishes(name: str) -> None:
    from torchvision.models import get_model_weights

    entry = ARCHITECTURES[name]
    counted = count_multiply_adds(build_network(entry, NUM_CLASSES), 16, entry.preprocessing.crop)
    assert counted / 1e9 == pytest.approx(get_model_weights(name)["KINETICS400_V1"].meta["_ops"], abs=6e-4)


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
