"""Real files against libav's own full decode, and against what their inventory says of them."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tests.video.decoding import ONE_BY_ONE, decode_clips, plan
from tests.videos import decode_all
from vidcnn.errors import VideoError
from vidcnn.sampling.segments import ClipSpec, Sampling
from vidcnn.video.probe import VideoInfo, probe_video

pytestmark = pytest.mark.real

EXOPLAYER = "google+ExoPlayer/testdata/src/test/assets/media"
FILES = [
    "dmlc+decord/examples/flipping_a_pancake.mkv",  # H.264 in Matroska
    "dmlc+decord/tests/test_data/video_270.mov",  # turned
    "dmlc+decord/tests/test_data/unordered.mov",  # four tiny frames
    "facebookarchive+C3D/C3D-v1.0/examples/c3d_feature_extraction/input/avi/v_ApplyEyeMakeup_g01_c01.avi",  # B in AVI
    f"{EXOPLAYER}/mp4/dolbyVision-hdr.MOV",  # an edit list that cuts into a group
    f"{EXOPLAYER}/mp4/sample_partially_fragmented.mp4",
    f"{EXOPLAYER}/mp4/sample_android_slow_motion.mp4",  # variable rate
    f"{EXOPLAYER}/mp4/sample_sef_slow_motion.mp4",
    f"{EXOPLAYER}/ts/sample_h265.ts",
    f"{EXOPLAYER}/ts/sample_h262_mpeg_audio.ps",
    f"{EXOPLAYER}/vp9/roadtrip-vp92-10bit.webm",  # hidden frames in packets of their own
    f"{EXOPLAYER}/vp9/bear-vp9-odd-dimensions.webm",
    f"{EXOPLAYER}/flv/sample-with-key-frame-index.flv",
    "open-mmlab+mmaction2/resources/mmaction2_overview.gif",
    "pytorch+torchcodec/test/resources/av1_video.mkv",
    "pytorch+torchcodec/test/resources/nasa_13013.mp4",  # two video streams
    "RomanArzumanyan+VALI/tests/data/test_mpeg4.mpg",
]


@pytest.mark.parametrize("name", FILES)
def test_frames_are_those_of_libavs_own_full_decode(name: str, real_data: Path) -> None:
    path = real_data / "videos" / name
    expected = decode_all(path)
    specs = [
        (ONE_BY_ONE, {"max_frames": 40}),
        (ClipSpec(Sampling(4, stride=3), step=max(1, len(expected) // 7)), {"max_frames": 1, "max_clips": 1}),
        (ClipSpec(Sampling(8, fps=10)), {"max_frames": 20}),
        (ClipSpec(Sampling(8, stride=4), num_clips=5), {}),
    ]
    for spec, bounds in specs:
        _, segments = plan(path, spec, **bounds)
        planned = np.concatenate([segment.frames for segment in segments])
        clips = decode_clips(path, spec, **bounds)
        assert planned.max() < len(expected)
        for frames, clip in zip(planned, clips, strict=True):
            assert not isinstance(clip, VideoError), clip
            for frame, pixels in zip(frames, clip, strict=True):
                assert np.array_equal(pixels, expected[frame])


def test_every_file_is_probed_as_its_inventory_says(real_data: Path) -> None:
    """Frames that decode, rotation, and which files are no videos or broken."""
    inventory = (real_data / "videos" / "INVENTORY.tsv").read_text().splitlines()
    kinds: Counter[str] = Counter()
    for row in csv.DictReader(inventory, delimiter="\t"):
        path, notes = row["path"], row["notes"]
        found = probe(real_data / "videos" / path)
        is_video = not any(note in notes for note in ("NO-VIDEO", "COVER-ART", "packets=0", "OPEN-ERROR"))
        if "metadata_errors" in notes:
            is_video = True  # it opens where names that are not UTF-8 are taken as they are
        is_encrypted = "subsample_encrypted" in path
        if isinstance(found, VideoError):
            kinds[found.kind] += 1
            assert not is_video or is_encrypted, path
            assert found.kind == ("unreadable" if "OPEN-ERROR" in notes or is_encrypted else "no_video"), path
            continue
        kinds["video"] += 1
        assert is_video, path
        for note in notes.split("; "):
            if note.startswith("ROTATION="):
                assert found.rotation % 360 == int(note.removeprefix("ROTATION=")) % 360, path
            if note.startswith("decoded=") and "capped" not in note and "DECODE-ERROR" not in notes:
                assert found.times.num_frames == int(note.removeprefix("decoded=")), path
        if row["width"]:
            assert (found.width, found.height) == (int(row["width"]), int(row["height"])), path
        if row["duration_s"]:
            assert found.duration_seconds <= float(row["duration_s"]) * 1.3 + 0.2, path
    assert kinds["video"] > 80
    assert kinds["unreadable"] == 4 + 2


def probe(path: Path) -> VideoInfo | VideoError:
    try:
        return probe_video(str(path))
    except VideoError as error:
        return error


@pytest.mark.parametrize(
    ("name", "num_bad"),
    [
        ("dmlc+decord/tests/test_data/corrupted.mp4", 21),
        ("RomanArzumanyan+VALI/tests/data/test_bad_task_info_pynv.mkv", 0),
        (f"{EXOPLAYER}/vp9/invalid-bitstream.webm", 43),
    ],
)
def test_broken_files_give_rows_for_what_they_lack(name: str, num_bad: int, real_data: Path) -> None:
    clips = decode_clips(real_data / "videos" / name)
    assert sum(isinstance(clip, VideoError) for clip in clips) == num_bad
    assert {clip.kind for clip in clips if isinstance(clip, VideoError)} <= {"corrupt_frames"}


def test_a_decoder_that_calls_every_frame_corrupt_is_not_believed(real_data: Path) -> None:
    path = real_data / "videos" / "RomanArzumanyan+VALI/tests/data/test_bad_task_info_ffmpeg.wmv"
    clips = decode_clips(path, ClipSpec(Sampling(4, stride=20)))
    assert not any(isinstance(clip, VideoError) for clip in clips)


@pytest.mark.parametrize(
    ("name", "scheme"),
    [
        ("drm/sample_fragmented_clearkey.mp4", "Common Encryption"),
        ("mkv/subsample_encrypted_altref.webm", "Matroska encryption"),
        ("mkv/subsample_encrypted_noaltref.webm", "Matroska encryption"),
    ],
)
def test_encrypted_files_say_so(name: str, scheme: str, real_data: Path) -> None:
    found = probe(real_data / "videos" / EXOPLAYER / name)
    assert isinstance(found, VideoError)
    assert (found.kind, found.message) == ("unreadable", f"it is encrypted ({scheme}): decrypt it first")


def test_a_picture_with_data_of_an_unknown_kind_is_decoded(real_data: Path) -> None:
    (clip,) = decode_clips(real_data / "videos" / EXOPLAYER / "mp4/sample_still_photo.heic")
    assert not isinstance(clip, VideoError)
