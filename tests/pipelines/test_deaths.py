from __future__ import annotations

import pytest
from ray.exceptions import (
    GetTimeoutError,
    OutOfMemoryError,
    RayActorError,
    RayError,
    RayTaskError,
    WorkerCrashedError,
)

from vidcnn.pipelines.deaths import decoder_death


@pytest.mark.parametrize("death", [WorkerCrashedError(), OutOfMemoryError("it took all there was\nand more")])
def test_the_death_of_a_process_is_told_of_the_video_in_one_line(death: RayError) -> None:
    told = decoder_death(death)
    assert told is not None
    assert told.kind == "decoder_crash"
    assert told.message == f"the process that decoded it died ({str(death).splitlines()[0]})"


def test_the_death_of_a_task_whose_result_another_one_takes_is_told_too() -> None:
    error = RayTaskError("decode", "Traceback", WorkerCrashedError())
    told = decoder_death(error)
    assert told is not None
    assert told.kind == "decoder_crash"


@pytest.mark.parametrize(
    "error", [RayTaskError("decode", "Traceback", ValueError("ours")), GetTimeoutError("late"), RayActorError()]
)
def test_what_is_our_own_fault_is_not_laid_on_a_video(error: RayError) -> None:
    assert decoder_death(error) is None
