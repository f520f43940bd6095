from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from pyarrow import fs

from tests.commands import PROJECT
from tests.s3 import Server
from vidcnn import __version__
from vidcnn.config import InferSpec
from vidcnn.errors import OutputBusyError, RunInterruptedError, TooManyErrorsError, UsageError
from vidcnn.predictions import Summary
from vidcnn.reporting.progress import RunProgress
from vidcnn.reporting.run_report import RunRecord, report_values, reported, reports_location
from vidcnn.sandbox.confinement import Strength
from vidcnn.storage.uris import open_filesystem

SUMMARY = Summary(9, 40, 38, {"truncated": 2}, 1, ())


def spec_of(out: Path | str, report: bool = True) -> InferSpec:
    return InferSpec(source=("videos",), out=str(out), report=report)


def progress_of() -> RunProgress:
    seconds = iter(range(100))
    progress = RunProgress(3, 300, now=lambda: float(next(seconds)))
    progress.add_segment("a", 100, 1, num_clips=10, num_predictions=10, errors={})
    progress.add_segment("b", 100, 1, num_clips=10, num_predictions=8, errors={"truncated": 2})
    return progress


def record_of() -> RunRecord:
    return RunRecord(
        "ab12cd34",
        9,
        1,
        {"c": "it cannot be read"},
        progress_of(),
        {"precision": "bf16", "compiled": False, "a": [2]},
        8,
        SUMMARY,
    )


def test_a_report_says_what_confined_decoding_processes() -> None:
    record = record_of()
    record.confinement = {"node": Strength(True, 7, None, True)}
    values = report_values(spec_of("p"), record, 0, 1, None)
    strength = {"seccomp": True, "landlock": 7, "memory_bytes": None, "unprivileged": True}
    assert values["confinement"] == {"node": strength}


def only_report(folder: Path) -> dict[str, Any]:
    (path,) = folder.iterdir()
    values: dict[str, Any] = json.loads(path.read_text())
    assert re.fullmatch(r"\d{8}T\d{6}Z-[0-9a-f]{6}\.json", path.name)
    assert path.name.endswith(f"-{values['run_id'][:6]}.json")
    assert path.name.startswith(re.sub(r"[-:]|\.\d+", "", values["started"])[:15])
    return values


def test_a_report_says_what_the_run_did_and_what_the_table_holds() -> None:
    values = report_values(spec_of("p.parquet"), record_of(), 1_800_000_000.0, 1_800_000_012.5, None)
    assert json.loads(json.dumps(values)) == values
    assert (values["started"], values["ended"]) == ("2027-01-15T08:00:00.000Z", "2027-01-15T08:00:12.500Z")
    assert (values["seconds"], values["exit_code"], values["error"]) == (12.5, 0, None)
    assert (values["videos_listed"], values["videos_done"], values["videos_waiting"]) == (9, 2, 1)
    assert values["videos_undone"] == 1
    assert (values["clips"], values["predictions"], values["error_rows"]) == (20, 18, {"truncated": 2})
    assert (values["precision"], values["compiled"], values["batch_size"]) == ("bf16", False, 8)
    assert (values["bad_videos"], values["version"]) == (1, __version__)
    assert values["table"] == {
        "videos": 9, "clips": 40, "predictions": 38, "error_rows": {"truncated": 2}, "bad_videos": 1
    }  # fmt: skip
    assert (
        values["settings_sha256"] == hashlib.sha256(b'{"a": [2], "compiled": false, "precision": "bf16"}').hexdigest()
    )


def test_every_field_is_explained() -> None:
    values = report_values(spec_of("p"), record_of(), 0, 1, None)
    text = (PROJECT / "docs" / "runs.md").read_text()
    explained = re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", text, re.MULTILINE)))
    assert explained == list(values)
    for name in values["table"]:
        assert f"`{name}`" in text


@pytest.mark.parametrize(
    ("out", "folder"),
    [
        ("/a/preds.parquet", "/a/preds.runs"),
        ("/a/preds", "/a/preds.runs"),
        ("/a/preds/", "/a/preds.runs"),
        ("/a/Preds.PARQUET", "/a/Preds.runs"),
        ("file:///a/x%20y.parquet", "/a/x y.runs"),
        ("s3://b/night/preds.parquet?region=eu", "s3://b/night/preds.runs?region=eu"),
        ("s3://b/preds/", "s3://b/preds.runs"),
    ],
)
def test_reports_lie_beside_the_output(out: str, folder: str) -> None:
    assert reports_location(out) == folder


def test_the_reports_of_an_output_that_a_link_leads_to_lie_beside_it(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link.parquet").symlink_to(tmp_path / "real" / "preds.parquet")
    assert reports_location(str(tmp_path / "link.parquet")) == str(tmp_path / "real" / "preds.runs")


def test_a_run_that_is_done_leaves_a_report(tmp_path: Path) -> None:
    with reported(spec_of(tmp_path / "new" / "preds.parquet")) as record:
        record.num_listed, record.progress, record.summary = 9, progress_of(), SUMMARY
    values = only_report(tmp_path / "new" / "preds.runs")
    assert (values["exit_code"], values["error"], values["videos_listed"], values["clips"]) == (0, None, 9, 20)


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (OutputBusyError("held by another run", "wait"), 75, "held by another run"),
        (RunInterruptedError("interrupted", "again"), 130, "interrupted"),
        (TooManyErrorsError("2 of 3 videos are bad"), 3, "2 of 3 videos are bad"),
        (UsageError("no GPU"), 2, "no GPU"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (ZeroDivisionError("by zero"), 1, "unexpected ZeroDivisionError: by zero"),
    ],
)
def test_a_run_that_fails_leaves_a_report_and_fails_as_it_did(
    tmp_path: Path, error: BaseException, code: int, message: str
) -> None:
    with pytest.raises(type(error)) as caught, reported(spec_of(tmp_path / "preds")):
        raise error
    assert caught.value is error
    values = only_report(tmp_path / "preds.runs")
    assert (values["exit_code"], values["error"]["message"]) == (code, message)
    assert (values["videos_listed"], values["clips"], values["table"]) == (None, 0, None)


def test_without_the_wish_there_is_no_report(tmp_path: Path) -> None:
    with reported(spec_of(tmp_path / "preds", report=False)):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_report_that_cannot_be_written_is_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "preds.runs").touch()
    with reported(spec_of(tmp_path / "preds.parquet")):
        pass
    printed = capsys.readouterr()
    assert printed.err == "vidcnn: the report of this run cannot be written: file exists\n"
    with pytest.raises(ZeroDivisionError), reported(spec_of(tmp_path / "preds.parquet")):
        raise ZeroDivisionError


def reports_in(s3: Server, folder: str) -> list[dict[str, Any]]:
    filesystem, path = open_filesystem(f"s3://bkt/{folder}{s3.query}")
    infos = filesystem.get_file_info(fs.FileSelector(path))
    return [json.loads(filesystem.open_input_file(info.path).read()) for info in infos]


def test_reports_lie_in_object_storage_too(s3: Server) -> None:
    with reported(spec_of(f"s3://bkt/night/preds.parquet{s3.query}")):
        pass
    (values,) = reports_in(s3, "night/preds.runs")
    assert (values["exit_code"], values["out"]) == (0, "s3://bkt/night/preds.parquet")


def test_a_report_that_object_storage_does_not_take_is_a_warning(
    s3: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    with reported(spec_of(f"s3://no-such-bucket/preds{s3.query}")):
        pass
    assert capsys.readouterr().err.startswith("vidcnn: the report of this run cannot be written: ")
