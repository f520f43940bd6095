from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from tests.precisions import skip_where_imitated
from tests.training.cases import NUM_CLASSES, batch, recipe, share, tiny_bundle
from tests.training.networks import NUM_STEPS, train_in_dirty_memory
from vidcnn.errors import ModelError
from vidcnn.models.bundle import Bundle
from vidcnn.training.batch import Batch, Worker
from vidcnn.training.loop import Trainer
from vidcnn.training.mixing import Mixing
from vidcnn.training.recipe import Recipe
from vidcnn.training.result import trained_weights


def train(bundle: Bundle, with_recipe: Recipe, num_steps: int, worker: Worker | None = None) -> Trainer:
    worker = worker or Worker()
    trainer = Trainer(bundle, with_recipe, worker)
    for step in range(num_steps):
        assert trainer.train_step(share(worker, step, with_recipe.batch_size)).is_finite
    return trainer


def weights(trainer: Trainer) -> dict[str, Tensor]:
    return trained_weights(trainer.state_dict())


def largest_difference(first: dict[str, Tensor], second: dict[str, Tensor]) -> float:
    assert first.keys() == second.keys()
    return max(float((first[name] - second[name]).abs().max()) for name in first)


def run_worker(rank: int, count: int, rendezvous: str, directory: str, values: dict[str, Any], num_steps: int) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=count)
    trainer = train(tiny_bundle(Path(directory)), recipe(**values), num_steps, Worker(rank, count))
    if rank == 0:
        torch.save(weights(trainer), os.path.join(directory, "weights.pt"))
    os._exit(0)  # torch's threads are not always gone when the interpreter ends, and then abort it


def train_with_workers(count: int, directory: Path, values: dict[str, Any], num_steps: int) -> dict[str, Tensor]:
    rendezvous = str(directory / "rendezvous")
    torch.multiprocessing.spawn(  # type: ignore[no-untyped-call]
        run_worker, (count, rendezvous, str(directory), values, num_steps), nprocs=count
    )
    state: dict[str, Tensor] = torch.load(directory / "weights.pt", weights_only=True)
    return state


RECIPES = [
    pytest.param({}, id="adamw"),
    pytest.param(
        {"optimizer": "sgd", "clip_norm": 0.5, "accumulation_steps": 2, "warmup_steps": 5}, id="sgd, accumulated"
    ),
    pytest.param(
        {"mixing": Mixing(mixup_alpha=0.4, cutmix_alpha=1.0), "label_smoothing": 0.1, "ema_decay": 0.9}, id="mixed"
    ),
]


@pytest.mark.parametrize("values", RECIPES)
def test_two_workers_give_the_weights_of_one(values: dict[str, Any], tmp_path: Path) -> None:
    together = train_with_workers(2, tmp_path, values, 50)
    alone = weights(train(tiny_bundle(tmp_path), recipe(**values), 50))
    assert largest_difference(together, alone) < 1e-5
    assert largest_difference(together, weights(train(tiny_bundle(tmp_path), recipe(**values), 49))) > 1e-4


@pytest.mark.parametrize("values", [*RECIPES, pytest.param({"precision": "bf16"}, id="bf16")])
def test_the_same_seed_gives_the_same_weights_and_an_interruption_changes_no_bit(
    values: dict[str, Any], tmp_path: Path
) -> None:
    bundle, with_recipe = tiny_bundle(tmp_path, batch_norm=True), recipe(**values)
    undisturbed = train(bundle, with_recipe, 12)
    begun = train(bundle, with_recipe, 7)
    torch.save(begun.state_dict(), tmp_path / "state.pt")
    begun.train_step(share(Worker(), 7))
    torch.rand(100)  # what the process drew before is no matter
    continued = Trainer(bundle, with_recipe, Worker())
    continued.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert continued.step == 7
    for step in range(7, 12):
        continued.train_step(share(Worker(), step))
    assert largest_difference(weights(undisturbed), weights(continued)) == 0
    other = train(bundle, recipe(**values, seed=4), 12)
    assert largest_difference(weights(undisturbed), weights(other)) > 0


def test_training_lowers_the_loss_and_finds_the_classes(tmp_path: Path) -> None:
    trainer = Trainer(tiny_bundle(tmp_path, dropout=0.0), recipe(learning_rate=0.03), Worker())
    results = [trainer.train_step(share(Worker(), step)) for step in range(100)]
    assert results[0].losses.mean() > 1.2
    assert results[-1].losses.mean() < 0.5
    seen = batch(range(1000, 1040))
    found = trainer.scores(seen.pixels)
    assert found.shape == (40, NUM_CLASSES)
    assert torch.allclose(found.sum(dim=1), torch.ones(40))
    assert (found.argmax(dim=1).numpy() == seen.targets.argmax(axis=1)).mean() > 0.9


def test_a_sample_that_could_not_be_decoded_moves_nothing(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path)
    good = batch(range(8), bad=frozenset({2, 5}))
    pixels = good.pixels.copy()
    pixels[[2, 5]] = 255
    other = Batch(good.samples, pixels, good.targets, good.weights)
    states = []
    for given in (good, other):
        trainer = Trainer(bundle, recipe(), Worker())
        result = trainer.train_step(given)
        assert result.losses[[2, 5]].tolist() == [0, 0]
        states.append(weights(trainer))
    assert largest_difference(*states) == 0


def test_a_step_whose_gradient_is_no_number_changes_nothing_and_says_which_samples(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path)
    trainer = Trainer(bundle, recipe(), Worker())
    before = weights(trainer)
    given = batch(range(8))
    given.targets[3] = np.nan
    result = trainer.train_step(given)
    assert not result.is_finite
    assert torch.isfinite(result.losses).logical_not().nonzero().flatten().tolist() == [3]
    assert (trainer.step, largest_difference(before, weights(trainer))) == (0, 0)


def test_frozen_parts_stay_and_the_backbone_may_learn_more_slowly(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path, batch_norm=True)
    before = weights(Trainer(bundle, recipe(), Worker()))

    def moved(**values: Any) -> set[str]:
        after = weights(train(bundle, recipe(**values), 2))
        return {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}

    assert moved() == {"features", "hidden", "classifier"}
    assert moved(frozen=("backbone",)) == {"classifier"}
    assert moved(frozen=("features",)) == {"hidden", "classifier"}
    assert moved(backbone_rate=0.0, weight_decay=0.0) <= {"features", "classifier"}  # batch statistics are no weights
    with pytest.raises(ModelError, match="no part 'stem' to freeze: its parts are features, hidden, classifier, and"):
        moved(frozen=("stem",))
    with pytest.raises(ModelError, match="nothing is left to train"):
        moved(frozen=("backbone", "classifier"))


def test_the_moving_average_is_what_counts(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path)
    plain, averaged = (weights(train(bundle, recipe(ema_decay=decay), 5)) for decay in (None, 0.99))
    start = weights(Trainer(bundle, recipe(), Worker()))
    assert 0 < largest_difference(averaged, start) < largest_difference(plain, start)


def test_several_labels_are_scored_independently(tmp_path: Path) -> None:
    trainer = Trainer(tiny_bundle(tmp_path), recipe(multi_label=True), Worker())
    given = batch(range(8))
    given.targets[:, 0] = 1
    for _ in range(60):
        trainer.train_step(given)
    found = trainer.scores(given.pixels)
    assert (found[:, 0] > 0.8).all()
    assert (found.sum(dim=1) > 1.05).any()


@pytest.mark.parametrize(
    ("name", "num_frames", "size", "tolerance"),
    [
        # Sizes at which some layer sees fewer frames than its kernel has taps, where the network may be given them.
        pytest.param("simple3d", 4, 64, 0.1, id="simple3d"),
        pytest.param("r3d_18", 16, 32, 0.1, id="r3d_18", marks=pytest.mark.slow),
        pytest.param("mc3_18", 16, 32, 0.1, id="mc3_18", marks=pytest.mark.slow),
        pytest.param("r2plus1d_18", 16, 32, 0.1, id="r2plus1d_18", marks=pytest.mark.slow),
        # So deep, and normalised over two clips, that weights rounded to bf16 change its gradients as much in float32.
        pytest.param("s3d", 16, 224, 0.3, id="s3d", marks=pytest.mark.slow),
        # Transformers: a single convolution, and minutes of arithmetic.
        pytest.param("mvit_v1_b", 16, 224, 0.1, id="mvit_v1_b", marks=pytest.mark.nightly),
        pytest.param("mvit_v2_s", 16, 224, 0.1, id="mvit_v2_s", marks=pytest.mark.nightly),
        pytest.param("swin3d_t", 32, 224, 0.1, id="swin3d_t", marks=pytest.mark.nightly),
        pytest.param("swin3d_s", 32, 224, 0.1, id="swin3d_s", marks=pytest.mark.nightly),
        pytest.param("swin3d_b", 32, 224, 0.1, id="swin3d_b", marks=pytest.mark.nightly),
    ],
)
def test_a_network_trains_in_bf16_as_in_float32_whatever_was_in_memory(
    name: str, num_frames: int, size: int, tolerance: float
) -> None:
    skip_where_imitated("bf16")
    losses = train_in_dirty_memory(name, num_frames, size, timeout=3600)
    assert len(losses["bf16"]) == len(losses["fp32"]) == NUM_STEPS
    assert np.allclose(losses["bf16"], losses["fp32"], atol=tolerance, rtol=0.1)
