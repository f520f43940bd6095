"""vidcnn: classify and train on more video than one machine can watch.

Importing the package loads neither torch nor Ray nor PyAV; each name is imported when it is used first.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from vidcnn.version import __version__ as __version__

if TYPE_CHECKING:
    from vidcnn.api.dataset import ClipDataset
    from vidcnn.api.model import Model, load
    from vidcnn.api.reading import Clip, Predictions, clips, read_predictions
    from vidcnn.api.runs import evaluate, infer, train

__all__ = [
    "Clip",
    "ClipDataset",
    "Model",
    "Predictions",
    "clips",
    "evaluate",
    "infer",
    "load",
    "read_predictions",
    "train",
]

_MODULES = {
    "Clip": "reading",
    "ClipDataset": "dataset",
    "Model": "model",
    "Predictions": "reading",
    "clips": "reading",
    "evaluate": "runs",
    "infer": "runs",
    "load": "model",
    "read_predictions": "reading",
    "train": "runs",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'vidcnn' has no attribute '{name}'")
    value = getattr(import_module(f"vidcnn.api.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
