from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vidcnn.annotations import Annotations, LabelledVideo
from vidcnn.config import TrainSpec
from vidcnn.errors import ModelError, UsageError, VidcnnError
from vidcnn.inference.golden import with_golden
from vidcnn.models.resolve import make_bundle
from vidcnn.sampling.segments import Sampling
from vidcnn.sources import SourceVideo
from vidcnn.training.data import read_data
from vidcnn.training.mixing import Mixing
from vidcnn.training.plan import TrainingPlan, plan_training
from vidcnn.training.progress import progress_line
from vidcnn.training.report import plan_text
from vidcnn.training.state import RunState

LABELS = ("a", "b", "c")


def annotations(num_train: int = 40, num_val: int = 10, labels: tuple[str, ...] = LABELS, **values: Any) -> Annotations:
    def videos(split: str, number: int) -> tuple[LabelledVideo, ...]:
        names = [f"{split}{index}.mp4" for index in range(number)]
        listed = [SourceVideo(name, f"/videos/{name}", False, 1000, 5, None, None) for name in names]
        return tuple(LabelledVideo(video, (index % len(labels),)) for index, video in enumerate(listed))

    splits = {"train": videos("train", num_train), "val": videos("val", num_val), "test": ()}
    return replace(Annotations(labels, False, splits, {}), **values)


def plan(
    given: Annotations | None = None, *, num_workers: int = 1, precision: Any = "fp32", **values: Any
) -> TrainingPlan:
    options = {"data": "videos", "out": "run", "model": "simple3d", "width": 0.1, "cache_gb": 0}
    spec = TrainSpec(**{**options, **values})
    return plan_training(spec, given or annotations(), Path("run"), num_workers=num_workers, precision=precision)


def test_a_job_is_worked_out_in_steps() -> None:
    found = plan(epochs=8, batch_size=16, warmup_epochs=2, val_epochs=0.5, repeats=2, checkpoint_seconds=7, keep_best=3)
    assert found.steps_per_epoch == 5.0
    assert (found.recipe.num_steps, found.recipe.warmup_steps) == (40, 10)
    assert (found.run.directory, found.run.mirror) == (Path("run"), None)
    assert (found.run.note_steps, found.run.validate_steps) == (1, 2)
    assert (found.run.checkpoint_seconds, found.run.num_best) == (7, 3)
    assert (found.data.order.epoch_size, found.data.order.repeats, found.data.order.seed) == (80, 2, 0)
    assert (len(found.data.train), len(found.data.val), found.data.labels) == (40, 10, LABELS)
    assert found.bundle.labels == LABELS
    assert found.bundle.sampling == Sampling(16, fps=15)
    assert found.bundle.provenance.data == "videos"
    assert found.bundle.provenance.settings["epochs"] == 8
    assert (found.data.augmentation.crop, found.data.augmentation.flip, found.data.flips.is_on) == (
        (64, 64),
        True,
        True,
    )
    assert found.data.cache is None
    many = plan(annotations(10_000), batch_size=8, epochs=1, warmup_epochs=3)
    assert (many.run.note_steps, many.run.validate_steps, many.recipe.num_steps) == (50, 1250, 1250)
    assert many.recipe.warmup_steps == 625


def test_epochs_become_steps_in_the_schedule() -> None:
    found = plan(schedule="multistep", milestones="1, 2.5", gamma=0.5, batch_size=10, epochs=4, warmup_epochs=0)
    assert found.recipe.milestones == (4, 10)
    assert [found.recipe.rate(step) for step in (0, 3, 4, 9, 10, 15)] == [1, 1, 0.5, 0.5, 0.25, 0.25]


def test_what_simple3d_is_made_of_goes_into_the_bundle() -> None:
    assert plan().bundle.arguments == {"width": 0.1}
    found = plan(input_mode="differences", downsample="strided", batch_norm=True, dropout=0.1)
    assert found.bundle.arguments == {
        "width": 0.1, "input_mode": "differences", "downsample": "strided", "batch_norm": True, "dropout": 0.1,
    }  # fmt: skip
    with pytest.raises(ModelError, match="r3d_18 has no argument input_mode"):
        plan(model="r3d_18", weights="random", width=None, input_mode="both")


def test_frames_are_resized_as_the_user_says_or_as_the_model_has_it() -> None:
    assert plan().bundle.preprocessing.interpolation == "bilinear"
    assert plan(interpolation="area").bundle.preprocessing.interpolation == "area"


def test_settings_of_the_recipe_arrive() -> None:
    values = {
        "optimizer": "sgd",
        "momentum": 0.8,
        "weight_decay": 0.01,
        "label_smoothing": 0.2,
        "clip_norm": 3.0,
        "accumulation_steps": 2,
        "seed": 9,
    }
    found = plan(
        **values, lr=0.5, backbone_lr=0.1, ema=0.9, mixup=0.3, cutmix=0.7, freeze="features, hidden", compile="on"
    ).recipe
    assert (found.optimizer, found.momentum, found.weight_decay, found.label_smoothing, found.clip_norm) == (
        "sgd",
        0.8,
        0.01,
        0.2,
        3.0,
    )
    assert (found.accumulation_steps, found.seed, found.learning_rate, found.backbone_rate) == (2, 9, 0.5, 0.1)
    assert (found.ema_decay, found.mixing, found.frozen, found.compile) == (
        0.9,
        Mixing(0.3, 0.7),
        ("features", "hidden"),
        True,
    )


@pytest.mark.parametrize(
    ("values", "resize", "crop"),
    [
        ({}, (72, 72), (64, 64)),
        ({"crop": "32"}, (36, 36), (32, 32)),
        ({"crop": "48x80"}, (90, 90), (48, 80)),
        ({"resize": "100"}, 100, (64, 64)),
        ({"resize": "80x120", "crop": "70x110"}, (80, 120), (70, 110)),
        ({"resize": "64", "crop": "64"}, 64, (64, 64)),
    ],
)
def test_a_crop_takes_the_resizing_along_unless_that_is_given_too(values: Any, resize: Any, crop: Any) -> None:
    found = plan(**values)
    assert (found.bundle.preprocessing.resize, found.bundle.preprocessing.crop) == (resize, crop)
    assert found.data.augmentation.crop == crop
    assert found.data.clips.preprocessing == found.bundle.preprocessing


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"batch_size": 15, "num_workers": 2},
            "2 workers cannot share a batch of 15 clips in 1 parts each: make --batch-size a multiple of 2",
        ),
        (
            {"batch_size": 12, "num_workers": 2, "accumulation_steps": 4},
            "2 workers cannot share a batch of 12 clips in 4 parts each: make --batch-size a multiple of 8",
        ),
        (
            {"batch_size": 82, "repeats": 2},
            "a batch of 82 clips is more than an epoch: 2 of each of 40 videos: lower --batch-size, or raise --repeats",
        ),
        (
            {"batch_size": 6, "num_workers": 2, "mixup": 0.5},
            "mixup and cutmix take clips in pairs, and a part has 3 (6 clips, workers 2, parts 1): "
            "make --batch-size a multiple of 4",
        ),
        (
            {"batch_size": 4, "accumulation_steps": 4, "cutmix": 1.0},
            "mixup and cutmix take clips in pairs, and a part has 1 (4 clips, workers 1, parts 4): "
            "make --batch-size a multiple of 8",
        ),
        ({"crop": "200", "resize": "100"}, "crop (200, 200) does not fit in frames resized to 100"),
        ({"flip_pairs": "a=z"}, "flip pair 'a=z' names 'z', which is none of the 3 labels"),
        ({"flip_pairs": "a"}, "flip pair 'a' must be of the form 'left=right'"),
    ],
)
def test_what_cannot_work_together_is_refused_with_what_would(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        plan(**values)
    assert str(caught.value) == message


@pytest.mark.parametrize("labels", [("turn_left", "turn_right"), ("Left hook", "other"), ("swipe-RIGHT", "swipe.up")])
def test_classes_that_tell_left_from_right_are_not_mirrored_unasked(labels: tuple[str, ...]) -> None:
    given = annotations(labels=labels)
    with pytest.raises(UsageError) as caught:
        plan(given)
    sided = [label for label in labels if {"left", "right"} & set(label.lower().replace("_", " ").split())]
    assert "clips would be mirrored, and the names of classes distinguish left from right (" in caught.value.message
    assert all(label in caught.value.message for label in sided)
    assert "--flip off" in caught.value.hint
    assert not plan(given, flip="off").data.flips.is_on
    assert plan(given, flip_pairs=f"{labels[0]}={labels[1]}").data.flips.mirrored_class == (1, 0)
    assert plan(given, flip_pairs="").data.flips.mirrored_class == (0, 1)


def test_names_that_only_contain_the_words_are_mirrored() -> None:
    assert plan(annotations(labels=("leftovers", "bright"))).data.flips.is_on


def test_a_bundle_keeps_its_own_size_and_head_and_takes_no_other_width(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("a\nb\nc\n")
    given = make_bundle(
        "simple3d", weights="random", labels=str(tmp_path / "labels.txt"), arguments={"channels": [4], "hidden": 5}
    )
    with_golden(given).save(tmp_path / "bundle")
    found = plan(model=str(tmp_path / "bundle"), width=None, fps=5.0, num_frames=8)
    assert found.bundle.weights == given.weights
    assert found.bundle.sampling == Sampling(8, fps=5.0)
    other = plan(annotations(labels=("x", "y")), model=str(tmp_path / "bundle"), width=None)
    assert other.bundle.labels == ("x", "y")
    assert "new head" in other.bundle.provenance.weights
    assert (found.bundle.golden, other.bundle.golden) == (None, None), "they are of weights that training changes"
    with pytest.raises(UsageError) as caught:
        plan(model=str(tmp_path / "bundle"), width=0.5)
    assert str(caught.value) == (
        f"'{tmp_path / 'bundle'}' is a bundle, which has its own width: leave them out, or train a model by name"
    )


def test_an_unknown_model_or_clips_that_it_cannot_take_are_refused() -> None:
    with pytest.raises(ModelError, match="did you mean simple3d"):
        plan(model="simple3", width=None)
    with pytest.raises(VidcnnError, match="s3d"):
        plan(model="s3d", weights="random", width=None, num_frames=4)


def test_what_is_not_said_is_asked_for() -> None:
    with pytest.raises(UsageError, match="there is no --data to train on: give --data DIR"):
        read_data(TrainSpec(out="run"))
    with pytest.raises(UsageError, match="there is no --out for the run: give --out"):
        read_data(TrainSpec(data="videos"))
    with pytest.raises(UsageError, match=r"val_where \('fold'\) must be column=value"):
        read_data(TrainSpec(data="videos", out="run", val_where="fold"))


def test_only_what_the_weights_depend_on_is_recorded() -> None:
    record = plan().record
    for values in ({"workers": 2}, {"val_clips": 9}, {"keep_best": 4}, {"decoders": 1}, {"device": "cpu"}):
        assert plan(**values).record == record
    for values in ({"lr": 1.0}, {"seed": 1}, {"batch_size": 8}, {"crop": "32"}, {"precision": "bf16"}):
        assert plan(**values).record != record
    for given in (
        annotations(num_train=39),
        annotations(num_val=9),
        annotations(labels=("a", "b", "z")),
        annotations(multi_label=True),
    ):
        assert plan(given).record["data_sha256"] != record["data_sha256"]
    touched = annotations()
    moved = tuple(
        replace(sample, video=replace(sample.video, mtime_ns=6, location="/elsewhere"))
        for sample in touched.splits["train"]
    )
    assert plan(replace(touched, splits={**touched.splits, "train": moved})).record == record
    assert record["precision"] == "fp32"


def test_decoded_frames_are_kept_where_the_user_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    usual = plan(cache_gb=0.5).data.cache
    assert usual is not None
    assert (usual.directory, usual.max_bytes) == (tmp_path / "xdg" / "vidcnn" / "frames", 500_000_000)
    monkeypatch.setenv("XDG_CACHE_HOME", "")  # which counts as not set
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    at_home = plan(cache_gb=0.5).data.cache
    assert at_home is not None
    assert at_home.directory == tmp_path / "home" / ".cache" / "vidcnn" / "frames"
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError) as caught:
        plan(cache_gb=1, cache_dir=str(tmp_path / "file" / "frames"))
    assert caught.value.hint == "give another --cache-dir, or --cache-gb 0"
    assert caught.value.message.startswith(f"decoded frames cannot be kept in '{tmp_path / 'file' / 'frames'}': ")


def test_balanced_sampling_takes_classes_equally_often() -> None:
    given = annotations(num_train=40)
    skewed = tuple(replace(sample, labels=(0 if index else 1,)) for index, sample in enumerate(given.splits["train"]))
    found = plan(replace(given, splits={**given.splits, "train": skewed}), balanced=True)
    taken = [found.data.order.sample(number).video for number in range(40)]
    assert taken.count(0) == 20


def test_a_plan_and_its_progress_are_told_in_words() -> None:
    found = plan(epochs=4, batch_size=10)
    assert plan_text(found).splitlines() == [
        "40 videos to train on (a 14, b 13, c 13)",
        "10 videos to validate on",
        "simple3d from random (seed 0), fp32, 16 steps of 10 clips",
    ]
    assert plan_text(plan(annotations(num_val=0))).splitlines()[1].endswith("the last weights will be taken")
    assert progress_line(found, RunState(step=0, seconds=1.0, first_step=0)) == "epoch 0.0/4 · step 0/16"
    state = RunState(6, 10.0, 2, loss=1.25, accuracy=0.5, waiting=0.125, num_bad=3, score=0.75)
    assert progress_line(found, state) == (
        "epoch 1.5/4 · step 6/16 · loss 1.250 · top-1 50.0% · validation 75.0% · 4.0 clips/s · "
        "waiting for clips 12% · 3 bad samples · 25 s left"
    )
    assert progress_line(found, replace(state, phase="validating")).endswith(" · validating")
