from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.training.cases import batch, recipe, share, tiny_bundle
from vidcnn.inference.classifier import Classifier
from vidcnn.models.bundle import Bundle
from vidcnn.sampling.segments import Sampling
from vidcnn.training.batch import Worker
from vidcnn.training.checkpoints import CheckpointStore
from vidcnn.training.loop import Trainer
from vidcnn.training.result import trained_bundle, trained_weights


@pytest.mark.parametrize("values", [{}, {"ema_decay": 0.5}])
def test_a_bundle_scores_as_the_network_did_when_it_was_validated(values: dict[str, Any], tmp_path: Path) -> None:
    drawn = tiny_bundle(tmp_path, batch_norm=True)
    preprocessing = replace(drawn.preprocessing, resize=(16, 16), crop=(16, 16))
    start = replace(drawn, sampling=Sampling(4, stride=1), preprocessing=preprocessing)
    trainer = Trainer(start, recipe(**values, learning_rate=0.05), Worker())
    for step in range(6):
        trainer.train_step(share(Worker(), step))
    with CheckpointStore(tmp_path / "checkpoints") as store:
        store.save(6, trainer.state_dict(), 0.5)
        store.wait()
        newest = store.load_newest()
    assert newest is not None
    made = trained_bundle(start, newest[1], {"top1": 0.5})
    made.save(tmp_path / "bundle")
    loaded = Bundle.load(tmp_path / "bundle")
    assert loaded == made
    assert loaded.weights != start.weights
    assert loaded.provenance == replace(start.provenance, metrics={"top1": 0.5})
    assert (loaded.labels, loaded.arguments, loaded.sampling) == (start.labels, start.arguments, start.sampling)
    clips = batch(range(5)).pixels
    found = Classifier(loaded, device="cpu", precision="exact").predict(clips).probabilities
    assert np.allclose(found, trainer.scores(clips).numpy(), atol=1e-5)


def test_the_weights_that_count_have_the_networks_own_names(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path)
    plain, averaged = (Trainer(bundle, recipe(ema_decay=decay), Worker()) for decay in (None, 0.9))
    for trainer in (plain, averaged):
        for step in range(3):
            trainer.train_step(share(Worker(), step))
    first, second = trained_weights(plain.state_dict()), trained_weights(averaged.state_dict())
    assert first.keys() == second.keys()
    assert all(value.is_contiguous() for value in second.values())
    assert not torch.equal(first["classifier.weight"], second["classifier.weight"])
