from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path

import pytest

from tests.pipelines.test_stages import PLAN, write
from vidcnn.choices import Sandbox
from vidcnn.pipelines.measuring import PlanWatch, confined
from vidcnn.video.attempts import plan_in_cell
from vidcnn.video.cell import Cell


@pytest.mark.parametrize("sandbox", ["auto", "off"])
def test_planning_is_measured_with_what_confines_the_process_that_reads(tmp_path: Path, sandbox: Sandbox) -> None:
    videos = write(tmp_path, "a")
    with Cell() as cell:
        watch = PlanWatch(cell)
        assert watch.read().confined == confined(cell) == ()
        assert len(list(plan_in_cell(videos, replace(PLAN, sandbox=sandbox), cell))) == 1
        times = watch.read()
        assert times.plan_seconds > times.plan_read_seconds >= 0
        assert cell.strength is not None
        assert times.confined == confined(cell) == ((socket.gethostname(), cell.strength),)
        assert cell.strength.is_closed == (sandbox == "auto")
