from __future__ import annotations

import json

from tests.commands.conftest import Call
from vidcnn.config.schema import job_schema


def test_the_schema_of_all_jobs_or_of_one_commands_is_printed_as_json(call: Call) -> None:
    assert json.loads(call("schema").stdout) == json.loads(json.dumps(job_schema(None)))
    one = call("schema", "infer")
    assert (one.code, one.stderr) == (0, "")
    assert json.loads(one.stdout) == json.loads(json.dumps(job_schema("infer")))
    assert one.stdout != call("schema", "train").stdout


def test_a_command_without_jobs_is_a_wrong_usage(call: Call) -> None:
    ended = call("schema", "demo")
    assert (ended.code, ended.stdout) == (2, "")
    assert "demo" in ended.stderr
