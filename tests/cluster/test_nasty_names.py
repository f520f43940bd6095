"""Names that something could take for more than names, in jobs of a cluster."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.cluster.nodes import Nodes, open_nodes
from tests.commands import vidcnn
from tests.nasty_names import check, nasty_names, put_file, raw
from tests.videos import write_video

pytestmark = [pytest.mark.ray, pytest.mark.slow]

PLACES = ("$(touch executed-canary) [red]%s\u202e{0}'\"", "\x1b[31m;touch executed-canary;\nvidcnn: all is well")
TIMEOUT = 600


def made(root: Path) -> dict[bytes, bool]:
    """Link videos under all names into a folder, and return the names that are listed, and whether each is a video."""
    good = write_video(root / "good.mp4", 8)
    (root / PLACES[0]).mkdir()
    found = {}
    for number, name in enumerate(nasty_names()):
        path = os.path.join(os.fsencode(root / PLACES[0]), name + b".mp4")
        is_good = put_file(path, good, number)
        if not name.startswith(b"."):
            found[name + b".mp4"] = is_good
    return found


def test_a_job_has_a_set_of_rows_for_each_and_nothing_of_them_is_obeyed(bundle: Path, tmp_path: Path) -> None:
    files = made(tmp_path)
    out = tmp_path / PLACES[1]
    with open_nodes(num_cpus=[1, 1]) as nodes:
        line = ["infer", tmp_path / PLACES[0], "--model", bundle, "--num-frames=4", "--stride=1", "--out", out]
        done = on(nodes, tmp_path, *line, "--json")
        assert done.returncode == 0, done.stderr
        rows = Counter((raw(row["video"]), row["error"] is None) for row in pq.read_table(out).to_pylist())
        assert rows == Counter({(name, good): 2 if good else 1 for name, good in files.items()})
        assert json.loads(done.stdout)["videos"] == len(files)

        job_id = on(nodes, tmp_path, *line, "--no-wait").stdout.strip()
        followed = on(nodes, tmp_path, "jobs", "logs", job_id, "--follow")
        assert f"all of {len(files)} videos done" in followed.stdout
        for command in (["list"], ["list", "--json"], ["status", job_id]):
            assert on(nodes, tmp_path, "jobs", *command).returncode == 0


def on(nodes: Nodes, folder: Path, *arguments: Any) -> Any:
    """Run a command on the cluster, and check what it prints."""
    done = vidcnn(*arguments, "--cluster", nodes.address, extra=nodes.environment, timeout=TIMEOUT, cwd=folder)
    check(done.stdout + done.stderr, folder)
    return done
