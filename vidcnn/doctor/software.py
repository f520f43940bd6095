"""The versions of what vidcnn stands on, against what it asks for."""

from __future__ import annotations

import json
import os
import platform
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib import metadata
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from vidcnn.reporting.findings import Finding, Level, plain
from vidcnn.version import __version__

REQUIREMENTS = "VIDCNN_REQUIREMENTS"
"""Environment variable with what vidcnn asks for, as JSON: on a cluster vidcnn is not installed, but sent along."""

TOPIC = "software"
_SHOWN = ("torch", "torchvision", "ray", "av", "opencv-python-headless", "pyarrow")
"""Named on the screen also where all is well."""
_MODULES = {"opencv-python-headless": "cv2"}
_NAMES = {"opencv-python-headless": "OpenCV"}
_ALSO = {"opencv-python-headless": ("opencv-python", "opencv-contrib-python-headless", "opencv-contrib-python")}
"""Packages that bring the same module."""


def requirements() -> dict[str, str]:
    """Return what vidcnn asks for: the specifier of each package, and that of ``python``; nothing if nobody knows."""
    if given := os.environ.get(REQUIREMENTS):
        return dict(json.loads(given))
    project = Path(__file__).parents[2] / "pyproject.toml"
    with suppress(OSError, KeyError, tomllib.TOMLDecodeError):
        declared = tomllib.loads(project.read_text())["project"]
        if declared["name"] == "vidcnn":
            return _specifiers(declared["dependencies"], declared["requires-python"])
    with suppress(metadata.PackageNotFoundError):
        installed = metadata.metadata("vidcnn")
        return _specifiers(metadata.requires("vidcnn") or [], installed["Requires-Python"] or "")
    return {}


def check_software(wanted: Mapping[str, str], imports: Mapping[str, str | None], ffmpeg: str | None) -> list[Finding]:
    """Compare versions, and name what cannot be imported.

    Args:
        wanted: What `requirements` returned.
        imports: What `vidcnn.doctor.imports.try_imports` returned.
        ffmpeg: Version of the FFmpeg in PyAV; None where that is not known.
    """
    findings = [
        _compared("Python", platform.python_version(), wanted.get("python", ""), "install another Python"),
        Finding(TOPIC, "vidcnn", __version__, facts={"version": __version__}),
    ]
    others = 0
    for name in dict.fromkeys((*_SHOWN, *wanted)):
        if name == "python":
            continue
        found = _package(name, wanted.get(name, ""), imports.get(_MODULES.get(name, name)), ffmpeg)
        if name in _SHOWN or found.level != "good":
            findings.append(found)
        else:
            others += 1
    if others:
        findings.append(Finding(TOPIC, f"{others} other packages", "fit"))
    if not wanted:
        findings.append(Finding(TOPIC, "versions", "not compared: vidcnn is not installed here", "note"))
    return sorted(findings, key=lambda one: one.level != "good")


def _package(name: str, wanted: str, broken: str | None, ffmpeg: str | None) -> Finding:
    shown = _NAMES.get(name, name)
    version = next(_versions((name, *_ALSO.get(name, ()))), None)
    install = f"pip install '{name}{wanted}'"
    if version is None:
        return Finding(TOPIC, shown, "missing", "failure", f"{shown} is not installed", install, {"version": None})
    if broken is not None:
        problem = f"{shown} {version} cannot be loaded: {plain(broken)}"
        remedy = f"pip install --force-reinstall '{name}{wanted}'"
        return Finding(TOPIC, shown, f"{version} (broken)", "failure", problem, remedy, {"version": version})
    text = f"{version} (FFmpeg {ffmpeg})" if name == "av" and ffmpeg else version
    return _compared(shown, version, wanted, install, text)


def _compared(name: str, version: str, wanted: str, remedy: str, text: str = "") -> Finding:
    level, problem = misfit(version, wanted)
    facts = {"version": version, "wanted": wanted}
    if level == "good":
        return Finding(TOPIC, name, text or version, facts=facts)
    return Finding(TOPIC, name, text or version, level, f"{name} {version} {problem} ({wanted})", remedy, facts)


def misfit(version: str, wanted: str) -> tuple[Level, str]:
    """Compare a version with what is asked for.

    Returns:
        How bad it is, and what is wrong in words: one that is too new may work, one that is too old does not.
    """
    try:
        found, allowed = Version(version), SpecifierSet(wanted)
    except (InvalidVersion, ValueError):
        return "good", ""
    if allowed.contains(found, prereleases=True):
        return "good", ""
    floors = [Version(one.version) for one in allowed if one.operator in (">=", ">")]
    if floors and found > max(floors):
        return "warning", "is newer than vidcnn was tried with"
    return "failure", "is too old for vidcnn"


def _versions(names: tuple[str, ...]) -> Iterator[str]:
    for name in names:
        with suppress(metadata.PackageNotFoundError):
            yield metadata.version(name)


def _specifiers(lines: list[str], python: str) -> dict[str, str]:
    """Return the specifiers of the packages that are always needed, and of Python."""
    found = {"python": python}
    for line in lines:
        with suppress(InvalidRequirement):
            one = Requirement(line)
            if one.marker is None or one.marker.evaluate({"extra": ""}):
                found[one.name] = str(one.specifier)
    return found
