"""Inference, training and evaluation as functions: the commands' options, and the reports behind their summaries."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vidcnn.cluster.environment import quiet_environment
from vidcnn.config import EvaluateSpec, InferSpec, TrainSpec
from vidcnn.config.base import read_spec

if TYPE_CHECKING:
    from vidcnn.reporting.results import InferReport
    from vidcnn.training.report import EvaluateReport, TrainReport

Location = str | os.PathLike[str]


def infer(
    source: Location | Sequence[Location] = (), *, out: Location, show_progress: bool = False, **options: Any
) -> InferReport:
    """Classify the videos of a source, and commit their rows to a table, as ``vidcnn infer`` does.

    Ray is started on this machine and ended, whatever its end. The same call again does what is new or not finished.

    Args:
        source: Folders, files, globs, lists or URIs; none with the option ``from_``, a table with embeddings that is
            scored instead of videos.
        out: A ``.parquet`` file or a folder; a path or a URI.
        show_progress: Show on stderr how far it is.
        **options: The command's other options, with ``_`` for ``-``: ``model="r3d_18"``, ``top_k=1``.

    Returns:
        What the run came to; single bad videos are rows of the table.

    Raises:
        UsageError: An option is unknown, or its value impossible.
        TooManyErrorsError: More videos were bad than ``max_error_fraction`` allows.
        StorageError: Videos are left undone, since they could not be read now.
        VidcnnError: The job cannot be done.
    """
    from vidcnn.reporting.run_report import reported
    from vidcnn.reporting.summaries import check_outcome

    spec = read_spec(InferSpec, {"source": source_texts(source), "out": os.fspath(out), **option_texts(options)})
    with quiet_environment(), reported(spec) as record:
        if spec.from_ is not None:
            from vidcnn.pipelines.rescore import run_rescoring as run_it
        else:
            from vidcnn.pipelines.infer import run_inference as run_it

        report = run_it(spec, show_progress=show_progress, record=record)
        check_outcome(spec, report)
    return report


def train(data: Location, *, out: Location, show_progress: bool = False, **options: Any) -> TrainReport:
    """Train a network on labelled videos, as ``vidcnn train`` does.

    Args:
        data: A folder of class folders, or a table or list (.csv, .tsv, .parquet, .txt).
        out: The run directory; its ``bundle`` is what `load` and `infer` take.
        show_progress: Show on stderr how far it is.
        **options: The command's other options, with ``_`` for ``-``.

    Returns:
        How the run ended.

    Raises:
        UsageError: An option is unknown, or its value impossible.
        VidcnnError: The job cannot be done.
    """
    spec = read_spec(TrainSpec, {"data": os.fspath(data), "out": os.fspath(out), **option_texts(options)})
    with quiet_environment():
        from vidcnn.pipelines.train import run_training

        report = run_training(spec, show_progress=show_progress)
    if report.failure is not None:
        raise report.failure
    return report


def evaluate(data: Location, *, model: Location, show_progress: bool = False, **options: Any) -> EvaluateReport:
    """Measure a bundle on labelled videos, as ``vidcnn evaluate`` does.

    Args:
        data: As for `train`.
        model: The bundle.
        show_progress: Show on stderr how far it is.
        **options: The command's other options, with ``_`` for ``-``.

    Returns:
        What the model reached.

    Raises:
        UsageError: An option is unknown, or its value impossible.
        VidcnnError: The job cannot be done.
    """
    spec = read_spec(EvaluateSpec, {"data": os.fspath(data), "model": os.fspath(model), **option_texts(options)})
    with quiet_environment():
        from vidcnn.pipelines.evaluate import run_evaluation

        return run_evaluation(spec, show_progress=show_progress)


def source_texts(given: Location | Sequence[Location]) -> tuple[str, ...]:
    """Return one location or several as texts."""
    several: Sequence[Location] = [given] if isinstance(given, str | os.PathLike) else given
    return tuple(os.fspath(one) for one in several)


def option_texts(options: dict[str, Any]) -> dict[str, Any]:
    """Return options with paths as texts."""
    return {name: os.fspath(value) if isinstance(value, os.PathLike) else value for name, value in options.items()}
