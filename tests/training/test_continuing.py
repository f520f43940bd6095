from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.cases import recipe, share, tiny_bundle
from vidcnn.errors import OutputError
from vidcnn.training.batch import Worker
from vidcnn.training.continuing import weights_in
from vidcnn.training.loop import Trainer
from vidcnn.training.result import trained_weights

State = dict[str, Any]


def trained(directory: Path, **values: Any) -> Trainer:
    trainer = Trainer(tiny_bundle(directory), recipe(**values), Worker())
    trainer.train_step(share(Worker(), 0))
    return trainer


def widen(weights: State) -> None:
    name = max(weights, key=lambda name: weights[name].ndim)
    weights[name] = torch.cat([weights[name], weights[name]])


def average_of(state: State) -> State:
    return next(values for values in state["optimizer"]["state"].values() if values["exp_avg"].ndim > 1)


CHANGES: dict[str, Callable[[State], Any]] = {
    "it does not say its step": lambda state: state.pop("step"),
    "it says that -1 steps are done": lambda state: state.update(step=-1),
    "it says that '1' steps are done": lambda state: state.update(step="1"),
    "it says that True steps are done": lambda state: state.update(step=True),
    "it has no weights of its network": lambda state: state.pop("network"),
    "it has no weights of its network ": lambda state: state.update(network=[1]),
    "it has no weights of its network  ": lambda state: state["network"].update(weight=1),
    "its network is another one: unexpected more": lambda state: state["network"].update(more=torch.zeros(1)),
    "its network is another one: missing": lambda state: state["network"].popitem(),
    "its network is another one: shape of": lambda state: widen(state["network"]),
    "it has no moving average": lambda state: state.pop("average"),
    "it has no weights of its average": lambda state: state.update(average=5),
    "its average is another one: shape of": lambda state: widen(state["average"]),
    "it has no state of an optimizer": lambda state: state.pop("optimizer"),
    "it has no state of an optimizer ": lambda state: state["optimizer"].pop("param_groups"),
    "it has no state of an optimizer  ": lambda state: state["optimizer"].update(state={"a": {}}),
    "its optimizer is another one": lambda state: state["optimizer"]["param_groups"].pop(),
    "its optimizer is another one ": lambda state: state["optimizer"]["param_groups"][0].pop("peak"),
    "its optimizer is another one  ": lambda state: state["optimizer"]["state"].update({999: {}}),
    "its optimizer is for weights of other shapes": lambda state: widen(average_of(state)),
}


@pytest.mark.parametrize("reason", CHANGES)
def test_a_state_that_does_not_fit_is_refused_before_anything_is_taken(reason: str, tmp_path: Path) -> None:
    first, second = (trained(tmp_path, ema_decay=0.5) for _ in range(2))
    second.train_step(share(Worker(), 1))
    state = first.state_dict()
    CHANGES[reason](state)
    before = second.state_dict()
    with pytest.raises(ValueError, match=f"^{reason.strip()}"):
        second.load_state_dict(state)
    assert second.step == 2
    after = second.state_dict()
    assert all(torch.equal(after["network"][name], weight) for name, weight in before["network"].items())


def test_a_state_of_this_training_is_taken(tmp_path: Path) -> None:
    for decay in (None, 0.5):
        first, second = (trained(tmp_path, ema_decay=decay) for _ in range(2))
        first.train_step(share(Worker(), 1))
        second.load_state_dict(first.state_dict())
        for trainer in (first, second):
            trainer.train_step(share(Worker(), 2))
        found, wanted = (trained_weights(trainer.state_dict()) for trainer in (second, first))
        assert all(torch.equal(found[name], weight) for name, weight in wanted.items())


def test_a_state_with_an_average_is_none_of_a_training_without(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="it has a moving average"):
        trained(tmp_path).load_state_dict(trained(tmp_path, ema_decay=0.5).state_dict())


def test_weights_are_what_is_there_under_their_name(tmp_path: Path) -> None:
    state = trained(tmp_path, ema_decay=0.5).state_dict()
    assert weights_in(state, "network") is state["network"]
    with pytest.raises(ValueError, match="it has no weights of its head"):
        weights_in(state, "head")


@pytest.mark.parametrize("state", [{}, {"network": 5}, {"network": {}, "average": 5}])
def test_no_bundle_is_made_of_what_is_no_state(state: State) -> None:
    with pytest.raises(OutputError, match="the best checkpoint is not of this run: it has no weights"):
        trained_weights(state)
