from __future__ import annotations

import os
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist

from tests.training.cases import recipe
from tests.training.footage import LABELS, broken, film, run_settings, short_recipe, small_bundle, training_data
from vidcnn.annotations import LabelledVideo
from vidcnn.errors import VidcnnError
from vidcnn.training.batch import Worker
from vidcnn.training.checkpoints import CheckpointStore
from vidcnn.training.feed import DirectLoader, Feed, TrainingData
from vidcnn.training.loop import Trainer
from vidcnn.training.run import run_worker
from vidcnn.training.tally import Tally
from vidcnn.training.validation import Validation, summarise_scores, validate, validation_numbers

NUM_STEPS = 4
EMA = {"plain": None, "averaged": 0.5}


def reach(data: TrainingData, trainer: Trainer, worker: Worker) -> Validation | None:
    feed = Feed(data, DirectLoader(data), worker, 4)
    return validate(trainer, feed, worker, data.val, data.labels, multi_label=False)


def trained(data: TrainingData, directory: Path, worker: Worker, ema_decay: float | None) -> Trainer:
    """Train a little with batch normalisation, which leaves other statistics in each worker."""
    with_recipe = recipe(batch_size=4, learning_rate=0.05, ema_decay=ema_decay)
    trainer = Trainer(small_bundle(directory, batch_norm=True), with_recipe, worker)
    for batch, _ in Feed(data, DirectLoader(data), worker, 4).batches(range(NUM_STEPS)):
        trainer.train_step(batch)
    return trainer


def failure(data: TrainingData, bundle_at: Path, run_at: Path, worker: Worker) -> str:
    """Return what a run fails with in this worker."""
    loader = DirectLoader(data)
    bundle, settings = small_bundle(bundle_at), run_settings(run_at, checkpoint_seconds=0.0)
    try:
        run_worker(bundle, short_recipe(8), data, loader, settings, worker)
    except VidcnnError as error:
        return str(error)
    return "none"


def work(rank: int, rendezvous: str, directory: Path) -> None:
    """One of two workers: does all that the tests below look at, and writes it down."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=2)
    data: TrainingData = pickle.loads((directory / "data.pickle").read_bytes())
    worker, own = Worker(rank, 2), directory / str(rank)
    own.mkdir()
    found: dict[str, Any] = {}
    for name, decay in EMA.items():
        trainer = trained(data, own, worker, decay)
        found[name] = reach(data, trainer, worker), trainer.state_dict()
    (own / "alone").mkdir()
    with CheckpointStore(own / "alone" / "checkpoints") as store:
        counts = {"num_good": 0, "num_bad": 0, "num_short": 0, "unnoted": Tally().values()}
        state = Trainer(small_bundle(own), short_recipe(), Worker()).state_dict()
        store.save(2 * rank, state | {"step": 2 * rank, "counts": counts})
    found["apart"] = failure(data, own, own / "alone", worker)
    found["full disk"] = failure(data, own, directory / "no checkpoints", worker)
    found["no notes"] = failure(data, own, directory / "no notes", worker)
    with open(own / "found.pickle", "wb") as file:
        pickle.dump(found, file)
    os._exit(0)  # torch's threads are not always gone when the interpreter ends, and then abort it


@dataclass
class Outcome:
    data: TrainingData
    directory: Path
    found: list[dict[str, Any]]


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """What two workers found that trained and validated together."""
    directory = tmp_path_factory.mktemp("workers")
    train = [film(directory, f"train{number}.mp4", 10, label=number % 4) for number in range(6)]
    val = [film(directory, f"{number}.mp4", 10 + number, label=number % 4) for number in range(6)]
    data = training_data(train, [*val[:2], broken(directory, "bad.mp4", 2), *val[2:]], num_val_clips=3)
    (directory / "data.pickle").write_bytes(pickle.dumps(data))
    (directory / "no checkpoints").mkdir()
    (directory / "no checkpoints" / "checkpoints").write_text("in the way")
    (directory / "no notes" / "metrics.jsonl").mkdir(parents=True)
    torch.multiprocessing.spawn(work, (str(directory / "rendezvous"), directory), nprocs=2)  # type: ignore[no-untyped-call]
    found = [pickle.loads((directory / str(rank) / "found.pickle").read_bytes()) for rank in range(2)]
    return Outcome(data, directory, found)


@pytest.mark.parametrize("name", EMA)
def test_two_workers_find_exactly_what_one_finds_with_the_weights_that_are_saved(name: str, outcome: Outcome) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    together, state = outcome.found[0][name]
    assert outcome.found[1][name][0] is None
    alone = trained(outcome.data, outcome.directory, Worker(), EMA[name])
    alone.load_state_dict(state)
    found = reach(outcome.data, alone, Worker())
    torch.set_num_threads(before)
    assert found is not None
    assert found == together
    assert (found.videos.num_samples, found.clips.num_samples, found.num_bad_videos) == (6, 18, 1)
    own = outcome.found[1][name][1]["network"]
    assert any(not torch.equal(own[key], state["network"][key]) for key in own) == (name == "averaged")


def test_workers_that_see_other_checkpoints_do_not_train_together(outcome: Outcome) -> None:
    for rank, found in enumerate(outcome.found):
        assert found["apart"] == (
            f"the workers find checkpoints of different steps in {outcome.directory / str(rank) / 'alone'}: "
            "give an --out that all machines see"
        )


@pytest.mark.parametrize(
    ("name", "message"),
    [("full disk", "cannot write a checkpoint to .*checkpoints: .*"), ("no notes", "cannot write notes to .*: .*")],
)
def test_what_the_first_worker_cannot_write_ends_the_others_too(name: str, message: str, outcome: Outcome) -> None:
    import re

    first, second = (found[name] for found in outcome.found)
    assert re.fullmatch(message, first)
    assert first == second


def video(label: tuple[int, ...]) -> LabelledVideo:
    return LabelledVideo(None, label)  # type: ignore[arg-type]


def test_every_clip_counts_once_in_any_order_of_workers() -> None:
    rng = np.random.default_rng(0)
    samples = tuple(video((number % 4,)) for number in range(5))
    scores = [rng.random((3, 4), np.float32) for _ in range(4)]
    numbers = [np.full(3, index) for index in (0, 1, 3, 4)]  # video 2 is bad
    found = summarise_scores(numbers, scores, samples, LABELS, multi_label=False)
    assert (found.clips.num_samples, found.videos.num_samples, found.num_bad_videos) == (12, 4, 1)
    targets = np.array([0, 1, 3, 0])
    assert found.videos.top1 == np.mean([part.mean(axis=0).argmax() for part in scores] == targets)
    assert found.clips.top1 == np.mean(np.concatenate(scores).argmax(axis=1) == targets.repeat(3))
    for order in ([3, 2, 1, 0], [1, 0, 3, 2]):
        turned = summarise_scores(
            [numbers[i] for i in order], [scores[i] for i in order], samples, LABELS, multi_label=False
        )
        assert turned == found
    assert found.score == found.videos.top1


def test_several_labels_are_measured_by_average_precision() -> None:
    samples = (video((0, 1)), video((2,)), video(()))
    scores = [np.array([[0.9, 0.8, 0.1, 0.2]], np.float32), np.array([[0.1, 0.2, 0.7, 0.6]], np.float32)]
    found = summarise_scores([np.array([0]), np.array([1])], scores, samples, LABELS, multi_label=True)
    assert found.score == found.videos.mean_average_precision == 1.0
    assert validation_numbers(found) == {
        "num_videos": 2,
        "num_bad_videos": 1,
        "mean_average_precision": 1.0,
        "clip_mean_average_precision": 1.0,
    }


def test_a_validation_of_nothing_has_no_score() -> None:
    found = summarise_scores([], [], (video((0,)),), LABELS, multi_label=False)
    assert (found.score, found.num_bad_videos) == (None, 1)
    assert validation_numbers(found) == {"num_videos": 0, "num_bad_videos": 1}
