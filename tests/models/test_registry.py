from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import pytest

from vidcnn.errors import ModelError
from vidcnn.models.registry import ARCHITECTURES, Architecture, architecture
from vidcnn.sampling.preprocessing import Preprocessing
from vidcnn.sampling.segments import Sampling

TORCHVISION = [entry for entry in ARCHITECTURES.values() if entry.weights]


def published(entry: Architecture) -> Any:
    from torchvision.models import get_model_weights

    return get_model_weights(entry.name)["KINETICS400_V1"]


def test_naming_a_model_does_not_load_torch() -> None:
    check = "import sys, vidcnn.models.registry as zoo; zoo.architecture('s3d'); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("typed", "meant"), [("r3d18", "r3d_18"), ("R2plus1D_18", "r2plus1d_18"), ("swin3d", "swin3d_t")]
)
def test_an_unknown_name_is_answered_with_close_ones(typed: str, meant: str) -> None:
    with pytest.raises(ModelError, match=f"unknown model '{typed}': did you mean .*{meant}"):
        architecture(typed)


def test_a_name_like_no_other_is_answered_with_all_names() -> None:
    with pytest.raises(ModelError, match="choose one of simple3d, r3d_18"):
        architecture("xyzzy")


@pytest.mark.parametrize("entry", TORCHVISION, ids=lambda entry: entry.name)
def test_preprocessing_is_that_of_torchvisions_preset(entry: Architecture) -> None:
    preset = published(entry).transforms()
    resize = preset.resize_size[0] if len(preset.resize_size) == 1 else tuple(preset.resize_size)
    assert entry.preprocessing == Preprocessing(
        resize=resize,
        crop=tuple(preset.crop_size),
        mean=tuple(preset.mean),
        std=tuple(preset.std),
        interpolation=preset.interpolation.value,
    )


@pytest.mark.parametrize("entry", TORCHVISION, ids=lambda entry: entry.name)
def test_sampling_is_that_of_torchvisions_documentation(entry: Architecture) -> None:
    text = published(entry).meta["_docs"]
    rate, length = re.search(r"`frame_rate=([\d.]+)`.*`clip_len=(\d+)`", text).groups()  # type: ignore[union-attr]
    assert entry.sampling == Sampling(int(length), fps=float(rate))


@pytest.mark.parametrize("entry", TORCHVISION, ids=lambda entry: entry.name)
def test_what_torchvision_calls_too_small_is_refused(entry: Architecture) -> None:
    meta = published(entry).meta
    size, num_frames = min(meta["min_size"]), meta.get("min_temporal_size", 1)
    entry.check_input(entry.sampling, entry.preprocessing)
    if size > 1:
        smaller = Preprocessing(size, (size - 1, size - 1), entry.preprocessing.mean, entry.preprocessing.std)
        with pytest.raises(ModelError, match=f"{size}x{size}"):
            entry.check_input(entry.sampling, smaller)
    if num_frames > 1:
        with pytest.raises(ModelError, match=f"{num_frames} frames"):
            entry.check_input(Sampling(num_frames - 1, stride=1), entry.preprocessing)


def test_a_transformer_with_learned_positions_takes_its_own_clip_length_only() -> None:
    entry = ARCHITECTURES["mvit_v2_s"]
    with pytest.raises(ModelError, match="takes clips of 16 frames cropped to 224x224 only, not 32 frames"):
        entry.check_input(Sampling(32, stride=1), entry.preprocessing)
