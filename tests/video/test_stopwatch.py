from __future__ import annotations

import time

import pytest

from vidcnn.sandbox.confinement import Strength
from vidcnn.video import stopwatch
from vidcnn.video.stopwatch import StageTimes, Stopwatch


def test_computing_is_told_from_waiting() -> None:
    watch = Stopwatch()
    time.sleep(0.2)
    slept = watch.read()
    assert slept.seconds >= 0.2
    assert slept.cpu_seconds < 0.1
    watch = Stopwatch()
    while watch.read().cpu_seconds < 0.05:
        pass
    computed = watch.read()
    assert computed.cpu_seconds + computed.queue_seconds <= computed.seconds + 1e-9


def test_where_the_system_does_not_tell_no_wait_is_blamed_on_anything_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopwatch, "_queue_seconds", lambda: None)
    watch = Stopwatch()
    time.sleep(0.05)
    spent = watch.read()
    assert spent.queue_seconds == spent.seconds - spent.cpu_seconds


def test_of_processes_of_one_machine_what_holds_for_all_is_kept() -> None:
    full, weak = Strength(True, 7, 4, True), Strength(True, 0, None, False)
    some = StageTimes(1.0, confined=(("a", full), ("b", full)))
    others = StageTimes(2.0, plan_read_seconds=3.0, confined=(("b", weak), ("c", full._replace(memory_bytes=5))))
    added = some.plus(others)
    assert added == others.plus(some)._replace(confined=added.confined)
    assert added[:-1] == (3.0, 0.0, 0.0, 0.0, 0.0, 0.0, 3.0)
    assert dict(added.confined) == {"a": full, "b": weak, "c": Strength(True, 7, 5, True)}
    assert dict(others.plus(some).confined) == dict(added.confined)
