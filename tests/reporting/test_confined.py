from __future__ import annotations

import json

from vidcnn.reporting.confined import confinement_json, confinement_lines
from vidcnn.sandbox.confinement import Strength

FULL = Strength(True, 7, 2**32, True)


def test_machines_are_told_with_what_confined_their_processes() -> None:
    values = confinement_json({"b": Strength(), "a": FULL})
    assert json.loads(json.dumps(values)) == values
    assert list(values.items()) == [
        ("a", {"seccomp": True, "landlock": 7, "memory_bytes": 2**32, "unprivileged": True}),
        ("b", {"seccomp": False, "landlock": 0, "memory_bytes": None, "unprivileged": False}),
    ]


def test_only_what_is_weaker_than_all_is_said_in_words() -> None:
    assert confinement_lines({}) == confinement_lines({"a": FULL}) == []
    weak = FULL._replace(landlock=0)
    assert confinement_lines({"a": FULL, "c": weak, **dict.fromkeys("fedgb", Strength())}) == [
        "confinement of decoding processes on b, d, e and 2 more: not confined",
        "confinement of decoding processes on c: no files, network or programs (seccomp), 4 GiB of memory, "
        "no privileges",
    ]
