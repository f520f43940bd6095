"""Fixtures that all tests share."""

from __future__ import annotations

import os
import secrets
import signal
from pathlib import Path

import pytest
from hypothesis import settings

import vidcnn.pipelines  # noqa: F401 - prepares the environment that Ray reads when it is first imported

# A Ray that a test starts by itself has a token, too, and leaves none in the home folder.
os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))
os.environ.pop("RAY_ADDRESS", None)

pytest_plugins = ["tests.s3"]

# A busy machine makes no test fail, and the same commit gives the same result; `--hypothesis-profile=explore` looks
# for examples that nobody has seen, as `-m fuzz --hypothesis-profile=fuzz` does for what parses bytes and text.
settings.register_profile("default", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None, derandomize=False, max_examples=1000)
settings.register_profile("fuzz", deadline=None, derandomize=False, max_examples=2000)
settings.load_profile("default")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real videos; tests that need it are skipped where there is none."""
    folder = Path(os.environ.get("VIDCNN_REAL_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not (folder / "videos" / "INVENTORY.tsv").is_file():
        pytest.skip(f"no real videos at {folder}; set VIDCNN_REAL_DATA")
    return folder


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of a small network with random weights, which nobody changes."""
    from tests.commands import make_tiny_bundle

    return make_tiny_bundle(tmp_path_factory.mktemp("model") / "bundle")


@pytest.fixture(scope="session")
def bundle(tiny_bundle: Path) -> Path:
    """The same, where a test module has no other."""
    return tiny_bundle


def pytest_configure() -> None:
    """Take Ctrl-C as in a terminal: a shell lets what it runs in the background ignore it, and children with it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """See that every test belongs to one stage: those without a mark are quick."""
    both = [item.nodeid for item in items if item.get_closest_marker("slow") and item.get_closest_marker("nightly")]
    if both:
        raise pytest.UsageError(f"these are slow and nightly: {', '.join(both)}")
