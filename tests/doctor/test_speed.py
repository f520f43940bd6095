from __future__ import annotations

import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.commands import make_tiny_bundle
from vidcnn.doctor import speed
from vidcnn.doctor.speed import Speed, check_speed, encode
from vidcnn.errors import ModelError
from vidcnn.video.probe import probe_video

rates = st.floats(0.1, 1e5)


def speed_of(clips: float, frames: float, num_gpus: int = 0) -> Speed:
    return Speed("net in bf16", "cpu", clips, frames, 2.0, 4, num_gpus)


@given(rates, rates)
def test_on_processors_model_and_decoder_share_the_time(clips: float, frames: float) -> None:
    found = speed_of(clips, frames)
    seconds = 1 / (2 * clips) + 24 / frames  # of all processors, for a second of video
    assert found.hours_per_hour == pytest.approx(1 / seconds)
    assert found.hours_per_hour < speed_of(clips, frames, num_gpus=1).hours_per_hour


@given(rates, rates)
def test_beside_a_gpu_the_slower_of_both_counts(clips: float, frames: float) -> None:
    found = speed_of(clips, frames, num_gpus=1)
    assert found.hours_per_hour == min(2 * clips, frames / 24)
    assert found.limit == ("model" if 2 * clips < frames / 24 else "decoding")


def test_what_is_measured_is_said_in_hours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "measure", lambda model, cores: speed_of(100.0, 480.0))
    model, decoding, both = check_speed(None, 4)
    assert model.value == "net in bf16: 100.0 clips/s on 4 processors"
    assert decoding.value == "480 frames/s of 720p H.264 on 4 processors"
    assert both.value == "about 18 hours of video an hour, limited by decoding"
    assert (both.short, both.facts["hours_per_hour"]) == ("18 h/h", pytest.approx(18.182))


def test_a_model_that_cannot_be_loaded_will_fail() -> None:
    (found,) = check_speed("r3d_19", 1)
    assert (found.level, "r3d_19" in found.problem) == ("failure", True)
    assert found.remedy


def test_without_an_encoder_nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vidcnn.video.abilities.can_encode", lambda: False)
    (found,) = check_speed(None, 1)
    assert (found.level, "not measured" in found.value) == ("note", True)


def test_the_video_has_as_many_frames_as_are_counted(tmp_path: Path) -> None:
    encode(tmp_path / "v.mp4")
    info = probe_video(str(tmp_path / "v.mp4"))
    assert len(info.times.pts) == 96


def test_model_and_decoder_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "SECONDS", 0.05)
    bundle = make_tiny_bundle(tmp_path / "tiny")
    found = speed.measure(str(bundle), 1)
    assert found.model.startswith("simple3d in ")
    assert found.clips_per_second > 0
    assert found.frames_per_second > 0
    assert found.video_seconds_per_clip == pytest.approx(1.0)  # four seconds have four clips


def test_of_many_processors_a_few_are_measured_and_count_for_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(speed, "encode", lambda path: None)
    monkeypatch.setattr(speed, "_decoding", lambda job, number: (asked.append(number), (100.0, 1.0))[1])
    monkeypatch.setattr(speed, "_model", lambda job, number: (asked.append(number), (10.0, "net", "cpu"))[1])
    found = speed.measure(str(make_tiny_bundle(tmp_path / "tiny")), 64)
    assert asked == [8, 8]
    assert (found.frames_per_second, found.clips_per_second) == (800, 80)


def test_what_one_thread_raises_ends_the_others() -> None:
    numbers = iter(range(3))

    def work(ready: threading.Barrier) -> None:
        if next(numbers) == 1:
            raise ModelError("it is gone")
        ready.wait()

    with pytest.raises(ModelError, match="it is gone"):
        speed._together(work, 3)
