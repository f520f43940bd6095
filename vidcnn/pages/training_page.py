"""The page of a training run: its curves, its schedule, how long it waited for clips, and what it reached.

All of it is what the run noted itself (``metrics.jsonl``) and its settings (``run.json``); nothing is computed again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vidcnn.bounds import MAX_CARD_BYTES
from vidcnn.errors import OutputError
from vidcnn.pages.figures import curves_svg
from vidcnn.pages.html import render
from vidcnn.reporting.progress import duration_text, iso_time
from vidcnn.storage.ownership import read_small
from vidcnn.storage.uris import failure_text, public_values
from vidcnn.training.journal import read_journal
from vidcnn.version import __version__

_NUM_ROWS = 200
_NUM_LABELS = 50

_Notes = Sequence[Mapping[str, Any]]

_CURVES = (
    ("Loss of training", (("loss", "train", "loss"),)),
    ("Top-1 accuracy", (("training", "train", "top1"), ("validation", "validation", "top1"))),
    ("mAP of validation", (("mAP", "validation", "mean_average_precision"),)),
    ("Learning rate", (("learning rate", "train", "learning_rate"),)),
    ("Share of the time that was spent waiting for clips", (("waiting", "train", "waiting"),)),
    ("Clips per second", (("clips per second", "train", "clips_per_second"),)),
)
"""What is drawn: a title, and of each curve its name, the kind of note and the number in it."""


def is_run(place: str) -> bool:
    """Tell whether something is the directory of a training run."""
    return (Path(place) / "run.json").is_file()


def training_page(directory: str) -> tuple[bytes, int]:
    """Make the page of a training run, also of one that has not ended.

    Args:
        directory: The run directory.

    Returns:
        The page, and how many steps are done.

    Raises:
        OutputError: It cannot be read.
    """
    folder = Path(directory)
    notes = read_journal(folder)
    settings = _settings(folder)
    bundle = _read_json(folder / "bundle" / "model.json") if (folder / "bundle" / "model.json").is_file() else {}
    labels = [str(label) for label in bundle.get("labels") or ()] if isinstance(bundle.get("labels"), list) else []
    train, validation = (_of_kind(notes, kind) for kind in ("train", "validation"))
    steps = max((note["step"] for note in notes), default=0)
    values = {
        "name": folder.resolve().name,
        "version": __version__,
        "written": iso_time(time.time())[:16].replace("T", " "),
        "cards": _cards(train, validation, steps),
        "lines": _lines(train, validation),
        "curves": [curve for curve in (_curve(title, parts, notes) for title, parts in _CURVES) if curve],
        "tables": _tables(train, validation),
        "labels": labels[:_NUM_LABELS],
        "num_more_labels": max(0, len(labels) - _NUM_LABELS),
        "settings": [(name, _shown(value)) for name, value in sorted(settings.items()) if value is not None],
    }
    return render("training.html", values, None, script=None), steps


def _settings(folder: Path) -> dict[str, Any]:
    settings = _read_json(folder / "run.json").get("settings")
    if not isinstance(settings, dict):
        raise OutputError(f"'{folder}' is no training run: its run.json has no settings")
    return {str(name): public_values(value) for name, value in settings.items()}


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(read_small(path, MAX_CARD_BYTES))
    except OSError as error:
        raise OutputError(f"'{path}' {failure_text(error)}") from error
    except (ValueError, RecursionError) as error:
        raise OutputError(f"'{path}' is damaged: {error}", "name the directory of a training run") from error
    return found if isinstance(found, dict) else {}


def _of_kind(notes: _Notes, kind: str) -> list[Mapping[str, Any]]:
    return [note for note in notes if note.get("kind") == kind]


def _number(note: Mapping[str, Any], name: str) -> float | None:
    value = note.get(name)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _cards(train: _Notes, validation: _Notes, steps: int) -> list[tuple[str, str]]:
    cards = [("steps done", f"{steps:,}")]
    best = [value for note in validation if (value := _score(note)) is not None]
    if best:
        cards.append(("best validation", f"{max(best):.1%}"))
    formats: tuple[tuple[str, str, Callable[[float], str]], ...] = (
        ("last loss", "loss", lambda value: f"{value:.3f}"),
        ("clips/s", "clips_per_second", lambda value: f"{value:.1f}"),
        ("waiting for clips", "waiting", lambda value: f"{value:.0%}"),
        ("time", "seconds", duration_text),
    )
    for title, name, text in formats:
        value = _number(train[-1], name) if train else None
        if value is not None:
            cards.append((title, text(value)))
    return cards


def _score(note: Mapping[str, Any]) -> float | None:
    """Return what validations are compared by."""
    top1 = _number(note, "top1")
    return _number(note, "mean_average_precision") if top1 is None else top1


def _lines(train: _Notes, validation: _Notes) -> list[str]:
    num_bad = sum(int(_number(note, "num_bad_samples") or 0) for note in train)
    lines = [f"{num_bad:,} samples could not be decoded, and counted for nothing."] if num_bad else []
    if not validation:
        lines.append("Nothing has been validated yet.")
    lines.append(
        "A run keeps neither its samples nor which classes it takes for which others: for that, classify the videos of "
        "the validation with its bundle, and make a page of the table with --truth and --source."
    )
    return lines


def _curve(title: str, parts: Sequence[tuple[str, str, str]], notes: _Notes) -> dict[str, Any] | None:
    curves = []
    for name, kind, number in parts:
        points = [
            (float(note["step"]), value)
            for note in _of_kind(notes, kind)
            if (value := _number(note, number)) is not None
        ]
        curves.append((name, points))
    if not any(points for _, points in curves):
        return None
    last = ", ".join(
        f"{name} {points[-1][1]:.3g} at the last of {len(points)} notes" for name, points in curves if points
    )
    svg = curves_svg([points for _, points in curves], text=f"{title} over steps: {last}")
    return {"title": title, "svg": svg, "names": [name for name, _ in curves]}


def _tables(train: _Notes, validation: _Notes) -> list[dict[str, Any]]:
    """Return the notes as tables, the last of each kind."""
    found = []
    for title, notes in (("validation", validation), ("training", train)):
        names = [
            name
            for name in dict.fromkeys(name for note in notes for name in note)
            if any(_number(note, name) is not None for note in notes)
        ]
        if not notes:
            continue
        more = f", the last {_NUM_ROWS} of {len(notes):,} notes" if len(notes) > _NUM_ROWS else ""
        rows = [["" if (v := _number(note, name)) is None else f"{v:.6g}" for name in names] for note in notes]
        columns = [name.replace("_", " ") for name in names]
        found.append({"title": title + more, "columns": columns, "rows": rows[-_NUM_ROWS:]})
    return found


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
