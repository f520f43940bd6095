from __future__ import annotations

from dataclasses import replace

import pytest

from vidcnn.cluster.nodes import ClusterView, Demand, Node, NodeWatch, why_waiting

SMALL = Node("a", "10.0.0.1", {"CPU": 4.0, "memory": 8e9}, {"CPU": 4.0, "memory": 8e9})
EMPTY = Node("head", "10.0.0.9", {"memory": 8e9}, {"memory": 8e9})
TASK = Demand({"CPU": 0.4, "memory": 1e8}, 3, together=False)


def view(*nodes: Node, demands: tuple[Demand, ...] = (TASK,), starting: int = 0) -> ClusterView:
    return ClusterView(nodes, starting, demands)


def busy(node: Node, cpus: float) -> Node:
    return replace(node, free={**node.free, "CPU": cpus})


@pytest.mark.parametrize(
    ("seen", "text"),
    [
        (view(SMALL, demands=()), None),
        (view(SMALL), None),
        (view(EMPTY), "waiting: no machine of the cluster has a processor (1 machine is there)"),
        (
            view(EMPTY, starting=2),
            "waiting: no machine of the cluster has a processor (1 machine is there, 2 more starting)",
        ),
        (
            replace(view(EMPTY), failures=("quota exceeded",)),
            "waiting: no machine of the cluster has a processor (1 machine is there; the last could not be started: "
            "quota exceeded)",
        ),
        (
            view(SMALL, EMPTY, demands=(Demand({"GPU": 1.0, "CPU": 1.0}, 1, together=False),)),
            "waiting: no machine of the cluster has a GPU and a processor (2 machines are there)",
        ),
        (
            view(SMALL, demands=(Demand({"CPU": 8.0}, 1, together=False),)),
            "waiting: no machine of the cluster has 8 processors (1 machine is there)",
        ),
        (
            view(busy(SMALL, 0.0), EMPTY),
            "waiting: 4 of 4 processors of the cluster in use by others (2 machines are there)",
        ),
        (
            view(SMALL, demands=(Demand({"CPU": 2.0}, 3, together=True),)),
            "waiting for 1 of 3 workers: each needs 2 processors that nobody else uses (1 machine is there)",
        ),
        (view(SMALL, replace(SMALL, id="b"), demands=(Demand({"CPU": 2.0}, 3, together=True),)), None),
    ],
)
def test_what_keeps_a_job_from_beginning_is_said_in_words(seen: ClusterView, text: str | None) -> None:
    assert why_waiting(seen) == text


class Scene:
    """A cluster that changes, and what is said of it."""

    def __init__(self, seen: ClusterView) -> None:
        self.seen = seen
        self.said: list[str] = []
        self.begun = False
        self.reason: str | None = "was lost"
        self.watch = NodeWatch(lambda: self.begun, lambda: self.seen, lambda _: self.reason, self.said.append)

    def look(self, *moments: float) -> list[str]:
        for moment in moments:
            self.watch.look(moment)
        said, self.said[:] = list(self.said), []
        return said


def test_waiting_is_said_after_some_seconds_once_and_again_when_the_reason_changes_or_after_minutes() -> None:
    scene = Scene(view(EMPTY))
    assert scene.look(0.0, 4.0, 7.9) == []
    (first,) = scene.look(8.1, 10.0, 100.0)
    assert first.startswith("waiting: no machine of the cluster has a processor")
    scene.seen = view(EMPTY, starting=1)
    assert len(scene.look(102.0, 104.0)) == 1
    assert len(scene.look(410.0)) == 1
    scene.seen = view(EMPTY, SMALL)
    assert scene.look(412.0) == []


def test_a_job_that_has_begun_waits_for_nothing() -> None:
    scene = Scene(view(busy(SMALL, 0.0)))
    scene.begun = True
    assert scene.look(0.0, 50.0) == []


def test_a_machine_that_is_gone_is_named_unless_nobody_had_a_use_for_it() -> None:
    scene = Scene(view(SMALL, EMPTY, demands=()))
    assert scene.look(0.0) == []
    scene.seen = view(EMPTY, demands=())
    assert scene.look(2.0, 4.0) == ["machine 10.0.0.1 was lost: what it was doing is done again elsewhere"]
    scene.seen = view(EMPTY, SMALL, demands=())
    assert scene.look(6.0) == []
    scene.reason, scene.seen = None, view(EMPTY, demands=())
    assert scene.look(8.0) == []


def test_a_head_that_does_not_answer_ends_nothing() -> None:
    scene = Scene(view(EMPTY))

    def fail() -> ClusterView:
        raise RuntimeError("no answer")

    with NodeWatch(lambda: False, fail, lambda _: None, scene.said.append):
        pass
    assert scene.said == []
