from __future__ import annotations

from typing import Any

import pytest

from vidcnn.cluster import Machine
from vidcnn.config import InferSpec
from vidcnn.pipelines.executors import fits_in_process

MACHINE = Machine(4, 0, 2**33)


def spec(**values: Any) -> InferSpec:
    return InferSpec(source=("videos",), **values)


@pytest.mark.parametrize(
    ("machine", "num_clips", "fits"),
    [
        (MACHINE, 0, True),
        (MACHINE, 512, True),
        (MACHINE, 513, False),
        (Machine(4, 1, 2**33), 512, True),
        (Machine(4, 2, 2**33), 1, False),
    ],
)
def test_a_few_clips_are_done_in_process_where_one_gpu_or_none_does_them(
    machine: Machine, num_clips: int, fits: bool
) -> None:
    assert fits_in_process(spec(), machine, num_clips) is fits


@pytest.mark.parametrize(
    ("machine", "values", "fits"),
    [
        (MACHINE, {}, False),
        (MACHINE, {"precision": "bf16"}, False),
        (MACHINE, {"precision": "int8"}, True),  # is not compiled
        (MACHINE, {"in_process": "on"}, True),
        (Machine(1, 0, 2**33), {}, True),
        (Machine(4, 1, 2**33), {}, True),
    ],
)
def test_networks_that_are_compiled_have_processes_of_their_own_where_there_are_several(
    machine: Machine, values: dict[str, Any], fits: bool
) -> None:
    assert fits_in_process(spec(compile="on", **values), machine, 1) is fits


def test_what_the_user_wants_comes_first() -> None:
    assert fits_in_process(spec(in_process="on"), Machine(4, 8, 2**33), 10**9)
    assert not fits_in_process(spec(in_process="off"), MACHINE, 1)
