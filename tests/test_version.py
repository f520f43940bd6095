from __future__ import annotations

import tomllib
from importlib.metadata import version

import vidcnn
from tests.commands import PROJECT
from vidcnn.version import __version__


def test_there_is_one_version_and_the_package_is_built_with_it() -> None:
    assert vidcnn.__version__ == __version__ == version("vidcnn")
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "vidcnn.version.__version__"}
