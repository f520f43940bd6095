from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.commands.conftest import Call
from vidcnn.demo import DIRECTIONS

LABELS = tuple(DIRECTIONS)


def test_it_makes_videos_trains_on_them_and_classifies_others(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import vidcnn.pipelines.infer
    import vidcnn.pipelines.train

    done: list[Any] = []
    results = [SimpleNamespace(video=f"{label}/1.mp4", truth=label, label=label, share=0.5) for label in LABELS]
    monkeypatch.setattr("vidcnn.demo.make_motion_videos", lambda path, **kind: done.append((path.name, kind)) or LABELS)
    monkeypatch.setattr(
        vidcnn.pipelines.train,
        "run_training",
        lambda spec, **_: (
            done.append(("train", spec.data, spec.out)) or SimpleNamespace(bundle="run/bundle", failure=None)
        ),
    )
    monkeypatch.setattr(
        vidcnn.pipelines.infer,
        "run_inference",
        lambda spec, **_: done.append(("infer", spec.source, spec.out, spec.model)),
    )
    monkeypatch.setattr("vidcnn.reporting.summaries.infer_text", lambda spec, report: "the table holds all")
    monkeypatch.setattr("vidcnn.training.report.train_text", lambda report: "trained")
    monkeypatch.setattr("vidcnn.demo.video_table", lambda out: results)
    ended = call("demo", "--dir", tmp_path, "--quiet")
    assert (ended.code, ended.stderr) == (0, "")
    assert done == [
        ("videos", {"videos_per_class": 12}),
        ("unseen", {"videos_per_class": 4, "seed": 1}),
        ("train", str(tmp_path / "videos"), str(tmp_path / "run")),
        ("infer", (str(tmp_path / "unseen"),), str(tmp_path / "preds.parquet"), "run/bundle"),
    ]
    assert f"{len(results)} of {len(results)} videos are classified right; by chance it would be 1 of 8" in ended.stdout
    assert "vidcnn train --data DIR --out RUN; vidcnn infer DIR --model RUN/bundle --out preds.parquet" in ended.stdout
