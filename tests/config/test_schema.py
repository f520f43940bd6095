from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.commands import PROJECT
from tests.config.test_job_files import JOB_FILES, JOBS
from vidcnn.config import option_name, plain_yaml
from vidcnn.config.base import former_names, written_name
from vidcnn.config.job_files import SPECS
from vidcnn.config.schema import job_schema
from vidcnn.errors import UsageError


def conforms(job: Any, command: str | None = None) -> bool:
    return Draft202012Validator(job_schema(command)).is_valid(job)


@pytest.mark.parametrize("command", [None, *SPECS])
def test_the_schema_is_one_of_draft_2020_12(command: str | None) -> None:
    Draft202012Validator.check_schema(job_schema(command))


@pytest.mark.parametrize("path", JOB_FILES, ids=lambda path: path.name)
def test_every_job_that_ships_conforms_and_says_where_the_schema_is(path: Path) -> None:
    job = plain_yaml.load(path.read_text()).value
    assert conforms(job)
    assert conforms(job, job["command"])
    assert not conforms({**job, "stirde": 2})
    assert path.read_text().startswith("# yaml-language-server: $schema=schema.json\n")


def test_the_schema_that_ships_is_up_to_date() -> None:
    assert json.loads((JOBS / "schema.json").read_text()) == job_schema(), "vidcnn schema > jobs/schema.json"


@pytest.mark.parametrize("command", SPECS)
def test_every_option_is_in_the_schema_with_its_meaning_and_default(command: str) -> None:
    fields = job_schema()["$defs"][command]["properties"]
    former = former_names(SPECS[command])
    assert list(fields) == ["command", *map(written_name, SPECS[command].model_fields), *former]
    assert all(fields[name]["deprecated"] for name in former)
    for field, info in SPECS[command].model_fields.items():
        name = written_name(field)
        assert fields[name]["description"], name
        assert "\\" not in fields[name]["description"]
        if not info.is_required():
            assert fields[name]["default"] == info.default


@pytest.mark.parametrize("command", SPECS)
def test_a_variable_may_stand_for_any_value(command: str) -> None:
    for name in map(written_name, SPECS[command].model_fields):
        required = {"source": "a", "data": "a"} if command != "train" else {}
        job = {key: value for key, value in required.items() if key in SPECS[command].model_fields}
        assert conforms({**job, "command": command, name: "${VALUE:-1}"}), option_name(name)


@pytest.mark.parametrize(
    ("job", "fits"),
    [
        ({"command": "infer", "source": "a"}, True),
        ({"command": "infer", "source": ["a", "b"], "limit": None, "fps": 7.5, "actors": 4}, True),
        ({"command": "train", "milestones": [20, 30.5], "crop": 112, "freeze": ["stem"]}, True),
        ({"command": "infer", "source": "a", "redo_errors": ["timeout", "changed"]}, True),
        ({"command": "infer", "source": "a", "redo_errors": True}, True),
        ({"command": "evaluate", "data": "a", "crops": 3}, True),
        ({"command": "evaluate", "data": "a", "crops": 2}, False),
        ({"command": "train", "lr": 0}, False),
        ({"command": "infer"}, False),
        ({"command": "infer", "source": []}, False),
        ({"command": "infer", "from": "preds.parquet", "model": "new"}, True),
        ({"command": "infer", "from_": "preds.parquet"}, False),
        ({"command": "infer", "source": "a", "limit": 0}, False),
        ({"command": "infer", "source": "a", "limit": "ten"}, False),
        ({"command": "infer", "source": "a", "precision": "fp8"}, False),
        ({"command": "infer", "source": "a", "max_error_fraction": 2}, False),
        ({"command": "train", "source": "a"}, False),
        ({"command": "fly"}, False),
        ({"source": "a"}, False),
    ],
)
def test_what_conforms_is_what_a_job_may_say(job: dict[str, Any], fits: bool) -> None:
    assert conforms(job) == fits


def test_there_is_no_schema_of_another_command() -> None:
    with pytest.raises(UsageError, match="no jobs of the command 'fly'"):
        job_schema("fly")


def test_the_docs_name_the_file_and_the_line_for_editors() -> None:
    text = (PROJECT / "docs" / "jobs.md").read_text()
    assert "(../jobs/schema.json)" in text
    assert "# yaml-language-server: $schema=schema.json" in text
