from __future__ import annotations

import json
import random

from hypothesis import given
from hypothesis import strategies as st

from vidcnn.training.feed import BadSample
from vidcnn.training.tally import Tally

TALLIES = st.lists(
    st.builds(
        Tally,
        losses=st.lists(st.floats(0, 1e6), max_size=3),
        num_good=st.integers(0, 8),
        num_correct=st.integers(0, 8),
        num_short=st.integers(0, 8),
    ),
    max_size=8,
)


def total(tallies: list[Tally]) -> Tally:
    whole = Tally()
    for tally in tallies:
        whole.add(Tally.from_values(tally.values()))
    return whole


@given(TALLIES, st.integers())
def test_the_figures_do_not_show_in_which_order_they_were_counted(tallies: list[Tally], seed: int) -> None:
    shuffled = random.Random(seed).sample(tallies, len(tallies))
    assert (total(tallies).loss, total(tallies).accuracy) == (total(shuffled).loss, total(shuffled).accuracy)
    assert total(tallies).num_short == sum(tally.num_short for tally in tallies)


def test_what_is_written_down_is_read_back() -> None:
    tally = Tally([0.5], 3, 2, [BadSample(7, "a.mp4", "truncated", "cut off")], num_short=1)
    assert Tally.from_values(json.loads(json.dumps(tally.values()))) == tally
    by_an_earlier_version = {name: value for name, value in tally.values().items() if name != "num_short"}
    assert Tally.from_values(by_an_earlier_version).num_short == 0


def test_without_a_sample_nothing_is_divided_by_nothing() -> None:
    assert (Tally().loss, Tally().accuracy) == (0, 0)
