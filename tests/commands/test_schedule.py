from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.commands.conftest import Call


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "job.yaml").write_text("command: infer\nsource: [videos]\nout: preds\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_what_goes_into_the_crontab_is_on_stdout_and_what_to_do_with_it_on_stderr(call: Call, folder: Path) -> None:
    ended = call("schedule", "job.yaml", "--cron", "0 3 * * *")
    assert ended.code == 0
    assert ended.stdout.splitlines()[-1].startswith("0 3 * * * ")
    assert f"{folder}/job.yaml" in ended.stdout
    assert ended.stderr.startswith("runs at 0 3 * * *: ")
    assert ended.stderr.splitlines()[-1] == "put these lines at the end of your crontab: crontab -e"
    assert [path.name for path in folder.iterdir()] == ["job.yaml"]


def test_files_are_written_where_they_are_wanted_and_named(call: Call, folder: Path) -> None:
    ended = call("schedule", "job.yaml", "--target", "systemd", "--out", "units")
    written = sorted(path.name for path in (folder / "units").iterdir())
    assert written == ["vidcnn-job.service", "vidcnn-job.timer"]
    assert sorted(Path(line).name for line in ended.stdout.splitlines()) == written


def test_json_has_the_files_with_what_to_do(call: Call) -> None:
    told = json.loads(call("schedule", "job.yaml", "--json").stdout)
    assert set(told) == {"files", "written", "notes", "install", "runs"}
    assert told["written"] == []
    assert told["install"][-1:] == ["put these lines at the end of your crontab: crontab -e"]


def test_a_time_that_never_comes_is_refused(call: Call) -> None:
    ended = call("schedule", "job.yaml", "--cron", "0 2 31 2 *")
    assert (ended.code, ended.stdout) == (2, "")
    assert ended.stderr.startswith("vidcnn: --cron '0 2 31 2 *' ")
