from __future__ import annotations

import pytest

from vidcnn.config import EvaluateSpec, Spec, TrainSpec
from vidcnn.config.base import read_spec
from vidcnn.config.train import parse_list, parse_range, parse_size
from vidcnn.errors import UsageError
from vidcnn.sampling.segments import Sampling


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epochs": 0}, r"--epochs (0) must be > 0"),
        ({"batch_size": -1}, r"--batch-size (-1) must be > 0"),
        ({"workers": 0}, r"--workers (0) must be > 0"),
        ({"keep_best": 0}, r"--keep-best (0) must be > 0"),
        ({"workers": 10**9}, r"--workers (1000000000) must be <= 65,536"),
        ({"num_frames": 0}, r"--num-frames (0) must be in (0, 16384]"),
        ({"num_frames": 10**9}, r"--num-frames (1000000000) must be in (0, 16384]"),
        ({"seed": -1}, r"--seed (-1) must be >= 0"),
        ({"seed": 2**63}, r"--seed (9223372036854775808) must be <= 9,223,372,036,854,775,807"),
        ({"lr": 1e300}, r"--lr (1e+300) must be <= 1e+09"),
        ({"crop": "9000"}, r"--crop (9000) must be <= 8192 pixels"),
        ({"resize": "10x10000000"}, r"--resize (10x10000000) must be <= 8192 pixels"),
        ({"width": 0}, r"--width (0) must be > 0"),
        ({"dropout": 1}, r"--dropout (1) must be in [0, 1)"),
        ({"fps": 0}, r"--fps (0) must be in [0.001, 1000]"),
        ({"stride": 2, "fps": 15}, r"--stride and --fps exclude each other"),
        ({"val_fraction": 1.5}, r"--val-fraction (1.5) must be in [0, 1]"),
        ({"erasing": -0.1}, r"--erasing (-0.1) must be in [0, 1]"),
        ({"label_smoothing": 2}, r"--label-smoothing (2) must be in [0, 1]"),
        ({"crop": "0x5"}, r"--crop (0x5) must be a number of pixels, or HEIGHTxWIDTH"),
        ({"resize": "1x2x3"}, r"--resize (1x2x3) must be a number of pixels, or HEIGHTxWIDTH"),
        ({"crop_scale": "1:0.5"}, r"--crop-scale (1:0.5) must be LEAST:MOST, the smaller number first"),
        ({"crop_scale": "a"}, r"--crop-scale (a) must be two numbers, LEAST:MOST"),
        ({"crop_scale": "0:1"}, r"--crop-scale (0:1) must be in (0, 1]"),
        ({"flip": "left"}, r"--flip (left) must be 'on' or 'off'"),
        ({"rand_augment": 31}, r"--rand-augment (31) must be in [0, 30]"),
        ({"mixup": -1}, r"--mixup (-1) must be >= 0"),
        ({"lr": 0}, r"--lr (0) must be > 0"),
        ({"lr": float("inf")}, r"--lr (inf) must be a finite number"),
        ({"momentum": 1}, r"--momentum (1) must be in [0, 1)"),
        ({"ema": 1}, r"--ema (1) must be in (0, 1)"),
        ({"schedule": "multistep"}, r"--schedule multistep needs --milestones"),
        ({"milestones": "2"}, r"--milestones belong to --schedule multistep, not cosine"),
        ({"schedule": "multistep", "milestones": "2,x"}, r"--milestones (2,x) must be numbers of epochs"),
        ({"schedule": "multistep", "milestones": "inf"}, r"--milestones (inf) must be numbers of epochs"),
        ({"ephocs": 3}, r"--ephocs is not known"),
    ],
)
def test_training_that_cannot_be_meant_is_refused_by_the_option(values: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_spec(TrainSpec, values)
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "--data is missing"),
        ({"data": "x", "clips": 0}, "--clips (0) must be > 0"),
        ({"data": "x", "crops": "2"}, "--crops (2) must be '1' or '3'"),
        ({"data": "x", "split": "dev"}, "--split (dev) must be 'auto', 'train', 'val', 'test' or 'all'"),
        ({"data": "x", "val_fraction": -1}, "--val-fraction (-1) must be in [0, 1]"),
        ({"data": "x", "image_fps": 2000}, "--image-fps (2000) must be in [0.001, 1000]"),
    ],
)
def test_an_evaluation_that_cannot_be_meant_is_refused_by_the_option(values: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_spec(EvaluateSpec, values)
    assert message in caught.value.message


def test_several_mistakes_are_said_at_once() -> None:
    with pytest.raises(UsageError, match=r"--epochs \(0\) must be > 0; --lr \(-1\) must be > 0"):
        read_spec(TrainSpec, {"epochs": 0, "lr": -1})


@pytest.mark.parametrize(
    ("spec_type", "values", "field", "text"),
    [
        (TrainSpec, {"crop": 112}, "crop", "112"),
        (TrainSpec, {"resize": 256}, "resize", "256"),
        (TrainSpec, {"crop_scale": 0.5}, "crop_scale", "0.5"),
        (TrainSpec, {"freeze": ["stem", "layer1"]}, "freeze", "stem,layer1"),
        (TrainSpec, {"flip_pairs": ["a=b", "c=d"]}, "flip_pairs", "a=b,c=d"),
        (TrainSpec, {"schedule": "multistep", "milestones": [20, 30.5]}, "milestones", "20,30.5"),
        (TrainSpec, {"schedule": "multistep", "milestones": 20}, "milestones", "20"),
        (EvaluateSpec, {"data": "x", "crops": 3}, "crops", "3"),
    ],
)
def test_numbers_and_lists_of_a_job_file_are_taken_as_they_are_written_on_the_command_line(
    spec_type: type[Spec], values: dict[str, object], field: str, text: str
) -> None:
    assert getattr(read_spec(spec_type, values), field) == text


def test_training_takes_clips_as_the_model_does_unless_the_user_says_otherwise() -> None:
    own = Sampling(16, fps=15)
    assert TrainSpec().clip_sampling(own) == own
    assert TrainSpec(num_frames=8).clip_sampling(own) == Sampling(8, fps=15)
    assert TrainSpec(stride=4).clip_sampling(own) == Sampling(16, stride=4)
    assert TrainSpec(fps=30).clip_sampling(Sampling(16, stride=2)) == Sampling(16, fps=30)


def test_sizes_ranges_and_lists_are_read_as_they_are_meant() -> None:
    assert (parse_size("112"), parse_size("128x171")) == (112, (128, 171))
    assert (parse_range("0.25:1"), parse_range("0.5")) == ((0.25, 1.0), (0.5, 0.5))
    assert (parse_list(None), parse_list(" a, b,,c ")) == ((), ("a", "b", "c"))
