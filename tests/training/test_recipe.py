from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.training.cases import recipe
from vidcnn.choices import Schedule
from vidcnn.training.recipe import Recipe


@given(st.sampled_from(["cosine", "multistep", "constant"]), st.integers(0, 30), st.integers(0, 99))
def test_the_rate_is_a_share_of_the_highest_in_every_step(schedule: Schedule, warmup_steps: int, step: int) -> None:
    assert 0 < recipe(schedule=schedule, warmup_steps=warmup_steps, milestones=(50,)).rate(step) <= 1 + 1e-12


@given(st.sampled_from(["cosine", "constant"]), st.integers(1, 30))
def test_it_rises_in_the_warm_up_and_never_after(schedule: Schedule, warmup_steps: int) -> None:
    rates = [recipe(schedule=schedule, warmup_steps=warmup_steps).rate(step) for step in range(100)]
    assert all(low < high for low, high in pairwise(rates[:warmup_steps]))
    assert all(high <= low + 1e-12 for low, high in pairwise(rates[warmup_steps - 1 :]))
    assert rates[warmup_steps - 1] == pytest.approx(1)


def test_a_cosine_is_halved_half_way_and_ends_near_nothing() -> None:
    falling: Recipe = recipe(schedule="cosine", num_steps=100)
    assert [falling.rate(step) for step in (0, 50, 100)] == pytest.approx([1, 0.5, 1e-3])


def test_milestones_lower_it_by_a_factor_each() -> None:
    falling = recipe(schedule="multistep", milestones=(10, 20), gamma=0.1)
    assert [falling.rate(step) for step in (9, 10, 19, 20, 99)] == pytest.approx([1, 0.1, 0.1, 0.01, 0.01])
