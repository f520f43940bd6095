"""The best classes, best first."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vidcnn.models.ranking import top_classes


@given(
    st.lists(st.lists(st.sampled_from([0.0, 0.125, 0.25, 0.5]), min_size=4, max_size=4), min_size=1), st.integers(1, 6)
)
def test_the_best_classes_come_first_and_of_equals_the_first(rows: list[list[float]], top_k: int) -> None:
    probabilities = np.array(rows, np.float32)
    indexes, scores = top_classes(probabilities, top_k)
    for row, found, score in zip(rows, indexes.tolist(), scores.tolist(), strict=True):
        expected = sorted(range(4), key=lambda index: (-row[index], index))[:top_k]
        assert found == expected
        assert score == [row[index] for index in expected]


def test_the_top_classes_come_in_descending_order_and_equals_by_index() -> None:
    probabilities = np.array([[0.1, 0.4, 0.1, 0.4], [0.7, 0.0, 0.2, 0.1]], dtype=np.float32)
    indices, scores = top_classes(probabilities, 3)
    assert indices.tolist() == [[1, 3, 0], [0, 2, 3]]
    assert scores.tolist() == np.take_along_axis(probabilities, indices, 1).tolist()
    assert top_classes(probabilities, 99)[0].shape == (2, 4)
    ties = np.tile(np.float32([0.1, 0.3, 0.2]), 100)[None]
    assert top_classes(ties, 300)[0].tolist() == [[*range(1, 300, 3), *range(2, 300, 3), *range(0, 300, 3)]]
