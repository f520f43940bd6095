from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vidcnn.errors import PrecisionError, VideoError
from vidcnn.models.bundle import Bundle
from vidcnn.pipelines import scoring
from vidcnn.pipelines.measuring import FromCell
from vidcnn.training.views import LoadedViews

CONFINED = (("node", "all"),)
OPTIONS = {"device": "cpu", "precision": "fp32", "batch_size": 4, "num_threads": 1}


@pytest.fixture(scope="module")
def model(bundle: Path) -> Bundle:
    return Bundle.load(bundle)


@pytest.fixture(scope="module")
def scorer(model: Bundle) -> Any:
    return scoring._Scorer.__ray_actor_class__(model, OPTIONS)  # type: ignore[attr-defined]


def clip(model: Bundle, seed: int, num_crops: int = 1) -> np.ndarray[Any, np.dtype[np.uint8]]:
    size = model.preprocessing.crop
    shape = (num_crops, model.sampling.num_frames, *size, 3)
    return np.random.default_rng(seed).integers(0, 255, shape, np.uint8)


def score(scorer: Any, *clips: Any, is_short: bool = False) -> Any:
    found = scorer.score(FromCell(LoadedViews(list(clips), is_short), CONFINED))
    assert found.confined == CONFINED
    return found.found


def test_the_crops_of_a_clip_count_as_their_mean_and_clips_that_cannot_be_read_as_nothing(
    scorer: Any, model: Bundle
) -> None:
    views = clip(model, 0, num_crops=3)
    alone = np.concatenate([score(scorer, view[None]).scores for view in views])
    found = score(scorer, VideoError("decode_error", "cut off"), views, is_short=True)
    assert found.is_short
    np.testing.assert_allclose(found.scores, alone.mean(axis=0, keepdims=True), rtol=1e-5)


def test_of_a_video_without_a_good_clip_the_first_error_is_told(scorer: Any) -> None:
    errors = VideoError("decode_error", "cut off"), VideoError("timeout", "it took too long")
    assert score(scorer, *errors) is errors[0]


def test_a_model_that_cannot_be_made_is_told_for_each_video_and_not_as_a_dead_actor(
    model: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise PrecisionError("it does not compute rightly", "use another precision")

    monkeypatch.setattr("vidcnn.inference.classifier.Classifier.__init__", fail)
    broken = scoring._Scorer.__ray_actor_class__(model, OPTIONS)  # type: ignore[attr-defined]
    for seed in range(2):
        with pytest.raises(PrecisionError, match="does not compute rightly"):
            score(broken, clip(model, seed))
