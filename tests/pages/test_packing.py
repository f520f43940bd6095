from __future__ import annotations

import base64

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.pages.test_timelines import read
from vidcnn.pages.packing import TOLERANCE_SECONDS, packed_cells, packed_times


def unpacked(times: list, num_cells: int) -> list[list[float | None]]:  # type: ignore[type-arg]
    """Return starts and ends as the script of a page reads them."""
    if not times:
        return [[None, None]] * num_cells
    if len(times) == 4:
        first, step, length, last = times
        ends = [first + index * step + length for index in range(num_cells - 1)]
        return [[first + index * step, end] for index, end in enumerate([*ends, last])]
    in_order = [None if one is None else one / 1000 for one in times[0]]
    return [in_order[2 * index : 2 * index + 2] for index in range(num_cells)]


def test_cells_are_three_bytes() -> None:
    packed = packed_cells(read({"v": [("c", 1.0), None, ("a", 0.5)]}))
    assert np.frombuffer(base64.b64decode(packed["labels_of_cells"]), "<u2").tolist() == [2, 65534, 0]
    assert list(base64.b64decode(packed["scores_of_cells"])) == [255, 0, 128]


@given(
    st.lists(
        st.tuples(st.floats(0, 1e5), st.floats(0, 100)).map(lambda pair: (pair[0], pair[0] + pair[1]))
        | st.just((float("nan"), float("nan"))),
        min_size=1,
        max_size=20,
    )
)
def test_times_come_back_within_the_tolerance(pairs: list[tuple[float, float]]) -> None:
    starts, ends = np.array(pairs).T
    for (start, end), got in zip(pairs, unpacked(packed_times(starts, ends), len(pairs)), strict=True):
        for time, read_back in zip((start, end), got, strict=True):
            assert (read_back is None) == np.isnan(time)
            assert read_back is None or abs(read_back - time) <= TOLERANCE_SECONDS + 0.02


def test_clips_in_one_step_take_four_numbers_also_where_the_last_is_shorter() -> None:
    starts = np.arange(1000) * 0.64 + 3
    ends = np.minimum(starts + 0.64, 642.5)
    assert packed_times(starts, ends) == [3.0, 0.64, 0.64, 642.5]
    assert packed_times(np.array([np.nan]), np.array([np.nan])) == []
    ends[5] += 1
    assert len(packed_times(starts, ends)[0]) == 2000
