from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.commands import environment
from tests.videos import write_video
from vidcnn.cluster.entry import LAUNCH_FILE
from vidcnn.cluster.submission import Submission
from vidcnn.config import InferSpec


def start(
    folder: Path, source: str, *, python_flags: Sequence[str] = (), **launch: Any
) -> subprocess.CompletedProcess[str]:
    Submission.of(InferSpec(source=(source,), model="simple3d", weights="random"), []).write(folder)
    path = folder / LAUNCH_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | launch))
    code = [sys.executable, *python_flags, "-m", "vidcnn.cluster.entry"]
    return subprocess.run(code, cwd=folder, env=environment(), capture_output=True, text=True, timeout=60, check=False)


def test_another_version_of_python_is_refused(tmp_path: Path) -> None:
    done = start(tmp_path, "/videos", python=[3, 1])
    assert done.returncode == 1
    assert "the cluster runs Python 3." in done.stderr
    assert "and this command Python 3.1\n" in done.stderr
    assert "use the same minor version" in done.stderr


def test_what_is_not_installed_there_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "job"
    folder.mkdir()
    done = start(folder, "/videos", python_flags=["-S"])  # without what is installed besides Python itself
    assert done.returncode == 1
    assert "the cluster has no module 'av'" in done.stderr
    assert "the setup_commands of cluster.yaml" in done.stderr
    assert "Traceback" not in done.stderr


def test_relative_paths_need_the_folder_that_they_are_meant_from(tmp_path: Path) -> None:
    done = start(tmp_path, "videos", directory="/nowhere/at/all")
    assert done.returncode == 2
    assert "the cluster has no folder /nowhere/at/all, from which 'videos' is meant" in done.stderr


def test_outside_of_a_cluster_there_is_nothing_to_attach_to(tmp_path: Path) -> None:
    done = start(tmp_path, str(write_video(tmp_path / "a.mp4", 4)))
    assert done.returncode == 2
    assert "this process is not a job of a cluster" in done.stderr
