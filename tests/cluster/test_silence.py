from __future__ import annotations

import subprocess
import sys

import pytest

from tests.commands import environment

CODE = """
import os, sys
from vidcnn.cluster.silence import silence
{before}
print("before", file=sys.stderr)
try:
    with silence():
        print("ray prints this")
        os.write(2, b"native code writes this\\n")
        print("progress", file=sys.stderr)
        {inside}
except ValueError:
    pass
os.write(2, b"native code again\\n")
print("result")
print("after", file=sys.stderr)
"""


@pytest.mark.parametrize("inside", ["pass", "raise ValueError"])
def test_what_ray_says_is_kept_from_the_user_and_all_else_is_as_it_was(inside: str) -> None:
    code = CODE.format(before="", inside=inside)
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True)
    assert done.stdout == "result\n"
    assert done.stderr.splitlines() == ["before", "progress", "native code again", "after"]


def test_a_stderr_of_ones_own_stays_in_place() -> None:
    code = CODE.format(before="import io; sys.stderr = mine = io.StringIO()", inside="assert sys.stderr is mine")
    done = subprocess.run(
        [sys.executable, "-c", code + "print(mine.getvalue().split())"],
        env=environment(), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "result\n['before', 'progress', 'after']\n"
    assert done.stderr == "native code again\n"
