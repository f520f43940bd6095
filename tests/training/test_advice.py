from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from vidcnn.training.advice import other_settings_hint
from vidcnn.training.checkpoints import Checkpoint
from vidcnn.training.state import RunSettings

SETTINGS = RunSettings(Path("run"), 1, 1, 60.0, 1)
NEWEST = Checkpoint(40, None, Path("run/checkpoints/step_00000040.pt"))


def test_what_is_advised_is_what_a_run_directory_takes() -> None:
    hint = other_settings_hint("lower --lr", SETTINGS, "r3d_18", None)
    assert hint.startswith("lower --lr, with the same --out")
    hint = other_settings_hint("lower --lr", SETTINGS, "r3d_18", NEWEST)
    assert "another --out" in hint
    assert "--model r3d_18 --weights run/checkpoints/step_00000040.pt" in hint
    remote = replace(SETTINGS, mirror="s3://bkt/run")
    hint = other_settings_hint("lower --lr", remote, "r3d_18", NEWEST)
    assert "another --out" in hint
    assert "run/checkpoints" not in hint
