from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.predictions import cases
from tests.predictions.cases import open_output, segment, video, write
from vidcnn.errors import OutputBusyError, SettingsDifferError
from vidcnn.predictions.local_output import LocalFiles, LocalStorage
from vidcnn.predictions.output import Output
from vidcnn.predictions.output_storage import check_free, look_at, open_storage


@pytest.mark.parametrize("name", ["preds", "preds.parquet", "new/folders/preds.parquet"])
def test_looking_at_an_output_changes_nothing(tmp_path: Path, name: str) -> None:
    out = tmp_path / name
    storage = look_at(str(out))
    assert not storage.has_final()
    assert storage.list_parts() == []
    storage.close()
    assert list(tmp_path.iterdir()) == []
    write(out, [segment("a")])
    write(out, [segment("b")], publish=False)
    hidden = out.with_name(f".{out.name}.vidcnn")
    hidden.mkdir(exist_ok=True)
    (hidden / "tmp-half").touch()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    with Output.in_storage(look_at(str(out)), schema=cases.SCHEMA, settings=cases.SETTINGS) as output:
        assert output.is_done(video("a"))
        assert output.is_done(video("b"))
        assert output.summary().num_videos == 2
    with pytest.raises(SettingsDifferError):
        Output.in_storage(look_at(str(out)), schema=cases.SCHEMA, settings={})
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    with open_output(out), pytest.raises(OutputBusyError, match=f"held by another run .process {os.getpid()}"):
        look_at(str(out))


def test_closing_twice_gives_back_no_lock_of_another(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path / "preds"))
    storage.close()
    other = os.open(tmp_path, os.O_RDONLY)  # most likely the number of the lock's descriptor
    storage.close()
    os.close(other)


def test_an_output_that_another_run_holds_is_refused_without_taking_hold_of_it(tmp_path: Path) -> None:
    out = str(tmp_path / "preds")
    check_free(out)
    assert list(tmp_path.iterdir()) == []
    storage = open_storage(out)
    with pytest.raises(OutputBusyError):
        check_free(out)
    storage.close()
    check_free(out)


def test_where_an_output_lies_decides_how_its_files_are_kept(tmp_path: Path) -> None:
    assert isinstance(look_at(str(tmp_path / "preds")), LocalFiles)
    storage = open_storage(f"file://{tmp_path}/preds")
    assert isinstance(storage, LocalStorage)
    storage.close()
