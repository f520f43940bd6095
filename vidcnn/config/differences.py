"""Settings that must be the same for an output to be continued: compared by value, and differences as text.

What was recorded and what is wanted now are JSON values. How a value was written does not count: ``15`` is ``15.0``, a
tuple is a list, and a setting that did not exist yet has its default.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

_CLIPS = ("num_frames", "stride", "fps")
_DEFAULTS: Mapping[str, Any] = {
    "short_clips": "repeat_last",
    "image_fps": 25.0,
    "top_k": 5,
    "max_pixels": 8192 * 8192,
    "scored_from": "videos",
}

_GROUPS = (
    ("clips", "other clips"),
    ("preprocessing", "other preprocessing"),
    ("computing", "another way of computing"),
    ("columns", "other columns"),
    ("settings", "other settings"),
)
_GROUP_OF = {
    "step": "clips",
    "num_clips": "clips",
    "short_clips": "clips",
    "image_fps": "clips",
    "precision": "computing",
    "compiled": "computing",
    "quantization": "computing",
    "scored_from": "computing",
}
_HASH_DIGITS = 8


def is_same(one: Any, other: Any) -> bool:
    """Return whether two values are one setting; numbers are compared by value, and None is a missing key."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return all(is_same(one.get(name), other.get(name)) for name in one.keys() | other.keys())
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(is_same(a, b) for a, b in zip(one, other, strict=True))
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, int | float) and isinstance(other, int | float):
        return one == other or (math.isnan(one) and math.isnan(other))
    return bool(one == other)


def differences(was: Mapping[str, Any], now: Mapping[str, Any], defaults: Mapping[str, Any] = _DEFAULTS) -> list[str]:
    """Return in words what differs between settings.

    Args:
        was: What was recorded.
        now: What is wanted.
        defaults: Values of settings that one of both may not have yet.

    Returns:
        Phrases that continue "was written with", such as ``other clips: stride 4, now 2``; none where nothing differs.
    """
    was, now = dict(was), dict(now)
    if "weights_sha256" in was and is_same(was["weights_sha256"], now.get("weights_sha256")):
        was.pop("weights", None)  # the same weights under another name
        now.pop("weights", None)
    if was.get("backbone_sha256") is None or now.get("backbone_sha256") is None:  # a table of an earlier version
        was.pop("backbone_sha256", None)
        now.pop("backbone_sha256", None)
    pairs = {
        name: (was.get(name, defaults.get(name)), now.get(name, defaults.get(name))) for name in was.keys() | now.keys()
    }
    differing = {name: pair for name, pair in sorted(pairs.items()) if not is_same(*pair)}
    phrases = [*_arguments(differing, now), *_model(differing, was, now), *_labels(differing)]
    grouped: dict[str, list[str]] = {}
    for name, (before, after) in differing.items():
        group, words = _group(name)
        for path, one, other in _leaves(words, before, after):
            grouped.setdefault(group, []).append(f"{path} {shown(one)}, now {shown(other)}".strip())
    return [*phrases, *(f"{title}: {', '.join(grouped[group])}" for group, title in _GROUPS if group in grouped)]


def shown(value: Any) -> str:
    """Write the value of a setting for people."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, str | int | float):
        return str(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(shown, value)) + "]"
    return json.dumps(value, sort_keys=True)


def _model(differing: dict[str, tuple[Any, Any]], was: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Remove what names the model from the settings that differ, and return the difference in words."""
    found = {name: differing.pop(name) for name in ("model", "weights_sha256", "weights") if name in differing}
    if "model" in found:
        return [f"another model: {shown(found['model'][0])}, now {shown(found['model'][1])}"]
    if not found:
        return []
    names = [_weights(settings) for settings in (was, now)]
    return [f"other weights of {shown(now.get('model'))}: {names[0]}, now {names[1]}"]


def _labels(differing: dict[str, tuple[Any, Any]]) -> list[str]:
    """Remove the names of the classes from the settings that differ, and return which differ; old tables have none."""
    was, now = differing.pop("labels", (None, None))
    if was is None or now is None:
        return []
    if len(was) != len(now):
        return [f"other labels: {len(was)} of them, now {len(now)}"]
    pairs = [(one, other) for one, other in zip(was, now, strict=True) if one != other]
    more = f", and {len(pairs) - 1} more" if len(pairs) > 1 else ""
    return [f"other labels: {pairs[0][0]}, now {pairs[0][1]}{more}"]


def _arguments(differing: dict[str, tuple[Any, Any]], now: Mapping[str, Any]) -> list[str]:
    """Remove the hash of the backbone from the settings that differ: what it is of is mostly named by others.

    Where nothing else of that differs, the architecture was built with other arguments.
    """
    others = {"model", "weights_sha256", "preprocessing", *(f"clip_{name}" for name in _CLIPS)}
    if differing.pop("backbone_sha256", None) is None or others & differing.keys():
        return []
    return [f"other arguments of {shown(now.get('model'))}"]


def _weights(settings: Mapping[str, Any]) -> str:
    name, digest = settings.get("weights"), str(settings.get("weights_sha256") or "")[:_HASH_DIGITS]
    known = shown(name) if name is not None else "weights"
    return f"{known} ({digest}...)" if digest else known


def _group(name: str) -> tuple[str, str]:
    """Return which group a setting is of, and how it is called there."""
    if name.startswith("column "):
        return "columns", name.removeprefix("column ")
    if name.removeprefix("clip_") in _CLIPS:
        return "clips", _words(name.removeprefix("clip_"))
    if name == "preprocessing":
        return "preprocessing", ""
    return _GROUP_OF.get(name, "settings"), _words(name)


def _words(name: str) -> str:
    return name.replace("_", " ")


def _leaves(name: str, was: Any, now: Any) -> list[tuple[str, Any, Any]]:
    """Return the innermost values that differ, by name."""
    if not (isinstance(was, Mapping) and isinstance(now, Mapping)):
        return [(name, was, now)]
    return [
        leaf
        for key in sorted(was.keys() | now.keys())
        if not is_same(was.get(key), now.get(key))
        for leaf in _leaves(f"{name} {_words(key)}".strip(), was.get(key), now.get(key))
    ]
