from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands import command, environment, vidcnn
from tests.videos import write_video
from vidcnn.demo import make_motion_videos
from vidcnn.models.resolve import make_bundle

pytestmark = pytest.mark.ray

PATIENCE_SECONDS = 600


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A folder that everybody may read and nobody may write, with a bundle, videos and a table."""
    folder = Path(tempfile.mkdtemp(prefix="vidcnn-evaluate-", dir="/tmp"))
    labels = make_motion_videos(folder / "videos", videos_per_class=1)
    write_video(folder / "videos" / labels[0] / "short.mp4", 5, rate=15)
    names = folder / "labels.txt"
    names.write_text("\n".join(labels))
    bundle = make_bundle("simple3d", weights="random", labels=str(names), arguments={"width": 0.25}, seed=1)
    bundle.save(folder / "bundle")
    rows = [f"{path.relative_to(folder)},{path.parent.name},front" for path in sorted(folder.rglob("*.mp4"))]
    (folder / "table.csv").write_text("\n".join(["path,label,camera", *rows]) + "\n")
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    yield folder
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    shutil.rmtree(folder)


def contents(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in [folder, *folder.rglob("*")]}


def test_an_evaluation_without_out_writes_nowhere_and_works_where_nothing_can_be_written(place: Path) -> None:
    scratch = Path(tempfile.mkdtemp(prefix="vc-", dir="/tmp"))
    bound = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    if bound and shutil.which("setpriv") is None:
        pytest.skip("root may write everywhere, and there is no setpriv")
    before = contents(place)
    try:
        result = subprocess.run(
            bound + command("evaluate", "table.csv", "--model", "bundle", "--clips=1", "--json", "--device=cpu"),
            cwd=place, env=environment() | {"TMPDIR": str(scratch), "HOME": "/nonexistent"}, capture_output=True,
            text=True, timeout=PATIENCE_SECONDS, check=False,
        )  # fmt: skip
        assert result.returncode == 0, result.stderr
        found = json.loads(result.stdout)
        assert found["num_videos"] == len(list(place.rglob("*.mp4")))
        assert found["short_clips"] == 1
        assert found["notices"] == ["columns of 'table.csv' that are not used: camera"]
        assert "note: columns of 'table.csv' that are not used: camera" in result.stderr.splitlines()
        assert contents(place) == before
        assert list(scratch.iterdir()) == []
    finally:
        shutil.rmtree(scratch)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
def test_figures_that_cannot_be_written_are_printed_all_the_same(place: Path) -> None:
    result = vidcnn(
        "evaluate", place / "table.csv", "--model", place / "bundle", "--clips=1", "--json", "--quiet", "--device=cpu",
        "--out=/dev/full", timeout=PATIENCE_SECONDS,
    )  # fmt: skip
    assert result.returncode == 1
    assert json.loads(result.stdout)["num_videos"] == len(list(place.rglob("*.mp4")))
    assert "cannot be written to '/dev/full'" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.slow
def test_a_batch_that_is_too_large_is_made_smaller_with_a_note(place: Path) -> None:
    result = vidcnn(
        "evaluate", place / "table.csv", "--model", place / "bundle", "--clips=1", "--json", "--device=cpu",
        "--batch-size=100000", timeout=PATIENCE_SECONDS,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    note = found["notices"][-1]
    assert note.startswith(f"the model takes {found['batch_size']} clips at once, not 100,000")
    assert f"note: {note}" in result.stderr.splitlines()
