"""Times of frames: read, proved, or counted; and what headers that lie can do about it."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.video.decoding import frame_numbers
from tests.video.test_decode import OPEN, UNEVEN, WITH_B, X264
from tests.videos import decode_all, number_of, write_video
from vidcnn.errors import VideoError
from vidcnn.sampling.segments import ClipSpec, FrameTimes, Sampling, plan_segments
from vidcnn.video import timeline
from vidcnn.video.container import open_video
from vidcnn.video.probe import probe_video
from vidcnn.video.timeline import FrameMatching, read_timeline

LONG = 260
STILL = X264 | {"x264-params": "scenecut=0"}


@pytest.fixture(autouse=True)
def _short_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeline, "INDEX_MIN_FRAMES", LONG)


def read(path: Path) -> tuple[FrameTimes, FrameMatching]:
    with open_video(str(path)) as video:
        return read_timeline(video, str(path))


def seconds(times: FrameTimes) -> list[float]:
    return [float(t * times.time_base) for t in times.pts.tolist()]


def test_times_are_those_that_were_written(tmp_path: Path) -> None:
    written = [Fraction(t, 1000) for t in UNEVEN]
    for name in ("a.mp4", "a.mkv"):
        path = write_video(tmp_path / name, len(written), options=X264, times=written, time_base=Fraction(1, 1000))
        times, timing = read(path)
        assert timing == "pts"
        assert seconds(times) == pytest.approx([float(t) for t in written])


def test_the_last_frame_ends_with_its_own_duration(tmp_path: Path) -> None:
    times, _ = read(write_video(tmp_path / "a.mp4", 10, rate=10, options=X264))
    assert times.end * times.time_base == 1
    times, _ = read(write_video(tmp_path / "one.mp4", 1, rate=10, options=X264))
    assert times.end * times.time_base == Fraction(1, 10)


def test_keyframes_are_found_in_the_order_of_presentation(tmp_path: Path) -> None:
    for name in ("a.mp4", "a.mkv", "a.ts"):
        times, _ = read(write_video(tmp_path / name, 40, options=OPEN, keyframe_interval=12))
        assert times.keyframes.tolist() == [0, 12, 24, 36]


def test_raw_streams_are_counted_at_the_nominal_rate(tmp_path: Path) -> None:
    times, timing = read(write_video(tmp_path / "a.h264", 50, options=X264, container="h264"))
    assert timing == "order"
    assert seconds(times)[:3] == [0, 1 / 25, 2 / 25]
    assert times.end * times.time_base == 2


def test_avi_with_b_frames_is_counted_and_without_them_is_not(tmp_path: Path) -> None:
    times, timing = read(write_video(tmp_path / "a.avi", 30, codec="mpeg4", options=WITH_B))
    assert (timing, seconds(times)[:2]) == ("order", [0, pytest.approx(1 / 30)])
    assert read(write_video(tmp_path / "b.avi", 30, codec="mpeg4"))[1] == "pts"


def test_times_that_differ_after_a_seek_are_not_relied_on(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mpg", 120, codec="mpeg2video", rate=25, container="mpeg", options={"b": "8000000"})
    assert read(path)[1] == "order"


def test_a_stream_whose_seeks_fail_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video(tmp_path / "a.mkv", 40, options=X264)
    assert read(path)[1] == "pts"
    monkeypatch.setattr(timeline, "_PROOF_PLACES", (0.5,))
    with open_video(str(path)) as video:
        times, _ = timeline._arrange(timeline._read_packets(video, set()), video)
        shifted = FrameTimes(times.pts * 2, times.end * 2, times.time_base, times.keyframes)
        assert timeline._times_last(times, video)
        assert not timeline._times_last(shifted, video)


class Index:
    """The index of an MP4 as it is written, to be changed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.data = bytearray(path.read_bytes())

    def position(self, kind: bytes) -> int:
        """Where the body of the first box of a kind starts."""
        position = self.data.find(kind)
        assert position > 0, kind
        return position + 4

    def put(self, kind: bytes, offset: int, form: str, *values: int) -> Index:
        struct.pack_into(f">{form}", self.data, self.position(kind) + offset, *values)
        return self

    def get(self, kind: bytes, offset: int, form: str) -> tuple[Any, ...]:
        return struct.unpack_from(f">{form}", self.data, self.position(kind) + offset)

    def save(self) -> Path:
        path = self.path.with_name(f"changed_{self.path.name}")
        path.write_bytes(self.data)
        return path


@pytest.fixture(scope="module")
def long_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("long") / "a.mp4", LONG, options=STILL, keyframe_interval=25)


def by_packets(path: Path, monkeypatch: pytest.MonkeyPatch) -> FrameTimes:
    with monkeypatch.context() as changed:
        changed.setattr(timeline, "INDEX_MIN_FRAMES", 10**9)
        return read(path)[0]


def proved_by_index(path: Path) -> FrameTimes | None:
    with open_video(str(path)) as video:
        return timeline._times_from_index(video)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"options": STILL | {"x264-params": "scenecut=0:open-gop=1:bframes=3:b-adapt=0"}},
        {"options": {"preset": "ultrafast"}},
        {"times": [50 + Fraction(i, 30) for i in range(LONG)]},
        {"container_options": {"use_editlist": "0"}},
        {"container_options": {"movflags": "negative_cts_offsets"}},
        {"rate": Fraction(30000, 1001)},
    ],
)
def test_a_long_files_index_says_what_its_packets_say(
    arguments: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_video(
        tmp_path / "a.mp4", LONG, **{"options": X264, "size": (32, 32), "keyframe_interval": 50} | arguments
    )
    times = proved_by_index(path)
    assert times is not None
    expected = by_packets(path, monkeypatch)
    assert np.array_equal(times.pts, expected.pts)
    assert (times.end, times.time_base) == (expected.end, expected.time_base)
    assert np.abs(times.keyframes - expected.keyframes).max() <= 3


def test_the_index_alone_is_read_of_a_long_file(long_video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fed: list[Any] = []
    whole = timeline._frame_packets

    def counted(video: Any) -> Any:
        for packet in whole(video):
            fed.append(packet)
            yield packet

    monkeypatch.setattr(timeline, "_frame_packets", counted)
    assert read(long_video)[0].num_frames == LONG
    assert len(fed) <= 64 + 50
    fed.clear()
    monkeypatch.setattr(timeline, "INDEX_MIN_FRAMES", LONG + 1)
    read(long_video)
    assert len(fed) > LONG


@pytest.mark.parametrize("frame", [70, LONG // 2, LONG - 2])
def test_an_uneven_index_proves_nothing(
    frame: int, long_video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One frame later by half a step: the table of decoding times has three runs instead of one."""
    index = Index(long_video)
    (runs,) = index.get(b"stts", 4, "I")
    _, step = index.get(b"stts", 8, "II")
    assert runs == 1
    table = struct.pack(">IIIIIII", 3, frame, step, 1, step + step // 2, LONG - frame - 1, step)
    grow(index, b"stts", struct.pack(">I", 0) + table)
    path = index.save()
    assert proved_by_index(path) is None
    assert len(set(np.diff(read(path)[0].pts).tolist())) > 1


def grow(index: Index, kind: bytes, body: bytes) -> None:
    """Replace a box's body, and fix the sizes of the boxes around it; the samples must lie before the index."""
    start = index.position(kind)
    (old,) = struct.unpack_from(">I", index.data, start - 8)
    delta = len(body) + 8 - old
    for outer in (b"moov", b"trak", b"mdia", b"minf", b"stbl", kind):
        at = index.position(outer) - 8
        struct.pack_into(">I", index.data, at, struct.unpack_from(">I", index.data, at)[0] + delta)
    index.data[start : start + old - 8] = body
    assert index.data.find(b"mdat") < start


def test_presentation_times_off_the_grid_prove_nothing(long_video: Path) -> None:
    index = Index(long_video)
    for entry in range(index.get(b"ctts", 4, "I")[0] - 20, index.get(b"ctts", 4, "I")[0]):
        count, offset = index.get(b"ctts", 8 + 8 * entry, "Ii")
        index.put(b"ctts", 8 + 8 * entry, "Ii", count, offset + 7)
    assert proved_by_index(index.save()) is None


def test_what_an_edit_list_cuts_off_is_not_shown(tmp_path: Path) -> None:
    """A cut by an editor that does not encode anew: the frames before it are there, for decoding only."""
    for num_frames in (120, LONG):
        path = write_video(tmp_path / f"{num_frames}.mp4", num_frames, options=X264, size=(32, 32))
        index = Index(path)
        (scale,) = index.get(b"mdhd", 12, "I")
        duration, start = index.get(b"elst", 8, "Ii")
        index.put(b"elst", 8, "Ii", duration // 2, start + 30 * scale // 30)
        times, timing = read(index.save())
        assert timing == "pts"
        if num_frames == 120:
            assert frame_numbers(index.save()) == list(range(30, 30 + times.num_frames))
        assert times.num_frames in (num_frames // 2, num_frames // 2 + 1)


@pytest.mark.parametrize("num_frames", [120, LONG])
def test_a_file_cut_off_after_its_index_is_planned_whole(num_frames: int, tmp_path: Path) -> None:
    path = write_video(
        tmp_path / "a.mp4", num_frames, options=X264, size=(32, 32), container_options={"movflags": "faststart"}
    )
    whole, _ = read(path)
    data = path.read_bytes()
    path.write_bytes(data[: data.find(b"mdat") + (len(data) - data.find(b"mdat")) * 2 // 3])
    times, timing = read(path)
    assert timing == "pts"
    assert np.array_equal(times.pts, whole.pts)
    assert times.end == whole.end
    assert times.num_available is not None
    assert num_frames // 4 < times.num_available < num_frames * 9 // 10
    path.write_bytes(data[: data.find(b"mdat") + 4])
    with pytest.raises(VideoError, match="'mdat' box ends at") as info:
        read(path)
    assert info.value.kind == "truncated"


@pytest.mark.parametrize("name", ["a.mkv", "a.avi", "a.flv", "b.avi"])
def test_what_a_cut_off_file_lost_is_known_from_its_header(name: str, tmp_path: Path) -> None:
    codec = "mpeg4" if name == "b.avi" else "libx264"
    path = write_video(tmp_path / name, 120, codec=codec, options=X264 if codec == "libx264" else {})
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    times, _ = read(path)
    assert 115 <= times.num_frames <= 122  # frames that are shown before one that is lost may be missing too
    assert times.num_available is not None
    assert 20 < times.num_available < 100


def test_a_file_that_ends_before_its_first_frame_is_truncated(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv", 20, options=X264)
    data = path.read_bytes()
    path.write_bytes(data[: data.find(bytes.fromhex("1f43b675"))])
    with pytest.raises(VideoError, match=f"it has {path.stat().st_size} of {len(data)} bytes") as info:
        read(path)
    assert info.value.kind == "truncated"


def test_a_stream_without_frames_is_no_video(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 9, options=X264, container_options={"movflags": "frag_keyframe+empty_moov"})
    data = path.read_bytes()
    path.write_bytes(data[: data.find(b"moof") - 4])
    with pytest.raises(VideoError, match="its video stream contains no frames") as info:
        read(path)
    assert info.value.kind == "no_video"


def test_durations_and_counts_in_headers_are_not_believed(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 30, options=X264)
    honest = probe_video(str(path))
    for kind, offset in ((b"mvhd", 16), (b"tkhd", 20), (b"mdhd", 16), (b"elst", 8)):
        info = probe_video(str(Index(path).put(kind, offset, "I", 2**31 - 1).save()))
        assert np.array_equal(info.times.pts, honest.times.pts), kind
        assert info.duration_seconds == honest.duration_seconds


def test_matroskas_duration_is_not_believed(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv", 30, options=X264)
    data = path.read_bytes()
    at = data.find(bytes.fromhex("448988")) + 3
    assert struct.unpack(">d", data[at : at + 8])[0] == pytest.approx(1000, abs=40)
    path.write_bytes(data[:at] + struct.pack(">d", 1e12) + data[at + 8 :])
    assert probe_video(str(path)).duration_seconds == pytest.approx(1, abs=0.04)
    # Not even of a file that was cut off: decades of lost frames are not planned.
    path.write_bytes(path.read_bytes()[: len(data) * 2 // 3])
    times, _ = read(path)
    assert times.num_available is not None
    assert times.num_frames < 30 * 20


def test_a_timescale_of_zero_does_no_harm(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 30, options=X264)
    for kind in (b"mvhd", b"mdhd"):
        changed = Index(path).put(kind, 12, "I", 0).save()
        assert frame_numbers(changed) == [number_of(frame) for frame in decode_all(changed)] != []


def test_absurd_times_are_counted_instead(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.nut", 10, options={"preset": "ultrafast", "tune": "zerolatency"})
    with open_video(str(path)) as video:
        packets = timeline._read_packets(video, set())
        absurd = packets._replace(presentation=packets.presentation + 2**62)
        times, timing = timeline._arrange(absurd, video)
    assert (timing, times.pts.tolist()) == ("order", list(range(10)))


@pytest.mark.parametrize("reason", ["unplaced", "last"])
def test_frames_that_are_counted_are_counted_from_the_beginning_once(
    reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_video(tmp_path / "a.ts", 60, options=X264 | {"g": "10"}, container="mpegts")
    assert len(read(path)[0].keyframes) == 6
    if reason == "last":
        monkeypatch.setattr(timeline, "_times_last", lambda *_: False)
    else:
        whole = timeline._read_packets
        monkeypatch.setattr(timeline, "_read_packets", lambda *given: whole(*given)._replace(num_unplaced=1))
    times, timing = read(path)
    assert (timing, times.keyframes.tolist()) == ("order", [0])
    assert len(plan_segments(times, ClipSpec(Sampling(2, stride=1)), max_frames=4)) == 1


def test_frames_are_shown_in_a_slide_show_with_long_gaps(tmp_path: Path) -> None:
    gaps = [Fraction(1, 30)] * 30 + [Fraction(60)] * 10 + [Fraction(1, 30)] * 20
    times = [sum(gaps[:index], Fraction(0)) for index in range(len(gaps))]
    path = write_video(tmp_path / "a.mkv", len(times), options=OPEN, times=times, time_base=Fraction(1, 1000))
    read_times, timing = read(path)
    assert timing == "pts"
    assert seconds(read_times) == pytest.approx([float(t) for t in times], abs=1e-3)
