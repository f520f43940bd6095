from __future__ import annotations

import json
from pathlib import Path

import pytest

from vidcnn.cluster.entry import LAUNCH_FILE, SPEC_FILE
from vidcnn.cluster.submission import Submission, is_of, next_id
from vidcnn.config import InferSpec
from vidcnn.config.job_files import read_job
from vidcnn.errors import UsageError


def submission(*arguments: str, **values: object) -> Submission:
    return Submission.of(InferSpec(source=("videos",), **values), arguments)  # type: ignore[arg-type]


def test_the_name_of_a_job_depends_on_what_is_done_and_on_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = submission().name
    assert submission("--json", "--quiet").name == submission(top_k=5).name == name
    assert submission(top_k=4).name != name
    monkeypatch.chdir(tmp_path)
    assert submission().name != name


def test_an_estimate_is_no_run_of_its_job() -> None:
    spec = InferSpec(source=("videos",))
    run, estimate = Submission.of(spec, ["--json"]), Submission.of(spec, ["--json", "--estimate"])
    assert run.name == Submission.of(spec, []).name
    assert estimate.name not in (run.name, Submission.of(spec, ["--dry-run"]).name)


def test_ids_are_counted() -> None:
    assert next_id("vidcnn-infer-ab", []) == "vidcnn-infer-ab-1"
    ids = ["vidcnn-infer-ab-1", "vidcnn-infer-ab-11", "vidcnn-infer-abc-40", "vidcnn-infer-ab-x", "other"]
    assert next_id("vidcnn-infer-ab", ids) == "vidcnn-infer-ab-12"
    assert [job_id for job_id in ids if is_of("vidcnn-infer-ab", job_id)] == ids[:2]


def test_what_is_written_is_the_same_job_and_carries_the_program_but_no_video(tmp_path: Path) -> None:
    spec = InferSpec(source=("${HOME}/a b.mp4", "s3://bucket/x"), out="preds", top_k=3, compile="off")
    runtime_env = Submission.of(spec, ["--json"]).write(tmp_path)
    assert read_job(tmp_path / SPEC_FILE) == spec
    launch = json.loads((tmp_path / LAUNCH_FILE).read_text())
    assert (launch["arguments"], launch["directory"]) == (["--json"], str(Path.cwd()))
    assert Path(runtime_env["py_modules"][0], "cluster", "entry.py").is_file()
    assert runtime_env["working_dir"] == str(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {SPEC_FILE, LAUNCH_FILE}


def test_a_list_on_standard_input_does_not_travel() -> None:
    with pytest.raises(UsageError, match="a list on standard input cannot be sent to a cluster") as raised:
        Submission.of(InferSpec(source=("videos", "-")), [])
    assert raised.value.hint == "write it to a file that the cluster sees, and name that"
