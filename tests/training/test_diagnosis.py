from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

from tests.training.cases import batch, recipe, tiny_bundle
from vidcnn.errors import DataError, ModelError, VidcnnError
from vidcnn.training.batch import Worker
from vidcnn.training.diagnosis import Findings, explain
from vidcnn.training.loop import Trainer

SOUND = Findings((), (), is_finite=True, began_finite=True, bad_plain_losses=(), largest_weight=1, begins_finite=True)


def told(*seen: Findings, precision: str = "bf16", is_compiled: bool = False) -> VidcnnError:
    names = [[f"{worker}{row}.mp4" for row in range(3)] for worker in "ab"[: len(seen)]]
    return explain(seen, names, step=7, precision=precision, is_compiled=is_compiled)


def test_arithmetic_is_at_fault_if_float32_gives_numbers_in_every_worker() -> None:
    error = told(SOUND, replace(SOUND, bad_gradients=("layer4.weight",)))
    assert isinstance(error, ModelError)
    assert error.message.startswith("in step 7 the gradient of layer4.weight is not a number in bf16 but is one where")
    assert error.hint.startswith("train with --precision fp32")
    both = told(SOUND, is_compiled=True)
    assert both.hint.startswith("train with --precision fp32 and --compile off")
    assert told(SOUND, precision="fp32").hint == "report it with the version of torch and the processor's name"


def test_the_rate_is_at_fault_if_the_weights_to_begin_with_give_numbers() -> None:
    error = told(SOUND, replace(SOUND, is_finite=False, bad_losses=(0, 2), largest_weight=3e27))
    assert isinstance(error, DataError)
    assert error.message.startswith("in step 7 the loss of b0.mp4, b2.mp4 is not a number: the weights have grown too")
    assert "the largest is 3e+27" in error.message
    assert error.hint == "lower --lr, or set --clip-norm 1"


def test_the_videos_are_looked_at_if_no_weights_give_numbers() -> None:
    error = told(replace(SOUND, is_finite=False, began_finite=False, bad_losses=(0, 1), bad_plain_losses=(1,)), SOUND)
    assert isinstance(error, DataError)
    assert error.hint == "look at a1.mp4 and their labels: mend or leave them out"


def test_weights_that_are_no_numbers_to_begin_with_are_told() -> None:
    error = told(replace(SOUND, is_finite=False, began_finite=False, begins_finite=False))
    assert isinstance(error, ModelError)
    assert error.message.endswith("the weights that training began with are no numbers")


def find_out(trainer: Trainer, given: Any) -> Findings:
    assert not trainer.train_step(given).is_finite
    return trainer.find_out(given)


def test_a_label_that_is_no_number_is_found(tmp_path: Path) -> None:
    given = batch(range(8))
    given.targets[3] = np.nan
    found = find_out(Trainer(tiny_bundle(tmp_path), recipe(accumulation_steps=2), Worker()), given)
    assert (found.bad_losses, found.bad_plain_losses) == ((3,), (3,))
    assert (found.is_finite, found.began_finite, found.begins_finite) == (False, False, True)


def test_weights_that_have_grown_are_found(tmp_path: Path) -> None:
    trainer = Trainer(tiny_bundle(tmp_path), recipe(), Worker())
    with torch.no_grad():
        for weight in trainer.trained.parameters():
            weight.mul_(1e30)
    found = find_out(trainer, batch(range(8)))
    assert (found.is_finite, found.began_finite, found.begins_finite) == (False, True, True)
    assert found.largest_weight > 1e25


def test_weights_that_are_no_numbers_to_begin_with_are_found(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path)
    state = load(bundle.weights)
    state["hidden.weight"][0, 0] = float("nan")
    found = find_out(Trainer(replace(bundle, weights=save(state)), recipe(), Worker()), batch(range(8)))
    assert (found.is_finite, found.began_finite, found.begins_finite) == (False, False, False)


@pytest.mark.parametrize("values", [{}, {"ema_decay": 0.9}, {"frozen": ("features",)}])
def test_looking_changes_no_weight(values: dict[str, Any], tmp_path: Path) -> None:
    trainer = Trainer(tiny_bundle(tmp_path, batch_norm=True), recipe(**values), Worker())
    before = {name: weight.clone() for name, weight in trainer.trained.named_parameters()}
    given = batch(range(8))
    given.targets[3] = np.nan
    find_out(trainer, given)
    assert all(torch.equal(before[name], weight) for name, weight in trainer.trained.named_parameters())
