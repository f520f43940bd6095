from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from vidcnn.cluster import sides
from vidcnn.errors import UsageError

HERE = socket.gethostname()


def seen_elsewhere(values: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return what a machine named laptop with the same files sees."""
    return sides.look(values) | {"machine": "laptop"} | changes


def refusal(values: dict[str, Any], seen: dict[str, Any], *, writes: bool = True) -> str:
    with pytest.raises(UsageError) as caught:
        sides.check(values, seen, writes=writes)
    return caught.value.message


def test_a_path_that_only_one_side_has_is_named_with_its_side(tmp_path: Path) -> None:
    there = tmp_path / "videos"
    for values in ({"source": [str(there)]}, {"data": str(there)}, {"model": str(there)}, {"labels": str(there)}):
        there.mkdir(exist_ok=True)
        seen = seen_elsewhere(values)
        sides.check(values, seen, writes=True)
        there.rmdir()
        assert refusal(values, seen) == (
            f"'{there}' is on laptop, where the command was given, but not on the cluster's head ({HERE})"
        )
        assert refusal(values, seen_elsewhere(values)) == (
            f"there is no '{there}' on the cluster's head ({HERE}), nor on laptop"
        )


def test_what_only_the_cluster_has_is_fine_and_names_and_uris_are_no_paths(tmp_path: Path) -> None:
    values = {"source": [str(tmp_path), "s3://bkt/x"], "model": "r3d_18", "weights": None, "out": "s3://bkt/out"}
    sides.check(values, seen_elsewhere(values, present=[]), writes=True)


def test_a_pattern_is_there_where_its_folder_is(tmp_path: Path) -> None:
    values = {"source": [f"{tmp_path}/*/cam?.mp4"]}
    sides.check(values, seen_elsewhere(values, present=[]), writes=True)
    values = {"source": [f"{tmp_path}/none/*.mp4"]}
    assert refusal(values, seen_elsewhere(values)).startswith(f"there is no '{tmp_path}/none/*.mp4' on the cluster's")


def test_an_output_that_the_other_side_does_not_see_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"source": [], "out": str(tmp_path / "new" / "preds.parquet")}
    sides.check(values, seen_elsewhere(values), writes=True)  # both see the same folder
    for disk in ("another:1:2", None):
        text = refusal(values, seen_elsewhere(values, disk=disk))
        assert text.endswith(f"would be on a disk of the cluster's head ({HERE}), which laptop does not see")
        sides.check(values, seen_elsewhere(values, disk=disk), writes=False)
    monkeypatch.setattr(sides, "is_shared", lambda path: path == values["out"])
    sides.check(values, seen_elsewhere(values, disk="another:1:2"), writes=True)
