"""From objects to rows, without Ray: what decoding workers and the driver do when there are no local files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.s3 import Server
from tests.videos import number_of, write_video
from vidcnn.choices import Sandbox
from vidcnn.errors import VideoError
from vidcnn.predictions import Output, error_rows, prediction_schema
from vidcnn.sampling.preprocessing import Preprocessing
from vidcnn.sampling.segments import ClipSpec, Sampling
from vidcnn.sources import Listing, SourceVideo
from vidcnn.storage.uris import open_filesystem
from vidcnn.video.attempts import decode_in_cell, plan_in_cell
from vidcnn.video.batching import DecodeSettings, decode_unit
from vidcnn.video.cell import Cell
from vidcnn.video.planning import PlannedSegment, PlanSettings, plan_video, video_key

PLAN = PlanSettings(ClipSpec(Sampling(4, stride=1)), image_fps=25, max_pixels=1 << 20)
WHOLE = Preprocessing((64, 64), (64, 64), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def told(video: SourceVideo, planned: list[PlannedSegment], sandbox: Sandbox) -> list[tuple[str, str | None, str]]:
    """Return the class, kind and words of what is wrong when a video is planned, and its clips are decoded."""
    settings = DecodeSettings(WHOLE, exact=False, batch_size=3, max_pixels=1 << 20, sandbox=sandbox)
    with Cell() as cell:
        ((_, plan),) = plan_in_cell([video], replace(PLAN, sandbox=sandbox), cell, sleep=lambda _: None)
        assert not isinstance(plan, tuple)
        batches = [batch for batch, _ in decode_in_cell(planned, settings, cell, sleep=lambda _: None)]
        assert cell.strength is not None
        assert cell.strength.is_closed == (sandbox == "auto")
    errors = [plan, *(error for batch in batches for _, error in batch.failures)]
    assert not any(batch.clips for batch in batches)
    return [(type(error).__name__, getattr(error, "kind", None), str(error)) for error in errors]


def test_frames_of_an_object_are_exact(s3: Server, tmp_path: Path) -> None:
    s3.put("videos/a.mp4", body=write_video(tmp_path / "a.mp4", 30).read_bytes())
    (video,) = Listing([f"s3://bkt/videos/{s3.query}"])
    assert video.name == "s3://bkt/videos/a.mp4"
    settings = DecodeSettings(WHOLE, exact=False, batch_size=3, max_pixels=1 << 20)
    batches = list(decode_unit(plan_video(video, PLAN), settings))
    assert [len(batch.clips) for batch in batches] == [3, 3, 2]
    shown = [number_of(frame) for batch in batches for clip in batch.pixels for frame in clip]
    assert shown == [*range(30), 29, 29]


def test_an_object_that_is_replaced_while_it_is_read_is_told(s3: Server, tmp_path: Path) -> None:
    s3.put("a.mp4", body=write_video(tmp_path / "a.mp4", 8).read_bytes())
    (video,) = Listing([f"s3://bkt/a.mp4{s3.query}"])
    filesystem, path = open_filesystem(video.location)
    with filesystem.open_output_stream(path) as stream:
        stream.write(write_video(tmp_path / "b.mp4", 12).read_bytes())
    with pytest.raises(VideoError, match="changed since it was listed"):
        plan_video(video, PLAN)


@pytest.mark.parametrize(
    ("fault", "name", "kind", "words"),
    [
        ("deleted", "VideoError", "changed", "the file does not exist"),
        ("replaced", "VideoError", "changed", "the file changed since it was listed"),
        ("empty", "VideoError", "unreadable", "the file is empty"),
        ("noise", "VideoError", "unreadable", "Invalid data found"),
        ("forbidden", "StorageError", None, "it cannot be read: "),
    ],
)
def test_what_is_wrong_with_an_object_is_told_in_the_same_words_inside_the_cell_and_outside(
    s3: Server, tmp_path: Path, fault: str, name: str, kind: str | None, words: str
) -> None:
    sound = write_video(tmp_path / "a.mp4", 8).read_bytes()
    body = {"empty": b"", "noise": b"noise" * 200}.get(fault, sound)
    s3.put("a.mp4", body=body)
    (video,) = Listing([f"s3://bkt/a.mp4{s3.query}"])
    planned = list(plan_video(video, PLAN)) if body is sound else []
    filesystem, path = open_filesystem(video.location)
    if fault == "deleted":
        filesystem.delete_file(path)
    elif fault == "replaced":
        with filesystem.open_output_stream(path) as sink:
            sink.write(sound + b"more")
    elif fault == "forbidden":
        s3.request("POST", "moto-api/reset-auth", b"0")  # from now on it looks at who asks
    try:
        confined, free = (told(video, planned, "auto"), told(video, planned, "off"))
    finally:
        s3.request("POST", "moto-api/reset-auth", b"inf")
    assert confined == free
    assert len(confined) == 1 + sum(segment.segment.num_clips for segment in planned)
    assert {(found, its_kind) for found, its_kind, _ in confined} == {(name, kind)}
    assert all(words in message for _, _, message in confined)


def test_rows_are_published_as_one_object(s3: Server, tmp_path: Path) -> None:
    s3.put("a.mp4", body=write_video(tmp_path / "a.mp4", 8).read_bytes())
    (video,) = Listing([f"s3://bkt/a.mp4{s3.query}"])
    schema = prediction_schema(num_classes_for_probabilities=None, embedding_size=None)
    with Output.open(f"s3://bkt/preds.parquet{s3.query}", schema=schema, settings={"model": "none"}) as output:
        for segment in plan_video(video, PLAN):
            part = segment.segment
            rows = error_rows(
                schema,
                video.name,
                kind="timeout",
                message="slow",
                clips=np.arange(part.num_clips),
                start_seconds=part.start_seconds,
                end_seconds=part.end_seconds,
            )
            assert output.add(segment.key, rows)
        output.publish()
        assert output.is_done(video_key(video))
    filesystem, path = open_filesystem(f"s3://bkt/preds.parquet{s3.query}")
    table = pq.read_table(path, filesystem=filesystem)
    assert table["clip"].to_pylist() == [0, 1]
    assert np.allclose(table["end_seconds"].to_numpy(), [4 / 30, 8 / 30])
