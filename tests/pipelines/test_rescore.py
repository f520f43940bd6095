from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load, save

from tests.videos import write_video
from vidcnn.config import InferSpec
from vidcnn.errors import ModelError, RunInterruptedError, SettingsDifferError, SourceError, UsageError
from vidcnn.models.bundle import Bundle
from vidcnn.models.resolve import make_bundle
from vidcnn.pipelines import rescore
from vidcnn.pipelines.infer import run_inference
from vidcnn.pipelines.rescore import run_rescoring
from vidcnn.predictions.table import Table
from vidcnn.reporting.results import InferReport

LABELS = ("red", "green", "blue", "grey", "pink")
CLIPS = {"num_frames": 8, "stride": 1}


def infer(source: Path, out: Path, model: Path, **options: Any) -> InferReport:
    options = {"in_process": "on", "precision": "fp32", "decoders": 1, **CLIPS, **options}
    return run_inference(
        InferSpec(source=(str(source),), out=str(out), model=str(model), **options), show_progress=False
    )


def rescore_table(table: Path, out: Path, model: Path, **options: Any) -> InferReport:
    spec = InferSpec(from_=str(table), out=str(out), model=str(model), **{**CLIPS, **options})
    return run_rescoring(spec, show_progress=False)


def with_head(bundle: Bundle, num_classes: int, seed: int = 0) -> Bundle:
    """Return a bundle of the same backbone, whose classes differ clearly."""
    draw = torch.Generator().manual_seed(seed)
    state = load(bundle.weights)
    state["classifier.weight"] = torch.randn(num_classes, bundle.embedding_size, generator=draw) * 3
    state["classifier.bias"] = torch.randn(num_classes, generator=draw)
    return replace(bundle, labels=LABELS[:num_classes], weights=save(state))


@pytest.fixture(scope="module")
def old(tiny_bundle: Path) -> Path:
    return tiny_bundle


@pytest.fixture(scope="module")
def new(old: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("new") / "bundle"
    with_head(Bundle.load(old), 5).save(folder)
    return folder


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for index in range(3):
        write_video(folder / f"{index}.mp4", 20 + 30 * index, rate=15, first_number=40 * index)
    whole = (folder / "2.mp4").read_bytes()
    (folder / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.mp4").write_bytes(b"")
    return folder


@pytest.fixture(scope="module")
def table(videos: Path, old: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("table") / "old.parquet"
    infer(videos, out, old, embedding=True, probabilities=True)
    return out


def rows_of(out: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(out).to_pylist()
    return sorted(rows, key=lambda row: (row["video"], -1 if row["clip"] is None else row["clip"]))


def ledger_of(out: Path) -> list[Any]:
    with Table.open(str(out)) as opened:
        return [(video, entry[:5]) for video, entry in opened.entries()]


def metadata_of(out: Path) -> dict[str, Any]:
    found = pq.read_metadata(out).metadata
    return {key.decode(): value for key, value in found.items() if key.startswith(b"vidcnn.")}


def check_equals_full_run(found: list[dict[str, Any]], full: list[dict[str, Any]], bundle: Bundle) -> None:
    """Compare rows with those of a full run, by what half floats can change of a logit."""
    weight = load(bundle.weights)["classifier.weight"].abs()
    assert [[row[name] for name in ("video", "clip", "start_seconds", "end_seconds", "error", "error_kind")]
            for row in found] == [[row[name] for name in ("video", "clip", "start_seconds", "end_seconds", "error",
            "error_kind")] for row in full]  # fmt: skip
    scored = 0
    for row, other in zip(found, full, strict=True):
        if row["error"] is not None:
            assert row["label"] is None
            continue
        scored += 1
        embedding = np.abs(np.array(other["embedding"], np.float32))
        bound = float((weight.numpy() @ (embedding * 2**-11 + 2**-24)).max())
        assert bound < 0.1
        one, two = (dict(zip(each["top_labels"], each["top_scores"], strict=True)) for each in (row, other))
        for label in one:
            assert abs(np.log(one[label]) - np.log(two[label])) <= 2 * bound + 1e-4
        best = sorted(two.values())
        if np.log(best[-1] / best[-2]) > 4 * bound:
            assert row["label"] == other["label"]
    assert scored > 5


def test_rows_are_those_of_a_full_run_within_the_rounding_of_half_floats(
    videos: Path, table: Path, new: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    infer(videos, tmp_path / "full.parquet", new, embedding=True, probabilities=True)
    monkeypatch.setattr(rescore, "_PIECE_ROWS", 4)
    report = rescore_table(table, tmp_path / "new.parquet", new, embedding=True, probabilities=True)
    full, found = rows_of(tmp_path / "full.parquet"), rows_of(tmp_path / "new.parquet")
    check_equals_full_run(found, full, Bundle.load(new))
    assert len({row["score"] for row in full}) > 5
    assert {row["error_kind"] for row in found} >= {None, "unreadable"}
    assert pq.read_schema(tmp_path / "new.parquet").equals(pq.read_schema(tmp_path / "full.parquet"))
    assert ledger_of(tmp_path / "new.parquet") == ledger_of(tmp_path / "full.parquet") == ledger_of(table)
    summary = report.summary
    assert (summary.num_videos, report.num_videos_done) == (5, 5)
    assert report.num_clips_done == summary.num_clips == sum(row["clip"] is not None for row in full)
    assert summary.num_predictions == sum(row["error"] is None for row in full)

    ours, theirs, before = map(metadata_of, (tmp_path / "new.parquet", tmp_path / "full.parquet", table))
    assert ours.keys() == theirs.keys()
    for name in ("vidcnn.model", "vidcnn.weights_sha256", "vidcnn.backbone_sha256"):
        assert ours[name] == theirs[name]
    assert before["vidcnn.backbone_sha256"] == ours["vidcnn.backbone_sha256"]
    assert before["vidcnn.weights_sha256"] != ours["vidcnn.weights_sha256"]
    settings, own = (json.loads(each["vidcnn.settings"]) for each in (ours, theirs))
    assert settings.pop("scored_from") == "embeddings"
    assert settings == own


def test_a_network_of_torchvision_is_scored_again_as_well(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = make_bundle("r3d_18", weights="random", num_classes=3, seed=0)
    state = load(first.weights)
    state["fc.weight"], state["fc.bias"] = torch.randn(2, 512) * 3, torch.zeros(2)
    second = replace(first, labels=("in", "out"), weights=save(state))
    for name, bundle in (("first", first), ("second", second)):
        replace(bundle, preprocessing=replace(bundle.preprocessing, resize=(32, 32), crop=(28, 28))).save(
            tmp_path / name
        )
    options = {"num_frames": 4, "num_clips": 2, "embedding": True}
    infer(videos / "0.mp4", tmp_path / "old", tmp_path / "first", **options)
    infer(videos / "0.mp4", tmp_path / "full", tmp_path / "second", **options)
    rescore_table(tmp_path / "old", tmp_path / "new", tmp_path / "second", num_frames=4)
    found, full = rows_of(tmp_path / "new"), rows_of(tmp_path / "full")
    assert len(found) == len(full) == 2
    for row, other in zip(found, full, strict=True):
        assert (row["video"], row["clip"], row["label"]) == (other["video"], other["clip"], other["label"])
        assert row["score"] == pytest.approx(other["score"], rel=0.02)
        assert "embedding" not in row


@pytest.mark.parametrize("name", ["new.parquet", "new"])
def test_the_same_call_does_what_is_new_or_other_and_nothing_else(
    videos: Path, old: Path, new: Path, tmp_path: Path, name: str
) -> None:
    source, before, out = tmp_path / "videos", tmp_path / "old.parquet", tmp_path / name
    source.mkdir()
    for path in (videos / "0.mp4", videos / "empty.mp4"):
        os.link(path, source / path.name)
    infer(source, before, old, embedding=True)
    assert rescore_table(before, out, new).num_videos_done == 2
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.parquet")}
    again = rescore_table(before, out, new)
    assert (again.num_videos_done, again.num_videos) == (0, 2)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.parquet")} == files

    write_video(source / "0.mp4.aside", 30, rate=15, first_number=7, container="mp4")
    (source / "0.mp4.aside").rename(source / "0.mp4")  # another version
    os.link(videos / "1.mp4", source / "1.mp4")
    infer(source, before, old, embedding=True)
    assert rescore_table(before, out, new).num_videos_done == 2
    infer(source, tmp_path / "full.parquet", new, embedding=True)
    check_equals_full_run(rows_of(out), rows_of(tmp_path / "full.parquet"), Bundle.load(new))
    assert rescore_table(before, out, new).num_videos_done == 0


def test_a_video_whose_errors_were_done_again_is_scored_again(
    videos: Path, table: Path, new: Path, tmp_path: Path
) -> None:
    def end_otherwise(text: str) -> Callable[[pa.Table], pa.Table]:
        def change(rows: pa.Table) -> pa.Table:
            errors = [text if error is not None else None for error in rows["error"].to_pylist()]
            return rows.set_column(rows.schema.get_field_index("error"), "error", pa.array(errors, pa.string()))

        return change

    from vidcnn.predictions import Output
    from vidcnn.predictions.output_storage import open_storage

    mine, out = tmp_path / "mine", tmp_path / "out.parquet"
    with Table.open(str(table)) as opened:
        schema, settings = opened.schema, opened.settings
        from vidcnn.predictions.derived import DerivedOutput

        with DerivedOutput.in_storage(open_storage(str(mine)), schema=schema, settings=settings) as output:
            for merged in opened.entries():
                rows = pa.concat_tables(opened.rows([merged])).cast(schema)
                output.add_videos({merged.video: merged.entry._replace(files=())}, rows)
            output.publish()
    rescore_table(mine, out, new)
    with Output.open(str(mine), schema=schema, settings=settings) as output:
        output.publish(end_otherwise("it is still bad, for another reason"))
    report = rescore_table(mine, out, new)
    bad = {row["video"] for row in rows_of(mine) if row["error"] is not None}
    assert report.num_videos_done == len(bad) > 0
    assert [row["error"] for row in rows_of(out)] == [row["error"] for row in rows_of(mine)]


def test_an_interrupted_run_keeps_what_is_done_and_the_next_one_does_the_rest(
    table: Path, new: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vidcnn.inference import head as heads
    from vidcnn.predictions import merging

    calls = 0
    real = heads.rescored_rows

    def interrupted(*arguments: Any) -> pa.Table:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(merging, "RANGE_BYTES", 1)  # a video at a time
    monkeypatch.setattr(heads, "rescored_rows", interrupted)
    out = tmp_path / "new.parquet"
    with pytest.raises(RunInterruptedError):
        rescore_table(table, out, new)
    assert not out.exists()
    report = rescore_table(table, out, new)
    assert (report.num_videos_done, report.summary.num_videos) == (3, 5)
    rescore_table(table, tmp_path / "at_once.parquet", new)
    assert rows_of(out) == rows_of(tmp_path / "at_once.parquet")


def change_metadata(table: Path, out: Path, **settings: Any) -> None:
    """Copy a table as another version would have written it; None takes a setting out."""
    from vidcnn.predictions.derived import DerivedOutput
    from vidcnn.predictions.output_storage import open_storage

    with Table.open(str(table)) as opened:
        changed = {name: value for name, value in {**opened.settings, **settings}.items() if value is not None}
        with DerivedOutput.in_storage(open_storage(str(out)), schema=opened.schema, settings=changed) as output:
            for merged in opened.entries():
                rows = pa.concat_tables(opened.rows([merged])).cast(opened.schema)
                output.add_videos({merged.video: merged.entry._replace(files=())}, rows)
            output.publish()


def test_a_table_of_an_earlier_version_needs_the_model_that_it_was_written_with(
    table: Path, old: Path, new: Path, tmp_path: Path
) -> None:
    earlier = tmp_path / "earlier.parquet"
    change_metadata(table, earlier, backbone_sha256=None)
    assert "vidcnn.backbone_sha256" not in metadata_of(earlier)
    with pytest.raises(SourceError, match=r"does not name the backbone.*--from-model"):
        rescore_table(earlier, tmp_path / "new.parquet", new)
    with pytest.raises(UsageError, match=r"--from-model .* is not the model of .*earlier\.parquet"):
        rescore_table(earlier, tmp_path / "new.parquet", new, from_model=str(new))
    rescore_table(earlier, tmp_path / "new.parquet", new, from_model=str(old))
    rescore_table(table, tmp_path / "same.parquet", new)
    assert rows_of(tmp_path / "new.parquet") == rows_of(tmp_path / "same.parquet")
    assert metadata_of(tmp_path / "new.parquet")["vidcnn.backbone_sha256"]
    rescore_table(earlier, tmp_path / "own.parquet", old, top_k=1)  # the model of the table itself
    assert {len(row["top_labels"]) for row in rows_of(tmp_path / "own.parquet") if row["error"] is None} == {1}


def test_embeddings_of_another_backbone_are_refused_with_what_differs(
    table: Path, old: Path, new: Path, tmp_path: Path
) -> None:
    out = tmp_path / "new.parquet"
    with pytest.raises(ModelError, match=r"are not of the backbone of .*: other clips: num frames 8, now 4"):
        rescore_table(table, out, new, num_frames=4)
    bundle = Bundle.load(new)
    first = next(name for name in load(bundle.weights) if not name.startswith("classifier."))
    others = {
        "other weights before the last layer": replace(
            bundle, weights=save(load(bundle.weights) | {first: load(bundle.weights)[first] + 1})
        ),
        "other preprocessing": replace(bundle, preprocessing=replace(bundle.preprocessing, interpolation="area")),
        "or other arguments": replace(bundle, arguments={**bundle.arguments, "input_mode": "difference"}),
        "another model: simple3d, now r3d_18": make_bundle("r3d_18", weights="random", num_classes=2),
    }
    for number, (words, other) in enumerate(others.items()):
        other.save(tmp_path / str(number))
        with pytest.raises(ModelError, match=words):
            rescore_table(table, out, tmp_path / str(number))
    assert not out.exists()


def test_what_cannot_be_scored_again_is_refused(
    videos: Path, table: Path, old: Path, new: Path, tmp_path: Path
) -> None:
    rescore_table(table, tmp_path / "new.parquet", new)
    with pytest.raises(SourceError, match=r"new\.parquet has no embeddings.*--embedding"):
        rescore_table(tmp_path / "new.parquet", tmp_path / "newer.parquet", new)
    with pytest.raises(SettingsDifferError, match="another way of computing: scored from embeddings, now videos"):
        infer(videos, tmp_path / "new.parquet", new)
    with pytest.raises(SettingsDifferError, match="other weights"):
        rescore_table(table, tmp_path / "new.parquet", old)
