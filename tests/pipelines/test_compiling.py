"""A model that was to run compiled and cannot be: the table says how its rows were made, and all are made alike."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.commands import vidcnn
from tests.videos import write_video
from vidcnn.config import InferSpec
from vidcnn.errors import CompileError
from vidcnn.pipelines import dataset
from vidcnn.pipelines.infer import run_inference
from vidcnn.pipelines.stages import ScoreStage
from vidcnn.predictions.output import Output

pytestmark = pytest.mark.ray

PATIENCE = 600


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for name in "abcd":
        write_video(folder / f"{name}.mp4", 40, rate=15)
    return folder


@pytest.fixture(scope="module")
def uncompiled(videos: Path, bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The table of a run that nobody wanted to compile."""
    out = tmp_path_factory.mktemp("uncompiled") / "preds.parquet"
    result = infer(videos, bundle, out, "--compile", "off", extra={})
    assert (result.returncode, result.stderr) == (0, "")
    assert json.loads(result.stdout)["run"]["notices"] == []
    return out


def infer(videos: Path, bundle: Path, out: Path, *options: str, extra: dict[str, str]) -> Any:
    arguments = ("infer", videos, "--out", out, "--model", bundle, "--json", "--quiet", *options)
    return vidcnn(*arguments, timeout=PATIENCE, extra=extra)


def settings(table: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(pq.read_metadata(table).metadata[b"vidcnn.settings"])
    return values


def set_compiled(table: Path) -> None:
    """Make a table say that a compiled model made its rows."""
    content = table.read_bytes()
    assert content.count(b'"compiled": false') == 1
    table.write_bytes(content.replace(b'"compiled": false', b'"compiled": true '))
    assert settings(table)["compiled"] is True


@pytest.mark.parametrize(
    ("compiler", "reason"),
    [
        pytest.param("no-such-compiler", "there is no C++ compiler (no-such-compiler)", id="absent"),
        pytest.param("/bin/false", "compiling failed", id="failing", marks=pytest.mark.slow),
    ],
)
def test_without_a_compiler_the_table_says_that_the_model_ran_uncompiled_and_so_does_the_command(
    compiler: str, reason: str, videos: Path, bundle: Path, uncompiled: Path, tmp_path: Path
) -> None:
    out = tmp_path / "preds.parquet"
    extra = {"CXX": compiler, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    result = infer(videos, bundle, out, "--compile", "on", "--in-process", "on", "--report", extra=extra)
    assert result.returncode == 0, result.stderr
    assert result.stderr.startswith(f"vidcnn: the model runs uncompiled: {reason}")
    assert result.stderr.count("\n") == 1
    notice = result.stderr.removeprefix("vidcnn: ").strip()
    run = json.loads(result.stdout)["run"]
    assert (run["compiled"], run["notices"]) == (False, [notice])
    (report,) = (json.loads(path.read_text()) for path in (tmp_path / "preds.runs").iterdir())
    assert (report["compiled"], report["notices"], report["clips"]) == (False, [notice], 12)
    assert settings(out) == settings(uncompiled)
    assert pq.read_table(out).equals(pq.read_table(uncompiled))


def test_a_table_of_a_compiled_model_gets_no_rows_of_another(
    videos: Path, bundle: Path, uncompiled: Path, tmp_path: Path
) -> None:
    out = tmp_path / "preds.parquet"
    out.write_bytes(uncompiled.read_bytes())
    set_compiled(out)
    before = out.read_bytes()
    folder = tmp_path / "videos"
    folder.mkdir()
    for path in videos.iterdir():
        os.link(path, folder / path.name)
    write_video(folder / "new.mp4", 40, rate=15)
    result = infer(folder, bundle, out, extra={"CXX": "no-such-compiler", "XDG_CACHE_HOME": str(tmp_path / "cache")})
    assert result.returncode == 1
    assert result.stdout == ""
    assert f"the rows of {out} are of a compiled model" in result.stderr
    assert "there is no C++ compiler (no-such-compiler)" in result.stderr
    assert "install one, or set CXX" in result.stderr
    assert out.read_bytes() == before


def compiled_spec(videos: Path, bundle: Path, out: Path) -> InferSpec:
    """Describe a run of several batches, which arrive one after the other, as there is one actor."""
    batches: dict[str, Any] = {"batch_size": 4, "actors": "1"}
    return InferSpec(source=(str(videos),), out=str(out), model=str(bundle), compile="on", in_process="off", **batches)


def is_first() -> bool:
    """Return whether nobody asked before, in any process."""
    try:
        Path(os.environ["VIDCNN_TEST_MARKER"]).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.05)


class CompilesHereOnly(ScoreStage):
    """Scores one batch as if it were compiled; the others meet actors that cannot compile, once something is there."""

    def __init__(self, load: Any, row_format: Any) -> None:
        bundle, arguments = load.args
        self._is_compiled = arguments["compile"] == "on"
        super().__init__(partial(load.func, bundle, {**arguments, "compile": "off"}), row_format)

    def _score(self, batch: Any) -> Any:
        if self._is_compiled and not is_first():
            wait_for(Path(os.environ["VIDCNN_TEST_AWAITED"]))
            return [CompileError("there is no C++ compiler", "install one")]
        pieces: Any = super()._score(batch)
        if self._is_compiled:
            for index, piece in enumerate(pieces):
                label = piece.rows.schema.get_field_index("label")
                field = piece.rows.schema.field(label)
                names = pa.array(["compiled"] * piece.rows.num_rows).cast(field.type)
                pieces[index] = replace(piece, rows=piece.rows.set_column(label, field, names))
        return pieces


def test_what_some_actors_did_compiled_is_done_again_where_others_cannot(
    videos: Path, bundle: Path, uncompiled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("VIDCNN_TEST_MARKER", "VIDCNN_TEST_AWAITED"):
        monkeypatch.setenv(variable, str(tmp_path / "scored"))
    monkeypatch.setattr(dataset, "ScoreStage", CompilesHereOnly)
    monkeypatch.setattr(Output, "should_commit", lambda self, now: False)
    out = tmp_path / "preds.parquet"
    spec = compiled_spec(videos, bundle, out)
    report = run_inference(spec, show_progress=False)
    assert (tmp_path / "scored").exists()
    assert report.notices == ("the model runs uncompiled: there is no C++ compiler: install one",)
    assert report.num_clips_done == 12
    assert settings(out) == settings(uncompiled)
    assert pq.read_table(out).equals(pq.read_table(uncompiled))


def test_a_run_that_has_committed_compiled_rows_ends_where_an_actor_cannot_compile(
    videos: Path, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIDCNN_TEST_MARKER", str(tmp_path / "scored"))
    monkeypatch.setenv("VIDCNN_TEST_AWAITED", str(tmp_path / "committed"))
    monkeypatch.setattr(dataset, "ScoreStage", CompilesHereOnly)
    monkeypatch.setattr(Output, "should_commit", lambda self, now: True)
    commit = Output.commit

    def commit_and_tell(output: Output) -> None:
        commit(output)
        if list((tmp_path / "preds").glob("part-*.parquet")):
            (tmp_path / "committed").touch()

    monkeypatch.setattr(Output, "commit", commit_and_tell)
    out = tmp_path / "preds"
    spec = compiled_spec(videos, bundle, out)
    with pytest.raises(
        CompileError, match="are of a compiled model, and it cannot be compiled everywhere: there is no"
    ):
        run_inference(spec, show_progress=False)
    parts = list(out.glob("part-*.parquet"))
    assert parts
    assert all(settings(part)["compiled"] for part in parts)
    assert {label for part in parts for label in pq.read_table(part)["label"].to_pylist()} == {"compiled"}


def test_exact_precision_is_not_compiled_and_the_command_says_so(videos: Path, bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "preds.parquet"
    result = infer(videos / "a.mp4", bundle, out, "--compile", "on", "--precision", "exact", extra={})
    assert (result.returncode, result.stderr) == (0, "vidcnn: exact precision is not compiled\n")
    assert json.loads(result.stdout)["run"]["notices"] == ["exact precision is not compiled"]
    assert (settings(out)["precision"], settings(out)["compiled"]) == ("exact", False)
