from __future__ import annotations

import json
from pathlib import Path

import pytest

from vidcnn.errors import OutputError, SettingsDifferError
from vidcnn.training.record import check_record

RECORD = {"lr": 0.1, "crop": (32, 32), "data_sha256": "ab"}


def test_a_new_run_notes_its_settings_and_goes_on_with_the_same(tmp_path: Path) -> None:
    (tmp_path / "lock").touch()
    check_record(tmp_path, RECORD)
    assert json.loads((tmp_path / "run.json").read_text())["settings"]["crop"] == [32, 32]
    check_record(tmp_path, RECORD)


def test_another_value_is_named_with_what_it_was(tmp_path: Path) -> None:
    check_record(tmp_path, RECORD)
    with pytest.raises(SettingsDifferError, match=r"begun with other settings: lr was 0\.1, now 0\.2"):
        check_record(tmp_path, RECORD | {"lr": 0.2})


def test_other_videos_are_told_in_words(tmp_path: Path) -> None:
    check_record(tmp_path, RECORD)
    with pytest.raises(SettingsDifferError, match="the videos or their labels are not those that"):
        check_record(tmp_path, RECORD | {"data_sha256": "cd"})


def test_a_setting_that_did_not_exist_then_had_its_default(tmp_path: Path) -> None:
    check_record(tmp_path, RECORD)
    check_record(tmp_path, RECORD | {"mixup": 0.0})
    with pytest.raises(SettingsDifferError, match=r"mixup was 0\.0, now 0\.4"):
        check_record(tmp_path, RECORD | {"mixup": 0.4})


def test_a_directory_of_something_else_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(OutputError, match=r"holds thesis\.tex and is not a training run"):
        check_record(tmp_path, RECORD)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("content", ["", "{}", "[1"])
def test_a_damaged_record_is_an_error_not_a_new_run(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(OutputError, match=r"run\.json cannot be read"):
        check_record(tmp_path, RECORD)
    assert (tmp_path / "run.json").read_text() == content
