"""Only decoders of an explicit list are used, and these are all that videos need."""

from __future__ import annotations

from pathlib import Path

import av
import pytest
from av.codec import Codec

from tests.videos import write_video
from vidcnn.errors import VideoError
from vidcnn.video import container
from vidcnn.video.codecs import VIDEO_DECODERS, WHITELIST
from vidcnn.video.container import open_video


def decoders() -> dict[str, Codec]:
    """Return this libav's decoders of pictures."""
    found = {}
    for name in av.codecs_available:
        try:
            codec = Codec(name, "r")
        except ValueError:
            continue
        if codec.type == "video":
            found[codec.name] = codec
    return found


def decode(path: Path) -> int:
    """Decode a video, and return its number of frames."""
    with open_video(str(path)) as video:
        return sum(len(packet.decode()) for packet in video.container.demux(video.stream))


def test_decoders_of_devices_and_of_what_is_no_picture_are_not_used() -> None:
    left_out = set(decoders()) - VIDEO_DECODERS
    assert {"wrapped_avframe", "vnull", "ansi", "bintext", "xface"} <= left_out
    assert all(name in left_out for name in decoders() if name.endswith(("_cuvid", "_qsv", "_amf", "_v4l2m2m")))


def test_what_this_libav_encodes_can_be_decoded() -> None:
    """All but what devices encode has a decoder of the list."""
    encoded = set()
    for name in av.codecs_available:
        try:
            codec = Codec(name, "w")
            usual = Codec(codec.canonical_name, "r")
        except ValueError:
            continue  # it only decodes, or its decoder has another name, which others of its kind have too
        if codec.type == "video":
            encoded.add(usual.name)
    assert len(encoded) > 50
    assert encoded - VIDEO_DECODERS == {"bitpacked", "vnull", "wrapped_avframe", "xface"}


@pytest.mark.parametrize("is_checked", [True, False])
def test_a_video_of_another_codec_is_refused_by_name_and_by_libav(
    is_checked: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_video(tmp_path / "a.nut", 3, codec="xface", size=(48, 48), pixel_format="monow")
    if not is_checked:
        monkeypatch.setattr(container, "_check_decoder", lambda _: None)
    with pytest.raises(VideoError) as caught:
        decode(path)
    assert caught.value.kind == "unreadable"
    if is_checked:
        assert caught.value.message == "its video codec (xface) is none that is decoded"
    monkeypatch.setattr(container, "VIDEO_DECODERS", VIDEO_DECODERS | {"xface"})
    monkeypatch.setattr(container, "WHITELIST", f"{WHITELIST},xface")
    assert decode(path) == 3
