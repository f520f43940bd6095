from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from vidcnn.doctor import nodes
from vidcnn.doctor.examination import Wishes, examine


def test_each_node_is_looked_at_as_a_node(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    @contextmanager
    def ray() -> Iterator[None]:
        asked.append("connected")
        yield
        asked.append("gone")

    monkeypatch.setattr(nodes, "attach_to_cluster", lambda: asked.append("attached"))
    monkeypatch.setattr(nodes, "open_ray", ray)
    monkeypatch.setattr(nodes, "ask_each_node", lambda *arguments, seconds: asked.append(arguments))
    nodes.examine_nodes(Wishes(quick=True))
    assert asked == ["attached", "connected", (examine, Wishes(quick=True, is_node=True)), "gone"]
