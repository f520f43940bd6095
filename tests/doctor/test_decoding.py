from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from vidcnn.doctor.decoding import check_child, check_codecs
from vidcnn.sandbox import seccomp
from vidcnn.video import abilities


def crash(items: Sequence[None]) -> Iterator[None]:
    import os

    os.abort()
    yield


def test_codecs_that_are_missing_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(abilities, "missing_codecs", lambda: ["h264", "vp9"])
    found = {one.name: one for one in check_codecs()}
    assert (found["hevc"].level, found["vp9"].level, found["h264"].level) == ("good", "warning", "failure")
    assert found["vp9"].problem == "the FFmpeg of PyAV does not decode vp9: such videos become error rows"


@pytest.mark.parametrize(("there", "value"), [(True, "vaapi; processors decode all the same"), (False, "none here")])
def test_hardware_decoders_are_a_note(there: bool, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(abilities, "hardware_decoders", lambda: {"vaapi": there})
    hardware = check_codecs()[-1]
    assert hardware.level == "note"
    assert hardware.value.startswith(value)


def test_a_decoding_process_starts_and_decodes() -> None:
    found, confined = check_child()
    assert confined.name == "confinement"
    assert confined.facts["sandbox"]["seccomp"] == seccomp.is_there()
    assert (found.level, found.problem) == ("good", "")
    assert found.facts["seconds"] > 0


def test_a_decoding_process_that_dies_or_does_not_start_will_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(abilities, "decode_known", crash)
    (found,) = check_child()
    assert (found.level, found.problem) == ("failure", "a process for decoding failed: it was killed by SIGABRT")

    def refuse(*arguments: object, **options: object) -> None:
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("subprocess.Popen", refuse)
    (found,) = check_child()
    assert found.level == "failure"
    assert "no process for decoding can be started" in found.problem
