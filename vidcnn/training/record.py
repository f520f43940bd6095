"""What job a run directory is of: always the same, once there is a checkpoint."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vidcnn.config import TrainSpec
from vidcnn.config.base import with_present_names
from vidcnn.config.differences import is_same
from vidcnn.config.train import parse_list, parse_range
from vidcnn.errors import OutputError, SettingsDifferError, StorageError
from vidcnn.storage.atomic import write_whole
from vidcnn.storage.patience import is_passing, patiently
from vidcnn.version import __version__

_WORDS = {
    "data_sha256": "the videos, their labels or their splits are not the same",
    "weights_sha256": "the weights that training begins with (--model, --weights, --seed) are not the same",
    "sampling": "the frames of a clip (--num-frames, --stride, --fps) are not taken in the same way",
    "preprocessing": "frames (--resize, --crop, --interpolation) are not of the same size",
}
"""The words for a difference that does not show in a setting's own value."""

_EFFECTS = {
    "sampling": ("num_frames", "stride", "fps"),
    "preprocessing": ("resize", "crop", "interpolation"),
}
"""Settings of which only the effect counts, so that the model's own value may be given or left out."""


def check_record(directory: Path, record: dict[str, Any], *, has_begun: bool) -> None:
    """Refuse to continue a run with other settings; note those of a new one.

    Args:
        directory: The run's directory.
        record: All that must be the same, as JSON values.
        has_begun: Whether the run has a checkpoint; until then nothing depends on the settings that it was begun with.

    Raises:
        SettingsDifferError: The run was begun with other values; the message names them.
        OutputError: The directory contains something else than a run.
        StorageError: It cannot be read for now.
    """
    path = directory / "run.json"
    record = json.loads(json.dumps(record))
    try:
        recorded = json.loads(patiently(path.read_text))["settings"]
    except FileNotFoundError:
        strange = [entry.name for entry in directory.iterdir() if entry.name not in ("lock", f".{path.name}.part")]
        if strange:
            raise OutputError(
                f"'{directory}' contains {strange[0]} and is not a training run", "choose another --out"
            ) from None
        _write(path, record)
        return
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        if is_passing(error):
            raise StorageError(f"{path} cannot be read ({error})", "try again: the same command continues") from error
        raise OutputError(f"{path} cannot be read ({error})", "choose another --out") from error
    differences = find_differences(recorded, record)
    if not differences:
        return
    if not has_begun:
        _write(path, record)
        return
    raise SettingsDifferError(
        f"'{directory}' was begun with other settings: {'; '.join(differences)}",
        "restore them to continue the run, or choose another --out",
    )


def find_differences(recorded: Mapping[str, Any], record: Mapping[str, Any]) -> list[str]:
    """Return in words what differs between two records, by the effect of their values.

    Args:
        recorded: Of the run, perhaps by an earlier version.
        record: Of the command.
    """
    recorded = with_present_names(TrainSpec, recorded)
    defaults = TrainSpec().model_dump()  # of a setting that was not there when the run was begun
    compared_by_effect = {
        name
        for effect, names in _EFFECTS.items()
        if effect in recorded and effect in record
        for name in names
    }  # fmt: skip
    differences = []
    for name in sorted(recorded.keys() | record.keys()):
        if name in compared_by_effect or (name in _EFFECTS and not (name in recorded and name in record)):
            continue
        before, now = (settings.get(name, defaults.get(name)) for settings in (recorded, record))
        if not is_same(_meaning(name, before), _meaning(name, now)):
            option = f"--{name.replace('_', '-')}" if name in defaults else name
            differences.append(_WORDS.get(name) or f"{option} was {_shown(before)}, now {_shown(now)}")
    return differences


def _meaning(name: str, value: Any) -> Any:
    """Return a value so that those with the same effect are equal."""
    if not isinstance(value, str):
        return value
    if name in ("flip_pairs", "freeze"):
        return sorted(parse_list(value))
    if name == "milestones":
        return sorted(float(epoch) for epoch in parse_list(value))
    return parse_range(value) if name == "crop_scale" else value


def _shown(value: Any) -> str:
    if value is None:
        return "not given"
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value)


def _write(path: Path, record: dict[str, Any]) -> None:
    content = json.dumps({"vidcnn": __version__, "settings": record}, indent=2).encode() + b"\n"
    try:
        patiently(lambda: write_whole(path, content))
    except OSError as error:
        kind = StorageError if is_passing(error) else OutputError
        raise kind(f"{path} cannot be written: {error.strerror or error}", "the same command tries again") from error
