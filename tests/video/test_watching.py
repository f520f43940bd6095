"""Stretches are runs of samples, and every sample belongs to one kind at most."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.scans import moving_picture
from vidcnn.video.watching import Seen, Stretch, Watcher

BLACK = np.full((64, 64), 3, np.uint8)


def watch(kinds: str) -> Seen:
    """Look at samples: ``m`` moving, ``b`` black, ``f`` the picture before again, ``x`` damaged."""
    watcher, picture = Watcher(), BLACK
    for index, kind in enumerate(kinds):
        if kind == "m":
            picture = moving_picture(index, (64, 64), seed=index)
        elif kind == "b":
            picture = BLACK
        watcher.add(index, index + 1, None if kind == "x" else picture)
    return watcher.seen(1.0)


def test_black_and_frozen_stretches_are_half_open_runs_of_samples() -> None:
    seen = watch("mbbbmffmbmf")
    assert seen.black == ((1.0, 4.0),)
    assert seen.frozen == ((4.0, 7.0), (9.0, 11.0))
    assert (seen.num_samples, seen.num_damaged) == (11, 0)


def test_a_damaged_sample_ends_a_stretch() -> None:
    seen = watch("mffxffbbxbb")
    assert seen.black == ((6.0, 8.0), (9.0, 11.0))
    assert seen.frozen == ((0.0, 3.0), (4.0, 6.0))
    assert seen.num_damaged == 2


def test_small_things_that_move_and_slow_fades_are_not_frozen() -> None:
    watcher = Watcher()
    for index in range(10):
        picture = np.full((64, 64), 100, np.uint8)
        picture[30:32, index : index + 2] = 160
        watcher.add(index, index + 1, picture)
    for index in range(10, 40):
        watcher.add(index, index + 1, np.full((64, 64), 100 + 2 * (index - 9), np.uint8))
    assert all(end - start <= 3 for start, end in watcher.seen(1.0).frozen)


def test_letters_on_black_are_not_black() -> None:
    watcher, picture = Watcher(), BLACK.copy()
    picture[20:30, 10:50] = 200
    for index in range(3):
        watcher.add(index, index + 1, picture)
    seen = watcher.seen(1.0)
    assert (seen.black, seen.frozen) == ((), ((0.0, 3.0),))


def test_a_black_video_has_no_print_and_a_moving_one_has() -> None:
    assert watch("bbbb").print is None
    assert watch("mmmm").print is not None
    assert watch("xx").print is None


@given(st.text("mbfx", min_size=1, max_size=40))
def test_stretches_are_in_order_apart_and_of_two_samples_at_least(kinds: str) -> None:
    seen = watch(kinds)

    def is_proper(stretches: tuple[Stretch, ...]) -> bool:
        ends = [0.0, *(time for stretch in stretches for time in stretch)]
        return ends == sorted(ends) and all(end - start >= 2 for start, end in stretches)

    assert is_proper(seen.black)
    assert is_proper(seen.frozen)
    covered = [set(range(int(start), int(end))) for start, end in (*seen.black, *seen.frozen)]
    assert sum(map(len, covered)) == len(set().union(*covered))
    assert all("x" not in kinds[int(start) : int(end)] for start, end in (*seen.black, *seen.frozen))
    assert seen.num_damaged == kinds.count("x")
