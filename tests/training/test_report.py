from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from vidcnn.annotations import LabelledVideo
from vidcnn.config import TrainSpec
from vidcnn.errors import BundleError
from vidcnn.sandbox.confinement import Strength
from vidcnn.training.report import (
    evaluate_json,
    evaluate_line,
    evaluate_text,
    train_json,
    train_line,
    train_text,
    write_json,
)
from vidcnn.training.state import RunState
from vidcnn.training.validation import Validation, summarise_scores

LABELS = ("walk", "run", "fall")


def reached() -> Validation:
    samples = tuple(LabelledVideo(None, (label,)) for label in (0, 0, 1, 2))  # type: ignore[arg-type]
    scores = np.eye(3, dtype=np.float32)[[0, 0, 1, 1]]
    return summarise_scores([np.array([0, 0, 2, 3])], [scores], samples, LABELS, multi_label=False)


def evaluation(**values: Any) -> Any:
    given = {
        "model": "run/bundle",
        "split": "val",
        "reached": reached(),
        "num_clips": 10,
        "num_crops": 1,
        "device": "cpu",
        "precision": "fp32",
        "batch_size": 8,
        "bad_videos": (("c.mp4", "no video"),),
        "notices": ("columns that are not used: n",),
        "seconds": 2.0,
        "short_clips": "repeat_last",
        "num_short_clips": 0,
        "confinement": {},
    }
    return SimpleNamespace(**(given | values))


def test_an_evaluation_is_told_by_figure_and_class_with_what_it_rests_on() -> None:
    lines = [line.split() for line in evaluate_text(evaluation()).splitlines() if line]
    assert lines[0] == ["run/bundle", "on", "3", "videos", "(val),", "10", "clips", "x", "1", "crop", "of", "each"]
    assert ["top-1", "66.7%", "75.0%"] in lines
    assert ["walk", "1", "100.0%", "100.0%"] in lines
    assert ["fall", "1", "0.0%", "0.0%"] in lines
    assert not any("top-5" in line for line in lines)
    assert ["1", "video", "could", "not", "be", "scored,", "and", "are", "in", "no", "figure"] in lines
    assert ["c.mp4:", "no", "video"] in lines


def test_of_many_bad_videos_and_classes_some_are_shown_and_the_rest_counted() -> None:
    bad = tuple((f"{number}.mp4", "bad") for number in range(8))
    assert "  and 3 more" in evaluate_text(evaluation(bad_videos=bad)).splitlines()
    labels = tuple(f"class{number}" for number in range(25))
    samples = tuple(LabelledVideo(None, (number,)) for number in range(25))  # type: ignore[arg-type]
    scores = np.eye(25, dtype=np.float32)
    scores[7] = scores[8]
    many = summarise_scores([np.arange(25)], [scores], samples, labels, multi_label=False)
    text = evaluate_text(evaluation(reached=many, bad_videos=()))
    assert "and 5 more classes of higher recall" in text
    assert "class7 " in text


def test_an_evaluation_as_json_has_all_figures(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    write_json(str(path), evaluation())
    found = json.loads(path.read_text())
    assert found == json.loads(json.dumps(evaluate_json(evaluation())))
    assert found["top1"] == pytest.approx(2 / 3)
    assert found["videos"]["confusion"] == [[1, 0, 0], [0, 1, 0], [0, 1, 0]]
    assert found["bad_videos"] == [{"video": "c.mp4", "error": "no video"}]


def training(**values: Any) -> Any:
    annotations = SimpleNamespace(notices=("columns that are not used: n",))
    plan = SimpleNamespace(
        recipe=SimpleNamespace(num_steps=40, precision="fp32", compile=False),
        steps_per_epoch=10.0,
        annotations=annotations,
        spec=TrainSpec(),
    )
    given = {
        "plan": plan,
        "directory": "run",
        "bundle": "run/bundle",
        "best_step": 25,
        "validation": {"top1": 0.5, "num_videos": 4},
        "num_steps_done": 40,
        "seconds": 90.0,
        "state": RunState(40, 80.0, 0, waiting=0.25, num_bad=2),
        "failure": None,
        "confinement": {},
    }
    return SimpleNamespace(**(given | values))


def test_a_training_run_is_told_with_what_it_reached_and_where_it_is() -> None:
    assert train_text(training()).splitlines() == [
        "trained 40 steps in 1 min 30 s, 25% of it waiting for clips",
        "2 samples could not be decoded (see bad_samples in metrics.jsonl)",
        "best after epoch 2.5: top-1 50.0% (validation, over videos)",
        "bundle: run/bundle",
        "curves: tensorboard --logdir run/tensorboard",
    ]
    done = training(num_steps_done=0, state=None, validation={})
    assert train_text(done).splitlines()[:2] == ["nothing to do: all 40 steps are done", "bundle: run/bundle"]
    found = train_json(training())
    assert (found["steps"], found["steps_done"], found["best_step"], found["bad_samples"]) == (40, 40, 25, 2)
    assert json.loads(json.dumps(found)) == found
    assert found["notices"] == evaluate_json(evaluation())["notices"] == ["columns that are not used: n"]
    assert (train_json(done)["waiting"], train_json(done)["bad_samples"]) == (None, 0)


def test_decoders_that_are_not_fully_confined_are_told() -> None:
    line = "confinement of decoding processes on b: not confined"
    confinement = {"a": Strength(True, 7, 2**32, True), "b": Strength()}
    for text, values in (
        (train_text(training(confinement=confinement)), train_json(training(confinement=confinement))),
        (evaluate_text(evaluation(confinement=confinement)), evaluate_json(evaluation(confinement=confinement))),
    ):
        assert [told for told in text.splitlines() if told.startswith("confinement")] == [line]
        assert {machine: found["landlock"] for machine, found in values["confinement"].items()} == {"a": 7, "b": 0}
    assert "confinement" not in train_text(training()) + evaluate_text(evaluation())


def test_clips_that_are_longer_than_their_videos_are_named() -> None:
    state = RunState(40, 80.0, 0, num_good=160, num_short=12)
    line = (
        "12 of 160 clips are longer than their videos: the last frame is repeated; --short-clips drop leaves them out"
    )
    assert f"{line}, --num-frames and --stride make clips shorter" in train_text(training(state=state)).splitlines()
    assert train_json(training(state=state))["short_samples"] == 12
    found = evaluation(num_short_clips=2, short_clips="loop")
    line = "2 of 4 clips are longer than their videos: the video starts over; --short-clips drop leaves them out"
    assert line in evaluate_text(found).splitlines()
    assert evaluate_json(found)["short_clips"] == 2
    assert "longer" not in train_text(training()) + evaluate_text(evaluation())


def test_a_training_run_whose_bundle_cannot_be_written_tells_what_it_reached() -> None:
    failed = training(failure=BundleError("cannot write", "make room"))
    lines = train_text(failed).splitlines()
    assert "best after epoch 2.5: top-1 50.0% (validation, over videos)" in lines
    assert "no bundle is written" in lines
    assert train_json(failed)["bundle"] is None
    assert train_line(failed).startswith("run: trained 40 steps")


def test_one_line_says_what_was_trained_or_measured() -> None:
    line = "run/bundle: trained 40 steps in 1 min 30 s, 25% of it waiting for clips; top-1 50.0%"
    assert train_line(training()) == line
    idle = training(num_steps_done=0, state=None, validation={})
    assert train_line(idle) == "run/bundle: nothing to do: all 40 steps are done"
    line = "run/bundle on 3 videos (val); top-1 66.7%; mean class accuracy 66.7%"
    assert evaluate_line(evaluation()) == f"{line}; 1 video could not be scored"
    assert evaluate_line(evaluation(bad_videos=())) == line
