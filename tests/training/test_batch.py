from __future__ import annotations

import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from tests.commands import PROJECT
from vidcnn.training.batch import Worker


@given(st.integers(0, 10**6), st.integers(1, 16), st.integers(1, 8))
def test_workers_share_the_samples_of_a_step_without_gap_or_overlap(step: int, size: int, count: int) -> None:
    shares = [Worker(rank, count).share(step, size * count) for rank in range(count)]
    batch_size = size * count
    assert [sample for share in shares for sample in share] == [*range(step * batch_size, (step + 1) * batch_size)]


def test_a_worker_by_itself_has_all_of_a_step_on_the_processor() -> None:
    worker = Worker()
    assert worker.share(3, 8) == range(24, 32)
    assert worker.device.type == "cpu"


def test_those_who_only_load_clips_do_not_wait_for_torch() -> None:
    code = "import sys, vidcnn.training.batch; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PROJECT)
    assert done.stdout == "False\n"
