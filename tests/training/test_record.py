from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vidcnn.config import TrainSpec
from vidcnn.errors import OutputError, SettingsDifferError
from vidcnn.training.record import check_record

RECORD: dict[str, Any] = {
    "model": "r3d_18",
    "weights_sha256": "ab" * 32,
    "data_sha256": "cd" * 32,
    "lr": 0.01,
    "fps": 15.0,
    "stride": None,
    "freeze": ["stem", "layer1"],
}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    check_record(tmp_path, RECORD)
    return tmp_path


@pytest.mark.parametrize(
    "changes",
    [
        {"fps": 15},
        {"freeze": ("stem", "layer1")},
        {"lr": 1e-2},
        {"flip": TrainSpec().flip},
        {"not_there_yet": None},
    ],
)
def test_a_run_goes_on_however_its_settings_are_written(run: Path, changes: dict[str, Any]) -> None:
    check_record(run, dict(reversed((RECORD | changes).items())))


def test_a_setting_that_was_recorded_and_is_its_default_need_not_be_given(tmp_path: Path) -> None:
    check_record(tmp_path, RECORD | {"flip": TrainSpec().flip})
    check_record(tmp_path, RECORD)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"fps": None, "stride": 4}, r"begun with other clips: fps 15, now none, stride none, now 4"),
        ({"model": "slow_r50"}, "begun with another model: r3d_18, now slow_r50"),
        ({"weights_sha256": "ef" * 32}, r"other weights of r3d_18: weights \(abababab\.\.\.\), now weights \(efefefef"),
        ({"lr": 0.1}, "begun with other settings: lr 0.01, now 0.1"),
        ({"data_sha256": "ef" * 32}, "the videos or their labels are not those"),
    ],
)
def test_other_settings_are_refused_in_words(run: Path, changes: dict[str, Any], words: str) -> None:
    before = (run / "run.json").read_bytes()
    with pytest.raises(SettingsDifferError, match=words):
        check_record(run, RECORD | changes)
    assert (run / "run.json").read_bytes() == before


def test_what_a_link_leads_to_is_not_written_over(tmp_path: Path) -> None:
    run, precious = tmp_path / "run", tmp_path / "precious"
    run.mkdir()
    precious.write_text("precious")
    (run / ".run.json.part").symlink_to(precious)
    check_record(run, RECORD)
    assert precious.read_text() == "precious"
    assert json.loads((run / "run.json").read_text())["settings"] == RECORD


def test_a_directory_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(OutputError, match=r"holds notes\.txt and is not a training run"):
        check_record(tmp_path, RECORD)
