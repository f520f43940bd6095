from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import pytest
import torch

from tests.foreign import linked, piped
from tests.training.disk import files_no_larger_than
from vidcnn.errors import OutputError
from vidcnn.training.checkpoints import CheckpointStore, load_state


def state(step: int) -> dict[str, Any]:
    return {
        "step": step,
        "network": {"weight": torch.full((3000 if step != 2 else 100_000,), float(step))},
        "average": None,
    }


def filled(directory: Path, scores: dict[int, float | None], num_best: int = 1) -> CheckpointStore:
    with CheckpointStore(directory, num_best) as store:
        for step, score in scores.items():
            store.save(step, state(step), score)
        store.wait()
    return CheckpointStore(directory, num_best)


def steps(store: CheckpointStore) -> list[int]:
    return [checkpoint.step for checkpoint in store.list()]


def test_the_newest_and_the_best_are_kept(tmp_path: Path) -> None:
    scores = {10: 0.5, 20: 0.9, 25: None, 30: 0.7, 40: 0.6, 45: None}
    store = filled(tmp_path, scores)
    assert [(found.step, found.score) for found in store.list()] == [(20, 0.9), (40, 0.6), (45, None)]
    assert steps(filled(tmp_path / "more", scores, num_best=2)) == [20, 30, 40, 45]
    assert steps(filled(tmp_path / "none", scores, num_best=0)) == [40, 45]
    assert len(list(tmp_path.glob("step_*"))) == 6
    newest = store.load_newest()
    assert newest is not None
    assert (newest[0].step, newest[1]["step"]) == (45, 45)


def test_the_best_is_the_latest_of_equals_and_the_newest_where_there_is_no_score(tmp_path: Path) -> None:
    for name, scores, expected in (
        ("equals", {1: 0.4, 2: 0.9, 3: 0.9, 4: 0.8, 5: None}, 3),
        ("without scores", {1: None, 2: None}, 2),
        ("zero", {1: 0.0, 2: None}, 1),
    ):
        best = filled(tmp_path / name, scores).load_best()
        assert best is not None
        assert best[0].step == expected, name
    assert CheckpointStore(tmp_path / "absent").load_best() is None
    assert CheckpointStore(tmp_path / "absent").load_newest() is None


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def turn_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4  # in the middle of the weights
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [truncate, cut_short, empty, turn_a_bit])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(damage: Any, tmp_path: Path) -> None:
    store = filled(tmp_path, {1: None, 2: None})
    damage(store.list()[-1].path)
    found = store.load_newest()
    assert found is not None
    assert (found[0].step, found[1]["step"]) == (1, 1)
    with pytest.raises(OutputError, match=r"the checkpoint .*step_00000002\.pt cannot be read: .*: bring back a copy"):
        load_state(store.list()[-1].path)


def test_a_run_whose_checkpoints_are_all_damaged_does_not_begin_anew_unasked(tmp_path: Path) -> None:
    store = filled(tmp_path, {1: None, 2: None})
    for checkpoint in store.list():
        truncate(checkpoint.path)
    with pytest.raises(OutputError, match=r"step_00000002\.pt cannot be read"):
        store.load_newest()


def test_nothing_but_tensors_and_plain_values_is_read(tmp_path: Path) -> None:
    store = filled(tmp_path, {1: None})
    torch.save({"step": Path("/")}, store.list()[0].path)
    with pytest.raises(OutputError, match="cannot be read"):
        load_state(store.list()[0].path)


@pytest.mark.parametrize("limit", [500, 9000, 100_000])
def test_a_disk_that_takes_no_more_leaves_the_last_checkpoint_and_says_so(limit: int, tmp_path: Path) -> None:
    filled(tmp_path, {1: None})
    with CheckpointStore(tmp_path) as store:
        with files_no_larger_than(limit):
            store.save(2, state(2))
            with pytest.raises(OutputError) as caught:
                store.wait()
        reason = os.strerror(errno.EFBIG)
        assert caught.value.message == f"cannot write a checkpoint to {tmp_path}: {reason}"
        assert caught.value.hint == "the one of step 1 is whole; make room, and the same command continues from there"
        assert steps(store) == [1]
        assert not list(tmp_path.glob(".*"))
        store.save(3, state(3))
        store.wait()
        assert steps(store) == [1, 3]


def test_the_first_checkpoint_may_be_the_one_that_fails(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").write_text("a file")
    with CheckpointStore(tmp_path / "checkpoints") as store:
        store.save(1, state(1))
        with pytest.raises(OutputError, match=r"cannot write a checkpoint to .*: File exists"):
            store.save(2, state(2))


def test_what_a_killed_process_left_half_written_is_removed_and_never_read(tmp_path: Path) -> None:
    store = filled(tmp_path, {1: None})
    (tmp_path / ".step_00000007.pt.part").write_bytes(b"half")
    (tmp_path / "step_00000008.json").write_text('{"step": 8, "score": 1.0}')
    assert steps(store) == [1]
    filled(tmp_path, {2: None})
    assert not list(tmp_path.glob(".*"))


def test_a_card_that_cannot_be_read_is_a_checkpoint_without_a_score(tmp_path: Path) -> None:
    store = filled(tmp_path, {1: 0.5, 2: 0.6})
    store.list()[1].path.with_suffix(".json").write_text("{")
    assert [(found.step, found.score) for found in store.list()] == [(1, 0.5), (2, None)]


def expanded(path: Path) -> None:
    torch.save({"step": 2, "network": {"weight": torch.ones(1).expand(2**16, 2**17)}}, path)


def shared(path: Path) -> None:
    weight = torch.ones(10_000)
    torch.save({"step": 2, "network": {str(number): weight.view(-1) for number in range(1000)}}, path)


def compressed(path: Path) -> None:
    with ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with ZipFile(path, "w", ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


@pytest.mark.parametrize("attack", [expanded, shared, compressed, linked, piped])
def test_a_checkpoint_that_asks_for_more_than_it_has_or_is_elsewhere_gives_way(attack: Any, tmp_path: Path) -> None:
    store = filled(tmp_path, {1: None, 2: None})
    attack(store.list()[-1].path)
    found = store.load_newest()
    assert found is not None
    assert (found[0].step, found[1]["step"]) == (1, 1)


@pytest.mark.parametrize(
    "text", ["[" * 10**6, '{"score": NaN}', '{"score": "high"}', '{"score": 1e999}', '{"score": [1]}']
)
def test_a_card_with_no_score_that_counts_is_one_without(text: str, tmp_path: Path) -> None:
    store = filled(tmp_path, {1: 0.5, 2: 0.6})
    store.list()[1].path.with_suffix(".json").write_text(text)
    assert [(found.step, found.score) for found in store.list()] == [(1, 0.5), (2, None)]
