from __future__ import annotations

from dataclasses import replace

import pytest

from vidcnn.config import InferSpec
from vidcnn.errors import StorageError, TooManyErrorsError
from vidcnn.inference.runtime import Runtime
from vidcnn.predictions import BadVideo, Summary
from vidcnn.reporting.bottleneck import Bottleneck
from vidcnn.reporting.estimating import Range
from vidcnn.reporting.results import Estimate, InferReport, SourcePlan
from vidcnn.reporting.summaries import (
    check_outcome,
    estimate_json,
    estimate_text,
    infer_json,
    infer_line,
    infer_text,
    plan_json,
    plan_text,
    rounded,
    short_clips_lines,
    table_text,
)
from vidcnn.sandbox.confinement import Strength

SPEC = InferSpec(source=("videos",), out="preds.parquet")
SUMMARY = Summary(
    num_videos=1200,
    num_clips=34_000,
    num_predictions=33_990,
    num_errors={"unreadable": 2, "corrupt_frames": 10},
    num_bad_videos=3,
    bad_videos=(BadVideo("a.mp4", "unreadable", "the file is empty"),),
)
REPORT = InferReport(
    SUMMARY,
    1200,
    1200,
    0,
    (),
    34_000,
    75.0,
    512.25,
    {"txt": 2, "": 1},
    ("b",),
    {"l.csv": ("start", "end")},
    Runtime("bf16", False),
)


def test_decoders_that_are_not_fully_confined_are_told() -> None:
    line = "confinement of decoding processes on a: not confined"
    weak = replace(REPORT, confinement={"a": Strength()})
    assert line in infer_text(SPEC, weak).splitlines()
    assert infer_json(SPEC, weak)["run"]["confinement"]["a"]["landlock"] == 0
    plan = SourcePlan(1, 0, 0, 1, 10, 0, 40.0, (), {}, (), {}, {"a": Strength()})
    estimate = replace(ESTIMATE, confinement={"a": Strength()})
    assert line in plan_text(SPEC, plan).splitlines()
    assert line in estimate_text(SPEC, estimate).splitlines()
    assert plan_json(plan)["confinement"] == estimate_json(estimate)["confinement"] == {"a": Strength()._asdict()}


def test_the_summary_says_what_there_is_and_what_is_bad() -> None:
    assert infer_text(SPEC, REPORT).splitlines() == [
        "preds.parquet: 1,200 videos, 33,990 predictions, 12 error rows",
        "this run: 1,200 videos, 34,000 clips in 1 min 15 s (512.2 clips/s after the start)",
        "3 bad videos (rows: 10 corrupt_frames, 2 unreadable)",
        "  a.mp4: the file is empty",
        "  and 2 more: rows where error is not null",
        "no video in b",
        "columns of l.csv that are not used: start, end",
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


def test_videos_that_could_not_be_read_are_counted_and_end_with_an_error() -> None:
    reason = "it cannot be read: input/output error"
    undone = tuple((f"{number}.mp4", reason) for number in range(7))
    some = replace(REPORT, undone=undone, ignored={}, empty_sources=())
    lines = infer_text(SPEC, some).splitlines()
    assert lines[2:5] == [
        "7 videos could not be read now, left to the next run:",
        f"  0.mp4: {reason}",
        f"  1.mp4: {reason}",
    ]
    assert lines[8] == "  and 2 more"
    assert infer_json(SPEC, some)["run"]["videos_undone"] == 7
    assert infer_line(SPEC, some).endswith("; 7 undone; 3 bad videos")
    with pytest.raises(StorageError, match=r"0\.mp4 and 6 more could not be read through no fault of the file") as info:
        check_outcome(SPEC, some)
    assert info.value.exit_code == 1
    none = replace(some, num_videos_done=0, num_clips_done=0, clips_per_second=None)
    assert infer_text(SPEC, none).splitlines()[1] == "this run: no video done"


def test_one_line_says_what_there_is_and_what_the_run_did() -> None:
    assert infer_line(SPEC, REPORT) == (
        "preds.parquet: 1,200 videos, 33,990 predictions, 12 error rows; "
        "this run: 1,200 videos, 34,000 clips in 1 min 15 s (512.2 clips/s after the start); 3 bad videos"
    )
    good = replace(
        REPORT, num_videos_waiting=2, summary=replace(SUMMARY, num_errors={}, num_bad_videos=0, bad_videos=())
    )
    assert infer_line(SPEC, good).endswith("(512.2 clips/s after the start); 2 waiting")


def test_the_counts_for_programs_are_those_of_the_table() -> None:
    values = infer_json(SPEC, REPORT)
    assert (values["videos"], values["clips"], values["predictions"], values["bad_videos"]) == (1200, 34_000, 33_990, 3)
    assert values["errors"] == {"unreadable": 2, "corrupt_frames": 10}
    assert values["run"]["clips_per_second"] == 512.25


def test_the_share_of_bad_videos_is_held_against_the_limit() -> None:
    check_outcome(SPEC.model_copy(update={"max_error_fraction": 0.0025}), REPORT)
    with pytest.raises(
        TooManyErrorsError, match=r"3 of 1,200 videos are bad, more than --max-error-fraction 0.002 allows"
    ):
        check_outcome(SPEC.model_copy(update={"max_error_fraction": 0.002}), REPORT)


def test_a_plan_says_what_would_be_done() -> None:
    plan = SourcePlan(13, 2, 1, 9, 300, 0, 320.0, (("b.mp4", "the file is empty"),), {}, (), {})
    assert plan_text(SPEC.model_copy(update={"settle": 120}), plan).splitlines() == [
        "9 videos to do, 300 clips, 5 min 20 s of video",
        "2 videos done already",
        "1 video written within the last 2 min is left to the next run",
        "1 bad video, each of which would get an error row",
        "  b.mp4: the file is empty",
    ]


def test_the_summary_says_what_limited_the_run() -> None:
    report = replace(REPORT, bottleneck=Bottleneck("decode", "decode-bound: GPUs idle 63%; ...", 0.63, 0.0251, 14))
    assert infer_text(SPEC, report).splitlines()[2] == "decode-bound: GPUs idle 63%; ..."
    bottleneck = infer_json(SPEC, report)["run"]["limits"]
    assert (bottleneck["kind"], bottleneck["model_idle"], bottleneck["decoders_idle"], bottleneck["more_cpus"]) == (
        "decode",
        0.63,
        0.025,
        14,
    )
    assert infer_json(SPEC, REPORT)["run"]["limits"] is None


ESTIMATE = Estimate(
    num_videos=1200,
    num_videos_done=300,
    num_sampled=64,
    num_bad=3,
    num_clips_sampled=512,
    clips=Range(314_159, 341_592, 365_432),
    seconds=Range(16_800, 18_720, 21_600),
    num_machines=2,
    clips_per_second=18.22,
    bottleneck=Bottleneck("model", "model-bound: ...", 0.03, 0.8),
)


def test_an_estimate_says_how_much_and_how_sure() -> None:
    assert estimate_text(SPEC, ESTIMATE).splitlines() == [
        "1,200 videos to do (300 done already): about 340,000 clips (310,000 to 370,000)",
        "about 5 h 12 min on 2 machines (18.2 clips/s); between 4 h 40 min and 6 h",
        "10.4 machine-hours",
        "model-bound: ...",
        "from 64 videos, 3 bad videos among them; 512 clips classified",
    ]
    values = estimate_json(ESTIMATE)
    assert values["hours"] == {"low": 4.6667, "best": 5.2, "high": 6.0}
    assert values["machine_hours"]["best"] == 10.4
    assert values["clips"] == {"low": 314_159, "best": 341_592, "high": 365_432}


def test_an_exact_estimate_is_not_rounded() -> None:
    exact = replace(ESTIMATE, num_videos_done=0, num_machines=1, clips=Range(1234.0, 1234.0, 1234.0), num_bad=0)
    exact = replace(exact, seconds=Range(61.0, 61.0, 61.0))
    assert estimate_text(SPEC, exact).splitlines() == [
        "1,200 videos to do: 1,234 clips",
        "about 1 min 1 s on 1 machine (18.2 clips/s)",
        "model-bound: ...",
        "from 64 videos; 512 clips classified",
    ]


@pytest.mark.parametrize(
    ("number", "text"), [(0.4, "0"), (7, "7"), (99.6, "100"), (1234, "1,200"), (365_432, "370,000")]
)
def test_estimates_are_rounded_to_two_digits(number: float, text: str) -> None:
    assert rounded(number) == text


def test_tables_are_set_in_columns() -> None:
    text = table_text(("name", "size"), [("a", "10"), ("long", "7")], right=("size",))
    assert text.splitlines() == ["name  size", "────  ────", "a       10", "long     7"]


def test_clips_longer_than_their_videos_are_counted_with_what_becomes_of_them() -> None:
    some = replace(REPORT, num_short_clips=1_200, ignored={}, empty_sources=())
    advice = "--short-clips drop leaves them out, --num-frames and --stride make clips shorter"
    line = f"1,200 of 34,000 clips are longer than their videos: the last frame is repeated; {advice}"
    assert infer_text(SPEC, some).splitlines()[2] == line
    assert infer_json(SPEC, some)["run"]["short_clips"] == 1_200
    assert "longer" not in infer_line(SPEC, some)
    assert "34,000 clips longer than the video" in infer_line(SPEC, replace(some, num_short_clips=34_000))
    looping = SPEC.model_copy(update={"short_clips": "loop"})
    plan = SourcePlan(1, 0, 0, 1, 1, 1, 0.5, (), {}, (), {})
    assert plan_text(looping, plan).splitlines()[1].startswith("1 of 1 clip is longer than its video: the video starts")
    assert plan_json(plan)["short_clips"] == 1
    assert short_clips_lines("repeat_last", 0, 10) == []
    some_of_a_sample = replace(ESTIMATE, num_clips_planned=640, num_short_clips=32)
    told = estimate_text(SPEC, some_of_a_sample).splitlines()[-1]
    assert told == f"of the sample, 32 of 640 clips are longer than their videos: the last frame is repeated; {advice}"
    exact = replace(some_of_a_sample, clips=Range(640.0, 640.0, 640.0))
    assert estimate_text(SPEC, exact).splitlines()[-1] == told.removeprefix("of the sample, ")
    assert estimate_json(some_of_a_sample)["sample"]["short_clips"] == 32
