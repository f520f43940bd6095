from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray

from tests.pipelines.crashing import CrashingOrder
from tests.training.footage import film, training_data
from vidcnn.cluster import plan_resources
from vidcnn.cluster.embedded import local_ray
from vidcnn.pipelines.loading import RayLoader
from vidcnn.training.feed import DirectLoader
from vidcnn.video.stopwatch import Confined

pytestmark = pytest.mark.ray


@pytest.mark.slow
def test_what_kills_the_process_that_loads_it_costs_one_sample_and_mistakes_of_ours_are_not_hidden(
    tmp_path: Path,
) -> None:
    videos = [film(tmp_path, f"{index}.mp4", label=index % 4) for index in range(4)]
    data: Any = training_data(videos, order=CrashingOrder(len(videos), poison=6, survivor=os.getpid()))
    expected = DirectLoader(data).start_samples(range(4, 8))
    with local_ray(num_gpus=0) as machine:
        resources = plan_resources(machine, use_gpus=False, actors=(1, 1))
        told: list[Confined] = []
        loader = RayLoader([ray.put(data)], resources, 1, told.append)
        loaded = loader.finish(loader.start_samples(range(4, 8)))
        ((index, error),) = loaded.failures
        assert (index, error.kind) == (2, "decoder_crash")
        assert "the process that reads it died" in error.message
        good = [0, 1, 3]
        assert np.array_equal(loaded.pixels[good], expected.pixels[good])
        assert (loaded.pixels[2] == 0).all()
        loader.finish(loader.start_samples(range(4)))
        ((machine, strength),) = told[0]
        assert (machine, strength.is_closed, len(told)) == (socket.gethostname(), True, 1)
        broken = RayLoader([ray.put("not data")], resources, 1, told.append)
        started = broken.start_samples(range(4))
        with pytest.raises(ray.exceptions.RayTaskError, match="AttributeError"):
            broken.finish(started)
