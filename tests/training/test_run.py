from __future__ import annotations

import errno
import os
import pickle
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.models import read_weights
from tests.training.footage import broken, film, run_settings, short_recipe, small_bundle, training_data
from vidcnn.errors import DataError, ModelError, OutputError
from vidcnn.models.resolve import starting_bundle
from vidcnn.training import feed as feed_module
from vidcnn.training.batch import Worker
from vidcnn.training.checkpoints import CheckpointStore, load_state
from vidcnn.training.feed import DirectLoader, TrainingData
from vidcnn.training.journal import read_journal
from vidcnn.training.recipe import Recipe
from vidcnn.training.run import run_worker
from vidcnn.training.state import RunState

NUM_STEPS = 12
SHORT = 4
"""The video that is shorter than a clip."""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """The last bit of a sum depends on the number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TrainingData:
    directory = tmp_path_factory.mktemp("videos")
    good = [film(directory, f"{number}.mp4", 3 if number == SHORT else 12, label=number % 4) for number in range(6)]
    return training_data([*good, broken(directory, "bad.mp4", 3)], [*good[:3], good[5]], flip=True)


def run(
    directory: Path,
    data: TrainingData,
    recipe: Recipe | None = None,
    watch: Callable[[RunState], None] = lambda state: None,
    must_stop: Callable[[], bool] = lambda: False,
    **settings: Any,
) -> None:
    directory.mkdir(exist_ok=True)
    recipe = recipe or short_recipe(NUM_STEPS)
    bundle = small_bundle(directory, batch_norm=True)
    run_worker(
        bundle, recipe, data, DirectLoader(data), run_settings(directory, **settings), Worker(), watch, must_stop
    )


def end(directory: Path) -> dict[str, Any]:
    newest = CheckpointStore(directory / "checkpoints").load_newest()
    assert newest is not None
    return newest[1]


def assert_equal(first: Any, second: Any) -> None:
    """Compare two states bit for bit."""
    assert type(first) is type(second)
    if isinstance(first, torch.Tensor):
        assert torch.equal(first, second)
    elif isinstance(first, dict):
        assert first.keys() == second.keys()
        for key in first:
            assert_equal(first[key], second[key])
    elif isinstance(first, list):
        for one, other in zip(first, second, strict=True):
            assert_equal(one, other)
    else:
        assert first == second


@pytest.fixture(scope="module")
def undisturbed(data: TrainingData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("undisturbed")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    run(directory, data)
    torch.set_num_threads(before)
    return directory


def noted(directory: Path) -> list[tuple[str, int]]:
    return [(note["kind"], note["step"]) for note in read_journal(directory)]


ALL_NOTES = [
    *[("train", 2), ("train", 4), ("validation", 5), ("train", 6), ("train", 8), ("train", 10), ("validation", 10)],
    *[("train", 12), ("validation", 12)],
]


def test_a_run_goes_to_its_end_and_says_what_it_saw(data: TrainingData, tmp_path: Path) -> None:
    states: list[RunState] = []
    run(tmp_path, data, watch=states.append, num_best=3)
    assert noted(tmp_path) == ALL_NOTES
    notes = read_journal(tmp_path)
    for note in notes:
        if note["kind"] == "train":
            assert note["loss"] > 0
            assert 0 <= note["top1"] <= 1
            assert note["learning_rate"] > 0
        else:
            assert (note["num_videos"], note["num_bad_videos"]) == (4, 0)
            assert 0 <= note["clip_top1"] <= 1
    checkpoints = CheckpointStore(tmp_path / "checkpoints").list()
    scores = [note["top1"] for note in notes if note["kind"] == "validation"]
    assert [(found.step, found.score) for found in checkpoints] == list(zip((5, 10, 12), scores, strict=True))
    assert end(tmp_path)["step"] == NUM_STEPS
    assert [state.phase for state in states if state.phase != "training"] == ["validating"] * 3 + ["done"]
    assert [state.step for state in states] == sorted(state.step for state in states)
    assert (states[0].step, states[-1].step, states[-1].first_step) == (0, NUM_STEPS, 0)
    assert states[-1].score == scores[-1]
    run(tmp_path, data, watch=states.append)
    assert noted(tmp_path) == ALL_NOTES
    assert (states[-1].phase, states[-1].step, states[-1].first_step) == ("done", NUM_STEPS, NUM_STEPS)


def test_samples_that_are_longer_than_their_video_are_counted_once_over_interruptions(
    data: TrainingData, tmp_path: Path
) -> None:
    states: list[RunState] = []
    run(tmp_path, data, watch=states.append, must_stop=lambda: states[-1].step >= 5)
    assert (states[-1].phase, states[-1].step < NUM_STEPS) == ("stopped", True)
    run(tmp_path, data, watch=states.append)
    drawn = [data.order.sample(number).video for number in range(NUM_STEPS * 4)]
    assert states[-1].num_short == drawn.count(SHORT) > 0
    assert states[-1].num_good == len(drawn) - drawn.count(6)


def test_bad_samples_are_counted_once_and_named(data: TrainingData, undisturbed: Path) -> None:
    notes = [note for note in read_journal(undisturbed) if note["kind"] == "train"]
    drawn = [data.order.sample(number).video for number in range(NUM_STEPS * 4)]
    for note in notes:
        in_note = drawn[4 * (note["step"] - 2) : 4 * note["step"]].count(6)
        assert note["num_bad_samples"] == len(note.get("bad_samples", [])) == in_note
        for sample in note.get("bad_samples", []):
            assert (sample["video"], sample["kind"]) == ("bad.mp4", "unreadable")
    assert sum(note["num_bad_samples"] for note in notes) == drawn.count(6) > 3


class StoppedError(Exception):
    pass


@pytest.mark.parametrize("checkpoint_seconds", [0.0, 1e9])
@pytest.mark.parametrize("last_step", [4, 6, 11])
def test_a_run_that_was_stopped_ends_as_if_it_had_not_been(
    last_step: int, checkpoint_seconds: float, data: TrainingData, undisturbed: Path, tmp_path: Path
) -> None:
    def stop(state: RunState) -> None:
        if state.step >= last_step:
            raise StoppedError

    with pytest.raises(StoppedError):
        run(tmp_path, data, watch=stop, checkpoint_seconds=checkpoint_seconds, note_steps=1)
    torch.rand(17)
    states: list[RunState] = []
    run(tmp_path, data, watch=states.append)
    assert states[0].first_step == (last_step - 1 if not checkpoint_seconds else last_step - last_step % 5)
    assert_equal(end(tmp_path), end(undisturbed))
    steps = [note["step"] for note in read_journal(tmp_path) if note["kind"] == "train"]
    assert steps == sorted(set(steps))
    first, second = (CheckpointStore(directory / "checkpoints").load_best() for directory in (tmp_path, undisturbed))
    assert first is not None
    assert second is not None
    assert (first[0].step, first[0].score) == (second[0].step, second[0].score)


def seen(directory: Path) -> list[dict[str, Any]]:
    """What a run noted, without the time that it took."""
    timed = ("seconds", "waiting", "clips_per_second")
    return [{name: value for name, value in note.items() if name not in timed} for note in read_journal(directory)]


def test_a_run_that_is_told_to_stop_saves_all_that_it_has(
    data: TrainingData, undisturbed: Path, tmp_path: Path
) -> None:
    states: list[RunState] = []
    for num_steps in (1, 2, 4, 3):  # to a step between notes, at a validation, ...
        must_stop = iter([*[False] * (num_steps - 1), True]).__next__
        run(tmp_path, data, watch=states.append, must_stop=must_stop, checkpoint_seconds=0.0)
        assert states[-1].phase == "stopped"
        assert end(tmp_path)["step"] == states[-1].step
    assert [state.step for state in states if state.phase == "stopped"] == [1, 3, 7, 10]
    assert CheckpointStore(tmp_path / "checkpoints").list()[-1].score is not None
    run(tmp_path, data, watch=states.append)
    assert states[-1].num_bad == sum(note.get("num_bad_samples", 0) for note in seen(undisturbed))
    assert seen(tmp_path) == seen(undisturbed)
    assert_equal(end(tmp_path), end(undisturbed))


def test_a_run_that_was_killed_ends_as_if_it_had_not_been(
    data: TrainingData, undisturbed: Path, tmp_path: Path
) -> None:
    (tmp_path / "data.pickle").write_bytes(pickle.dumps(data))
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.training.test_run", tmp_path],
        cwd=Path(__file__).parents[2],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    store = CheckpointStore(tmp_path / "checkpoints")
    wanted = random.randrange(1, 9)
    while child.poll() is None and not (store.list() and store.list()[-1].step >= wanted):
        time.sleep(0.002)
    time.sleep(random.random() * 0.05)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    assert store.list()[-1].step < NUM_STEPS
    run(tmp_path, data)
    assert_equal(end(tmp_path), end(undisturbed))
    steps = [note["step"] for note in read_journal(tmp_path) if note["kind"] == "train"]
    assert steps == sorted(set(steps))


def test_a_run_whose_newest_checkpoint_is_damaged_goes_on_from_the_one_before(
    data: TrainingData, undisturbed: Path, tmp_path: Path
) -> None:
    def stop(state: RunState) -> None:
        if state.step == 8:
            raise StoppedError

    with pytest.raises(StoppedError):
        run(tmp_path, data, watch=stop, checkpoint_seconds=0.0)
    newest = CheckpointStore(tmp_path / "checkpoints").list()[-1]
    newest.path.write_bytes(newest.path.read_bytes()[:-500])
    states: list[RunState] = []
    run(tmp_path, data, watch=states.append)
    assert states[0].first_step == newest.step - 1
    assert noted(tmp_path) == ALL_NOTES
    assert_equal(end(tmp_path), end(undisturbed))


@pytest.mark.parametrize("change", ["network", "name", "counts"])
def test_a_checkpoint_of_another_run_is_refused_by_its_name(change: str, data: TrainingData, tmp_path: Path) -> None:
    def stop(state: RunState) -> None:
        if state.step == 4:
            raise StoppedError

    with pytest.raises(StoppedError):
        run(tmp_path, data, watch=stop, checkpoint_seconds=0.0)
    newest = CheckpointStore(tmp_path / "checkpoints").list()[-1]
    path, state = newest.path, load_state(newest.path)
    if change == "network":
        state["network"] = {f"{name}.0": weight for name, weight in state["network"].items()}
    elif change == "name":
        path = path.with_name("step_00000011.pt")
    else:
        state["counts"] = {"num_good": 1}
    torch.save(state, path)
    with pytest.raises(OutputError) as caught:
        run(tmp_path, data)
    assert caught.value.message.startswith(f"the checkpoint {path} is not of this run: it")
    assert "another --out" in caught.value.hint


def test_a_full_disk_leaves_the_last_checkpoint_from_which_the_run_goes_on(
    data: TrainingData, undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save, num_saved = torch.save, 0

    def fail(*arguments: Any) -> None:
        nonlocal num_saved
        num_saved += 1
        if num_saved > 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        save(*arguments)

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OutputError) as caught:
        run(tmp_path, data, checkpoint_seconds=0.0)
    assert caught.value.message == f"cannot write a checkpoint to {tmp_path / 'checkpoints'}: No space left on device"
    assert caught.value.hint == "the one of step 3 is whole; make room, and the same command continues from there"
    monkeypatch.undo()
    run(tmp_path, data)
    assert_equal(end(tmp_path), end(undisturbed))
    assert noted(tmp_path) == ALL_NOTES


def test_the_last_checkpoint_of_all_must_be_written_too(
    data: TrainingData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", fail)
    phases: list[str] = []
    with pytest.raises(OutputError, match="No space left on device: there is none yet"):
        run(tmp_path, data, short_recipe(2), watch=lambda state: phases.append(state.phase), validate_steps=100)
    assert "done" not in phases


def test_a_loss_that_is_no_number_stops_the_run_and_names_the_videos(
    data: TrainingData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_hot = feed_module.one_hot

    def spoilt(labels: Any, num_classes: int) -> Any:
        targets = one_hot(labels, num_classes)
        targets[targets[:, 2] > 0] = float("nan")
        return targets

    monkeypatch.setattr(feed_module, "one_hot", spoilt)
    step = next(number for number in range(99) if data.order.sample(number).video == 2) // 4
    pattern = (
        rf"in step {step} the loss of 2\.mp4 is not a number, and with the weights that training began with it is none"
    )
    with pytest.raises(DataError, match=pattern):
        run(tmp_path, data, short_recipe(NUM_STEPS), checkpoint_seconds=0.0)


def test_a_run_that_diverges_stops_and_keeps_its_last_checkpoint(data: TrainingData, tmp_path: Path) -> None:
    recipe = replace(short_recipe(NUM_STEPS), optimizer="sgd", learning_rate=1e25, schedule="constant")
    with pytest.raises(
        DataError, match=r"in step \d the .* is not a number: the weights have grown too large"
    ) as caught:
        run(tmp_path, data, recipe, checkpoint_seconds=0.0, validate_steps=100)
    found = CheckpointStore(tmp_path / "checkpoints").load_newest()
    assert found is not None
    # The advice is one that works: another run takes these weights.
    assert caught.value.hint.endswith(f"add --model simple3d --weights {found[0].path}")
    start = small_bundle(tmp_path, batch_norm=True)
    again = starting_bundle("simple3d", start.labels, weights=str(found[0].path), arguments=start.arguments)
    weights = read_weights(found[0].path)
    assert all(torch.equal(weights[name], value) for name, value in found[1]["network"].items())
    assert again.labels == start.labels


@pytest.mark.parametrize(
    ("in_training", "pattern"),
    [
        pytest.param(True, r"in step 0 the loss of .* is not a number in bf16 but is one where", id="step"),
        pytest.param(False, r"after step 1 the scores of .* are not numbers in bf16 but are in float32", id="scores"),
    ],
)
def test_arithmetic_that_gives_no_numbers_is_not_blamed_on_the_videos(
    in_training: bool, pattern: str, data: TrainingData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = nn.Conv3d.forward

    def wrong(self: nn.Conv3d, clips: torch.Tensor) -> torch.Tensor:
        is_wrong = torch.is_autocast_enabled("cpu") and torch.is_grad_enabled() == in_training
        return forward(self, clips) * (float("inf") if is_wrong else 1)

    monkeypatch.setattr(nn.Conv3d, "forward", wrong)
    with pytest.raises(ModelError, match=pattern) as caught:
        run(tmp_path, data, replace(short_recipe(NUM_STEPS), precision="bf16"), validate_steps=1)
    assert caught.value.hint.startswith("train with --precision fp32, with")


def test_scores_that_are_no_numbers_stop_the_run_too(data: TrainingData, tmp_path: Path) -> None:
    recipe = replace(short_recipe(NUM_STEPS), optimizer="sgd", learning_rate=1e25, schedule="constant", ema_decay=None)
    with pytest.raises(DataError, match=r"after step 1 the scores of .*\.mp4 are not numbers, and in float32 neither"):
        run(tmp_path, data, recipe, validate_steps=1)


def test_a_run_of_which_nothing_can_be_decoded_is_an_error(tmp_path: Path) -> None:
    data = training_data([broken(tmp_path, f"bad{number}.mp4", number) for number in range(4)])
    with pytest.raises(DataError, match=r"none of the first 8 samples can be decoded: bad\d\.mp4: .+"):
        run(tmp_path / "run", data)


def test_a_network_without_the_part_to_freeze_is_refused(data: TrainingData, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="has no part 'stem'"):
        run(tmp_path, data, short_recipe(NUM_STEPS, frozen=("stem",)))


def test_without_validation_videos_the_newest_weights_are_the_best(data: TrainingData, tmp_path: Path) -> None:
    run(tmp_path, replace(data, val=()), short_recipe(3))
    best = CheckpointStore(tmp_path / "checkpoints").load_best()
    assert best is not None
    assert (best[0].step, best[0].score) == (3, None)
    assert noted(tmp_path) == [("train", 2), ("train", 3)]


if __name__ == "__main__":  # the process that is killed
    torch.set_num_threads(1)
    given = pickle.loads(Path(sys.argv[1], "data.pickle").read_bytes())
    run(Path(sys.argv[1]), given, watch=lambda state: time.sleep(0.03), checkpoint_seconds=0.0, note_steps=1)
