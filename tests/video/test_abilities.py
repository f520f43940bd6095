from __future__ import annotations

from pathlib import Path

import av
import pytest

from vidcnn.errors import DecoderError
from vidcnn.video import abilities
from vidcnn.video.abilities import (
    DECODERS,
    can_encode,
    decode_known,
    ffmpeg_version,
    hardware_decoders,
    missing_codecs,
)


def test_the_usual_wheels_have_the_codecs_that_matter() -> None:
    assert missing_codecs() == []
    assert can_encode()
    assert ffmpeg_version()[0].isdigit()


def test_a_codec_is_missing_where_none_of_its_decoders_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(av, "codecs_available", {"h264", "libaom-av1", "mjpeg", "vp9", "prores", "av1"})
    assert missing_codecs() == ["hevc"]
    monkeypatch.setattr(av, "codecs_available", set(DECODERS) - {"h264"})
    assert missing_codecs() == ["h264", "av1"]  # libav's own av1 decodes nothing without a GPU
    assert not can_encode()


def test_hardware_is_there_or_libav_was_only_built_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(abilities, "hwdevices_available", lambda: ["cuda", "vaapi", "drm"])
    monkeypatch.setattr(abilities, "_has_library", lambda name: False)
    monkeypatch.setattr(abilities, "_VAAPI", tmp_path)
    assert hardware_decoders() == {"cuda": False, "vaapi": True}


def test_the_known_video_is_decoded_or_that_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(decode_known([None, None])) == [None, None]

    def wrong(*arguments: object, **options: object) -> None:
        raise DecoderError("wrong pixels")

    monkeypatch.setattr(abilities, "check_decoder", wrong)
    with pytest.raises(DecoderError):
        list(decode_known([None]))
