from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from tests.video.decoding import in_order
from tests.videos import number_of, numbered_frame
from vidcnn.errors import VideoError
from vidcnn.sampling.segments import ClipSpec, Sampling, plan_segments
from vidcnn.sources import SourceVideo
from vidcnn.video.container import MAX_PIXELS
from vidcnn.video.decode import DecodedClip, DecodeRequest, decode_segment
from vidcnn.video.frame_folders import decode_image, folder_frames, folder_times
from vidcnn.video.planning import read_times


def write_image(path: Path, number: int, size: tuple[int, int] = (64, 64)) -> None:
    codec, form = {".png": ("png", "gray"), ".jpg": ("mjpeg", "yuvj420p"), ".bmp": ("bmp", "bgr24")}[path.suffix]
    with av.open(str(path), "w", format="image2", options={"update": "1"}) as output:
        stream = output.add_stream(codec, rate=1)
        stream.height, stream.width = size
        stream.pix_fmt = form
        frame = av.VideoFrame.from_ndarray(numbered_frame(number, size), format="gray").reformat(format=form)
        frame.pts = 0
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))


def write_folder(folder: Path, num_frames: int, extension: str = ".png") -> Path:
    folder.mkdir()
    for index in range(num_frames):
        write_image(folder / f"frame_{index + 1:05}{extension}", index)
    return folder


def decode(folder: Path, spec: ClipSpec, *, num_frames: int, fps: float = 10) -> list[DecodedClip]:
    (segment,) = plan_segments(folder_times(num_frames, fps), spec)
    request = DecodeRequest(str(folder), segment, is_frame_folder=True)
    return in_order(list(decode_segment(request)), segment)


def numbers(clips: list[DecodedClip]) -> list[list[int]]:
    return [[number_of(frame) for frame in clip.pixels] if clip.pixels is not None else [] for clip in clips]


@pytest.mark.parametrize("extension", [".png", ".jpg", ".bmp"])
def test_images_are_frames_in_the_order_of_their_numbers(extension: str, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "a", 12, extension)
    assert numbers(decode(folder, ClipSpec(Sampling(4, stride=2)), num_frames=12)) == [[0, 2, 4, 6], [8, 10, 10, 10]]
    assert numbers(decode(folder, ClipSpec(Sampling(4, fps=5)), num_frames=12)) == [[0, 2, 4, 6], [8, 10, 10, 10]]


def test_times_are_even() -> None:
    times = folder_times(5, 12.5)
    assert [float(t * times.time_base) for t in times.pts.tolist()] == [0, 0.08, 0.16, 0.24, 0.32]
    assert float(times.end * times.time_base) == pytest.approx(0.4)
    assert np.array_equal(times.keyframes, times.pts)


def test_a_broken_image_costs_its_clips_and_is_named(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "a", 6)
    (folder / "frame_00003.png").write_bytes(b"not an image")
    clips = decode(folder, ClipSpec(Sampling(2, stride=1)), num_frames=6)
    assert numbers(clips) == [[0, 1], [], [4, 5]]
    error = clips[1].error
    assert error is not None
    assert error.kind == "corrupt_frames"
    assert str(error).startswith("frame 2 (frame_00003.png): ")


@pytest.mark.parametrize("index", [0, 2])
@pytest.mark.parametrize("extension", [".jpg", ".png"])
def test_an_image_that_breaks_off_does_not_pass_for_whole(index: int, extension: str, tmp_path: Path) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    for number in range(6):
        write_image(folder / f"frame_{number + 1:05}{extension}", number, (256, 256))
    image = folder / f"frame_{index + 1:05}{extension}"
    image.write_bytes(image.read_bytes()[: int(image.stat().st_size * 0.7)])
    clips = decode(folder, ClipSpec(Sampling(2, stride=1)), num_frames=6)
    assert [clip.error.kind if clip.error else None for clip in clips] == [
        "corrupt_frames" if place == index // 2 else None for place in range(3)
    ]
    video = SourceVideo("a", str(folder), True, 1, 1, None, None)
    times, _ = read_times(video, image_fps=10.0, max_pixels=MAX_PIXELS)  # one image is no reason to give up the others
    assert times.num_frames == 6


def test_images_that_are_gone_cost_their_clips(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "a", 4)
    (folder / "frame_00004.png").unlink()
    clips = decode(folder, ClipSpec(Sampling(2, stride=1)), num_frames=4)
    assert [clip.error and clip.error.kind for clip in clips] == [None, "changed"]


def test_images_of_different_sizes_make_no_clip(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "a", 3)
    write_image(folder / "frame_00004.png", 3, (32, 32))
    (clip,) = decode(folder, ClipSpec(Sampling(4, stride=1)), num_frames=4)
    assert clip.error is not None
    assert (clip.error.kind, str(clip.error)) == ("corrupt_frames", "the size of its frames changes within a clip")


def test_a_folder_that_is_gone_or_no_longer_one_sequence_is_unreadable(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "a", 3)
    assert [Path(frame).name for frame in folder_frames(str(folder))] == [f"frame_{n:05}.png" for n in (1, 2, 3)]
    write_image(folder / "other.png", 9)
    with pytest.raises(VideoError, match="does not contain one sequence of numbered images"):
        folder_frames(str(folder))
    with pytest.raises(VideoError, match="does not exist") as info:
        folder_frames(str(tmp_path / "gone"))
    assert info.value.kind == "changed"


def test_an_image_above_the_limit_is_not_decoded(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", 0)
    assert decode_image(str(tmp_path / "a.png"), max_pixels=MAX_PIXELS).width == 64
    with pytest.raises(VideoError, match="exceeds specified max pixel count 100"):
        decode_image(str(tmp_path / "a.png"), max_pixels=100)
