"""The nodes of the cluster whose job this process is, each looked at as a machine of its own."""

from __future__ import annotations

from dataclasses import replace

from vidcnn.cluster import attach_to_cluster, open_ray
from vidcnn.cluster.each_node import Answers, ask_each_node
from vidcnn.doctor.examination import Wishes, examine
from vidcnn.reporting.findings import Examination

_SECONDS = 240.0
"""How long a node may take; some twenty are usual."""


def examine_nodes(wishes: Wishes) -> Answers[Examination]:
    """Look at all nodes at once.

    Raises:
        VidcnnError: This process is no job of a cluster, or its Ray cannot be reached.
    """
    attach_to_cluster()
    with open_ray():
        return ask_each_node(examine, replace(wishes, is_node=True), seconds=_SECONDS)
