from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from vidcnn.video import warm_up as warm_ups

CODE = """
import sys
from vidcnn.video.warm_up import warm_up
warm_up()
before = set(sys.modules)
from tests.videos import write_video
from vidcnn.video.planning import PlanSettings, plan_video
from vidcnn.video.decode import decode_segment
from vidcnn.video.warm_up import _SIZE
from vidcnn.video.container import MAX_PIXELS
from vidcnn.sampling.segments import ClipSpec, Sampling
from vidcnn.sources import Listing
from pathlib import Path
path = write_video(Path(sys.argv[1]) / "a.mp4", 20)
(video,) = Listing((str(path),))
before = set(sys.modules)
for planned in plan_video(video, PlanSettings(ClipSpec(Sampling(4, stride=1)), 25.0, MAX_PIXELS)):
    clips = list(decode_segment(planned.request(_SIZE, max_pixels=MAX_PIXELS)))
    assert all(clip.pixels is not None for clip in clips)
print(sorted(set(sys.modules) - before))
"""


def test_after_it_decoding_loads_nothing_more(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_what_fails_in_it_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def fail(*_: object, **__: object) -> None:
        tried.append(1)
        raise RuntimeError("broken")

    for name in ("check_decoder", "plan_video"):
        monkeypatch.setattr(warm_ups, name, fail)
    warm_ups.warm_up()
    assert len(tried) > 1
