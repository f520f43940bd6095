from __future__ import annotations

import threading

from vidcnn.storage.locks.heartbeat import USUAL, Heartbeat


def test_it_beats_again_and_again_until_it_is_stopped_and_not_once_after() -> None:
    beats, third = [], threading.Event()

    def beat() -> float:
        beats.append(None)
        if len(beats) == 3:
            third.set()
        return 0.001

    heart = Heartbeat(beat, 0.001)
    assert third.wait(30)
    heart.stop()
    num_beats = len(beats)
    assert num_beats >= 3
    assert not third.wait(0) or len(beats) == num_beats


def test_stopping_waits_for_the_beat_that_is_under_way() -> None:
    begun, go_on, ended = threading.Event(), threading.Event(), threading.Event()

    def beat() -> None:
        begun.set()
        go_on.wait()
        ended.set()

    heart = Heartbeat(beat, 0.0)
    assert begun.wait(30)
    stopping = threading.Thread(target=heart.stop)
    stopping.start()
    assert stopping.is_alive()
    go_on.set()
    stopping.join(30)
    assert ended.is_set()


def test_a_beat_that_wants_no_more_is_the_last() -> None:
    beats: list[None] = []
    heart = Heartbeat(lambda: beats.append(None), 0.0)
    heart._thread.join(30)
    heart.stop()
    assert len(beats) == 1


def test_stopping_before_the_first_beat_does_not_wait_for_it() -> None:
    Heartbeat(lambda: None, 3600.0).stop()


def test_a_holder_gives_up_long_before_others_take_it_for_dead() -> None:
    assert 2 * USUAL.renew_seconds < USUAL.lost_seconds < USUAL.dead_seconds - USUAL.renew_seconds
