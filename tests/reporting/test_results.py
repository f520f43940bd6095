"""Results travel: they are values that compare, and that other processes can be sent."""

from __future__ import annotations

import pickle

import pytest

from tests.reporting.test_summaries import REPORT
from vidcnn.reporting.estimating import Range
from vidcnn.reporting.results import Estimate, InferReport, SourcePlan

PLAN = SourcePlan(3, 1, 0, 2, 30, 1, 2.5, (("b.mp4", "the file is empty"),), {"txt": 1}, ("bare",), {})
ESTIMATE = Estimate(3, 1, 2, 0, 9, Range(8, 9, 10), Range(1.0, 2.0, 3.0), 2, 4.5, None)


@pytest.mark.parametrize("result", [REPORT, PLAN, ESTIMATE], ids=["InferReport", "SourcePlan", "Estimate"])
def test_a_result_stays_what_it_is_on_its_way_to_another_process(result: InferReport | SourcePlan | Estimate) -> None:
    assert pickle.loads(pickle.dumps(result)) == result
    with pytest.raises(AttributeError):
        result.num_videos = 7  # type: ignore[misc]
