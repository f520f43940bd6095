from __future__ import annotations

from tests.inference.cases import small_bundle
from vidcnn.inference.batch_sizes import choose_batch_size, smaller_batches


def test_wishes_that_fit_are_taken_and_long_clips_leave_the_default() -> None:
    bundle = small_bundle()
    assert [choose_batch_size(bundle, "cpu", wanted) for wanted in (None, 1, 7)] == [2, 1, 7]
    assert choose_batch_size(small_bundle(num_frames=16_384), "cpu", 16) == 2
    assert smaller_batches(None, 2) is None
    assert smaller_batches(7, 7) is None
    assert smaller_batches(1000, 32) == (
        "the model takes 32 clips at once, not 1,000: more would need memory and be no faster"
    )
