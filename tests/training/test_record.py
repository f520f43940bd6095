from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vidcnn.config import TrainSpec
from vidcnn.errors import OutputError, SettingsDifferError
from vidcnn.training.record import check_record, find_differences

EFFECTS = {"sampling": {"num_frames": 16, "fps": 15.0}, "preprocessing": {"crop": [112, 112]}}


def record(**values: Any) -> dict[str, Any]:
    fingerprints = {"data_sha256": "d1", "weights_sha256": "w1"}
    return {**TrainSpec().model_dump(), **EFFECTS, **fingerprints, **values}


def test_a_run_goes_on_with_its_own_settings_and_names_what_else_was_asked_for(tmp_path: Path) -> None:
    check_record(tmp_path, record(), has_begun=False)
    check_record(tmp_path, record(), has_begun=True)
    other = record(lr=0.1, clip_norm=1.0, batch_norm=True, data_sha256="d2", weights_sha256="w2")
    with pytest.raises(SettingsDifferError) as caught:
        check_record(tmp_path, other, has_begun=True)
    assert caught.value.message == (
        f"'{tmp_path}' was begun with other settings: --batch-norm was off, now on; "
        "--clip-norm was not given, now 1.0; the videos, their labels or their splits are not the same; "
        "--lr was 0.0003, now 0.1; "
        "the weights that training begins with (--model, --weights, --seed) are not the same"
    )


def test_a_run_without_a_checkpoint_takes_other_settings(tmp_path: Path) -> None:
    check_record(tmp_path, record(lr=9.0), has_begun=False)
    check_record(tmp_path, record(lr=0.1), has_begun=False)
    assert json.loads((tmp_path / "run.json").read_text())["settings"]["lr"] == 0.1
    check_record(tmp_path, record(lr=0.1), has_begun=True)


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ({"fps": None}, {"fps": 15.0}),
        ({"crop": "112"}, {"crop": "112x112"}),
        ({"stride": None, "num_frames": 16}, {"stride": 4, "num_frames": None}),
        ({"epochs": 20}, {"epochs": 20.0}),
        ({"milestones": "10,20"}, {"milestones": "10, 20.0"}),
        ({"freeze": "stem,layer1"}, {"freeze": "layer1, stem"}),
        ({"crop_scale": "0.5:1"}, {"crop_scale": "0.50:1.0"}),
    ],
)
def test_settings_are_the_same_if_their_effect_is(before: dict[str, Any], now: dict[str, Any]) -> None:
    assert find_differences(record(**before), record(**now)) == []


def test_another_effect_is_told_in_words() -> None:
    before, now = record(), record(fps=30.0, sampling={"num_frames": 16, "fps": 30.0})
    assert find_differences(before, now) == [
        "the frames of a clip (--num-frames, --stride, --fps) are not taken in the same way"
    ]


def test_a_run_is_the_same_under_the_former_names_of_its_settings() -> None:
    earlier = record(input_mode="both", accumulation_steps=2)
    earlier |= {"sees": earlier.pop("input_mode"), "chunks": earlier.pop("accumulation_steps")}
    assert find_differences(earlier, record(input_mode="both", accumulation_steps=2)) == []
    assert find_differences(earlier, record(input_mode="both")) == ["--accumulation-steps was 2, now 1"]


def test_a_run_of_an_earlier_version_is_compared_by_what_it_recorded() -> None:
    old = {name: value for name, value in record().items() if name not in (*EFFECTS, "downsample")}
    assert find_differences(old, record()) == []
    assert find_differences({**old, "fps": 5.0}, record()) == ["--fps was 5.0, now not given"]


def test_a_directory_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(OutputError, match=r"contains thesis.tex and is not a training run"):
        check_record(tmp_path, record(), has_begun=False)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(OutputError, match=r"run.json cannot be read"):
        check_record(tmp_path, record(), has_begun=False)


@pytest.mark.parametrize("changes", [{"fps": 15}, {"lr": 3e-4}, {"flip": TrainSpec().flip}])
def test_numbers_are_what_they_are_worth(changes: dict[str, Any]) -> None:
    assert find_differences(record(fps=15.0), record(**({"fps": 15.0} | changes))) == []


def test_what_a_link_leads_to_is_not_written_over(tmp_path: Path) -> None:
    run, precious = tmp_path / "run", tmp_path / "precious"
    run.mkdir()
    precious.write_text("precious")
    (run / ".run.json.part").symlink_to(precious)
    check_record(run, record(), has_begun=False)
    assert precious.read_text() == "precious"
    assert json.loads((run / "run.json").read_text())["settings"] == json.loads(json.dumps(record()))
