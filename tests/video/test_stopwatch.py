from __future__ import annotations

import time

import pytest

from vidcnn.video import stopwatch
from vidcnn.video.stopwatch import Stopwatch


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
