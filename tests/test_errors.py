from __future__ import annotations

import inspect
import pickle

import pytest

from vidcnn import errors
from vidcnn.errors import ERROR_KINDS, VidcnnError, VideoError, first_line

ALL = [item for _, item in inspect.getmembers(errors, inspect.isclass) if issubclass(item, VidcnnError)]


@pytest.mark.parametrize("kind", ALL)
def test_errors_survive_the_way_between_processes(kind: type[VidcnnError]) -> None:
    error = pickle.loads(pickle.dumps(kind("what happened", "what to do")))
    assert (type(error), error.message, error.hint) == (kind, "what happened", "what to do")
    assert str(error) == "what happened: what to do"


def test_the_tree_in_the_docstring_names_every_error() -> None:
    assert errors.__doc__ is not None
    for kind in ALL:
        assert f"{kind.__name__} " in errors.__doc__


def test_a_video_error_survives_the_way_between_processes() -> None:
    error = pickle.loads(pickle.dumps(VideoError("truncated", "the file was cut off")))
    assert (error.kind, error.message, str(error)) == ("truncated", "the file was cut off", "the file was cut off")
    assert error.kind in ERROR_KINDS


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("first\nsecond"), "first"),
        (ValueError("\n  \n  third  "), "third"),
        (ValueError(""), "ValueError"),
        (OSError(), "OSError"),
    ],
)
def test_the_first_line_of_an_error_is_never_empty(error: Exception, line: str) -> None:
    assert first_line(error) == line
