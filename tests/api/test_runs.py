"""The commands as functions."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import vidcnn
from tests.commands import PROJECT, environment
from vidcnn.errors import TooManyErrorsError, UsageError

pytestmark = pytest.mark.ray

SCRIPT = """
import os, sys
import vidcnn
before = dict(os.environ)
from vidcnn.errors import TooManyErrorsError
videos, bundle, out = sys.argv[1:]
report = vidcnn.infer(videos, out=out, model=bundle, num_clips=2, max_error_fraction=1, report=True)
again = vidcnn.infer([videos], out=out, model=bundle, num_clips=2, max_error_fraction=1)
try:
    vidcnn.infer(videos, out=out, model=bundle, num_clips=2, max_error_fraction=0.1)
except TooManyErrorsError as error:
    print(report.summary.num_predictions, report.num_videos_done, again.num_videos_done, error.exit_code)
print({name for name in before | os.environ if before.get(name) != os.environ.get(name)} or "nothing has changed")
"""


def test_a_run_is_done_once_says_what_it_did_prints_nothing_and_leaves_the_environment_as_it_was(
    videos: Path, bundle: Path, tmp_path: Path
) -> None:
    out = tmp_path / "preds.parquet"
    variables = {name: value for name, value in environment().items() if not name.startswith("RAY_")}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, videos, f"file://{bundle}", out],
        env=variables | {"RAY_ADDRESS": "http://elsewhere"},
        capture_output=True, text=True, cwd=PROJECT, check=False,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("6 4 0 3\nnothing has changed\n", "")
    (report,) = (tmp_path / "preds.runs").iterdir()
    assert json.loads(report.read_text())["predictions"] == 6
    assert issubclass(TooManyErrorsError, Exception)


def test_options_that_there_are_not_are_usage_errors(videos: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        vidcnn.infer(videos, out=tmp_path / "p.parquet", colour="red")
    with pytest.raises(UsageError):
        vidcnn.train(videos, out=tmp_path / "run", epochs=0)
    with pytest.raises(UsageError):
        vidcnn.evaluate(videos, model=tmp_path, clips=0)
    assert list(tmp_path.iterdir()) == []
