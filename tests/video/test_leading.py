"""Files cut out of longer ones: which of the frames before the first keyframe can be had."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import pytest

from tests.video.decoding import frame_numbers
from tests.video.test_decode import WITH_B, X264
from tests.videos import decode_all, number_of, write_video
from vidcnn.video import timeline
from vidcnn.video.container import open_video
from vidcnn.video.leading import decodable_times, num_lost_at_start
from vidcnn.video.probe import probe_video

NUM_FRAMES, INTERVAL = 48, 18
X265 = "log-level=none:pools=none:bframes=4:b-adapt=0:scenecut=0:keyint=18:min-keyint=18"
STREAMS: dict[str, dict[str, Any]] = {
    # Frames before the keyframe that do not need the ones before the cut: RADL, HEVC's NAL types 6 and 7.
    "radl": {"codec": "libx265", "options": {"preset": "ultrafast", "x265-params": f"{X265}:open-gop=0:radl=2"}},
    # Frames before the keyframe that do: RASL, HEVC's NAL types 8 and 9.
    "rasl": {"codec": "libx265", "options": {"preset": "ultrafast", "x265-params": f"{X265}:open-gop=1"}},
    "h264": {"options": X264 | {"x264-params": "open-gop=1:bframes=3:b-adapt=0:scenecut=0:keyint=18:min-keyint=18"}},
    "mpeg2": {"codec": "mpeg2video", "rate": 25, "options": WITH_B, "keyframe_interval": INTERVAL},
}


def write_cut(folder: Path, stream: str, container: str, *, num_skipped: int = 1) -> Path:
    """Write a video, and cut it before one of its keyframes without coding anew."""
    # Of MP4, parameter sets are not repeated at keyframes like these when it is made into a stream.
    whole = folder / ("whole.mp4" if container in ("mp4", "mkv") else "whole.ts")
    write_video(whole, NUM_FRAMES, **STREAMS[stream])
    path = folder / f"cut.{container}"
    options = {"use_editlist": "0"} if container == "mp4" else {}
    with av.open(str(whole)) as source, av.open(str(path), "w", container_options=options) as output:
        copied = output.add_stream_from_template(source.streams.video[0])
        num_keyframes = 0
        shift = None
        for packet in source.demux(video=0):
            num_keyframes += packet.is_keyframe
            if packet.dts is None or packet.pts is None or num_keyframes <= num_skipped:
                continue
            shift = packet.dts if shift is None else shift
            packet.dts -= shift
            packet.pts -= shift
            packet.stream = copied
            output.mux(packet)
    return path


def libav_shows(path: Path) -> list[int]:
    return [number_of(frame) for frame in decode_all(path)]


@pytest.mark.parametrize("container", ["ts", "mkv", "mp4"])
@pytest.mark.parametrize("stream", STREAMS)
def test_a_file_that_was_cut_has_the_frames_that_libav_decodes(stream: str, container: str, tmp_path: Path) -> None:
    path = write_cut(tmp_path, stream, container)
    expected = libav_shows(path)
    assert expected[-1] == NUM_FRAMES - 1
    assert frame_numbers(path) == expected
    if stream == "radl":
        assert expected[0] < INTERVAL  # shown before the keyframe that the file begins with


@pytest.mark.parametrize(("stream", "container"), [("radl", "hevc"), ("rasl", "hevc"), ("h264", "h264")])
def test_a_raw_stream_that_was_cut_has_as_many_frames_as_are_decoded(
    stream: str, container: str, tmp_path: Path
) -> None:
    path = write_cut(tmp_path, stream, container)
    assert frame_numbers(path) == libav_shows(path)


def test_frames_that_build_on_the_ones_cut_off_are_not_planned(tmp_path: Path) -> None:
    path = write_cut(tmp_path, "rasl", "ts")
    with av.open(str(path)) as container:
        num_packets = sum(packet.size > 0 for packet in container.demux(video=0))
    info = probe_video(str(path))
    assert info.times.num_frames == len(libav_shows(path)) < num_packets
    assert info.times.keyframes[0] == 0


def test_which_leading_frames_come_out_is_tried(tmp_path: Path) -> None:
    for stream, come in (("radl", True), ("rasl", False)):
        (tmp_path / stream).mkdir()
        path = write_cut(tmp_path / stream, stream, "mkv")
        with open_video(str(path)) as video:
            packets = timeline._read_packets(video, set())
        assert packets.first_keyframe is not None
        leading = frozenset(time for time in packets.presentation.tolist() if time < packets.first_keyframe)
        assert leading
        with open_video(str(path)) as video:
            found = decodable_times(video, packets.first_keyframe, leading)
        assert found == (leading if come else frozenset())


def test_a_file_from_its_beginning_loses_no_frame(tmp_path: Path) -> None:
    files: dict[str, dict[str, Any]] = {
        "a.hevc": {"codec": "libx265", "options": {"preset": "ultrafast", "x265-params": X265}, "container": "hevc"},
        "a.h264": {"options": X264, "container": "h264"},
        "a.avi": {"codec": "mpeg4", "options": WITH_B},
        "a.mpg": {"codec": "mpeg2video", "rate": 25, "container": "mpeg", "options": WITH_B},
    }
    for name, arguments in files.items():
        for num_frames in (1, 5, NUM_FRAMES):
            path = write_video(tmp_path / name, num_frames, **arguments)
            assert num_lost_at_start(str(path), max_pixels=10**6) == 0, (name, num_frames)


def test_a_long_files_index_does_not_stand_for_leading_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeline, "INDEX_MIN_FRAMES", 8)
    path = write_cut(tmp_path, "rasl", "mp4")
    assert frame_numbers(path) == libav_shows(path)


def test_recordings_joined_in_another_order_are_counted(tmp_path: Path) -> None:
    """The second begins a little before the first: too little to be seen by how far time goes back."""
    (tmp_path / "late").mkdir()
    whole = write_video(tmp_path / "a.ts", 30, options=X264)
    late = write_video(tmp_path / "late" / "b.ts", 30, options=X264, first_number=30)
    with av.open(str(late)) as source, av.open(str(tmp_path / "c.ts"), "w") as output:
        copied = output.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None and packet.pts is not None:
                packet.dts, packet.pts, packet.stream = packet.dts + 90_000, packet.pts + 90_000, copied
                output.mux(packet)
    path = tmp_path / "joined.ts"
    path.write_bytes((tmp_path / "c.ts").read_bytes() + whole.read_bytes())
    info = probe_video(str(path))
    assert (info.timing, info.times.num_frames) == ("order", 60)
