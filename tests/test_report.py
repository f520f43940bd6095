from __future__ import annotations

from dataclasses import replace

import pytest

from vidcnn.config import InferSpec
from vidcnn.errors import TooManyErrorsError
from vidcnn.pipelines.infer import InferReport, SourcePlan
from vidcnn.predictions import BadVideo, Summary
from vidcnn.report import check_error_fraction, infer_json, infer_line, infer_text, plan_text, table_text
from vidcnn.runtime import Runtime

SPEC = InferSpec(source=("videos",), out="preds.parquet")
SUMMARY = Summary(
    num_videos=1200,
    num_clips=34_000,
    num_predictions=33_990,
    num_errors={"unreadable": 2, "corrupt_frames": 10},
    num_bad_videos=3,
    bad_videos=(BadVideo("a.mp4", "unreadable", "the file is empty"),),
)
REPORT = InferReport(SUMMARY, 1200, 1200, 0, 34_000, 75.0, 512.25, {"txt": 2, "": 1}, ("b",), Runtime("bf16", False))


def test_the_summary_says_what_there_is_and_what_is_bad() -> None:
    assert infer_text(SPEC, REPORT).splitlines() == [
        "preds.parquet: 1,200 videos, 33,990 predictions, 12 error rows",
        "this run: 1,200 videos, 34,000 clips in 1 min 15 s (512.2 clips/s)",
        "3 bad videos (rows: 10 corrupt_frames, 2 unreadable)",
        "  a.mp4: the file is empty",
        "  and 2 more: rows where error is not null",
        "no video in b",
        "ignored: 3 files that are not video by their name (2 .txt, 1 without extension)",
    ]


def test_a_run_without_work_says_so() -> None:
    idle = replace(REPORT, num_videos_done=0, num_clips_done=0, clips_per_second=None, runtime=None, ignored={})
    assert infer_text(SPEC, idle).splitlines()[1] == "this run: nothing to do, all of 1,200 videos done"


def test_videos_that_wait_are_counted() -> None:
    spec = SPEC.model_copy(update={"settle": 90})
    some = replace(REPORT, num_videos_waiting=3, ignored={}, empty_sources=())
    assert (
        infer_text(spec, some).splitlines()[2] == "3 videos written within the last 1 min 30 s are left to the next run"
    )
    assert infer_json(spec, some)["run"]["videos_waiting"] == 3
    idle = replace(some, num_videos_done=0, num_clips_done=0, clips_per_second=None)
    assert infer_text(spec, idle).splitlines()[1] == "this run: nothing to do, 1,197 videos done and 3 waiting"


def test_one_line_says_what_there_is_and_what_the_run_did() -> None:
    assert infer_line(SPEC, REPORT) == (
        "preds.parquet: 1,200 videos, 33,990 predictions, 12 error rows; "
        "this run: 1,200 videos, 34,000 clips in 1 min 15 s (512.2 clips/s); 3 bad videos"
    )
    good = replace(
        REPORT, num_videos_waiting=2, summary=replace(SUMMARY, num_errors={}, num_bad_videos=0, bad_videos=())
    )
    assert infer_line(SPEC, good).endswith("(512.2 clips/s); 2 waiting")


def test_the_counts_for_programs_are_those_of_the_table() -> None:
    values = infer_json(SPEC, REPORT)
    assert (values["videos"], values["clips"], values["predictions"], values["bad_videos"]) == (1200, 34_000, 33_990, 3)
    assert values["errors"] == {"unreadable": 2, "corrupt_frames": 10}
    assert values["run"]["clips_per_second"] == 512.25


def test_the_share_of_bad_videos_is_held_against_the_limit() -> None:
    check_error_fraction(SPEC.model_copy(update={"max_error_fraction": 0.0025}), REPORT)
    with pytest.raises(
        TooManyErrorsError, match=r"3 of 1,200 videos are bad, more than --max-error-fraction 0.002 allows"
    ):
        check_error_fraction(SPEC.model_copy(update={"max_error_fraction": 0.002}), REPORT)


def test_a_plan_says_what_would_be_done() -> None:
    plan = SourcePlan(13, 2, 1, 9, 300, 320.0, (("b.mp4", "the file is empty"),), {}, ())
    assert plan_text(SPEC.model_copy(update={"settle": 120}), plan).splitlines() == [
        "9 videos to do, 300 clips, 5 min 20 s of video",
        "2 videos done already",
        "1 video written within the last 2 min is left to the next run",
        "1 bad video, each of which would get an error row",
        "  b.mp4: the file is empty",
    ]


def test_tables_are_set_in_columns() -> None:
    text = table_text(("name", "size"), [("a", "10"), ("long", "7")], right=("size",))
    assert text.splitlines() == ["name  size", "────  ────", "a       10", "long     7"]
