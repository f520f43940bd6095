from __future__ import annotations

from typing import Any

import pytest

from vidcnn import bounds
from vidcnn.config.job_files import SPECS
from vidcnn.config.schedule import ScheduleSpec
from vidcnn.models.registry import ARCHITECTURES, Architecture


def numbers(schema: Any) -> list[dict[str, Any]]:
    """Return the parts of a JSON schema that are about numbers, however deep."""
    if isinstance(schema, list):
        return [part for inner in schema for part in numbers(inner)]
    if not isinstance(schema, dict):
        return []
    own = [schema] if schema.get("type") in ("integer", "number") else []
    return own + [part for inner in schema.values() for part in numbers(inner)]


def test_every_number_of_a_spec_has_both_bounds() -> None:
    for spec_type in (*SPECS.values(), ScheduleSpec):
        for name, schema in spec_type.model_json_schema()["properties"].items():
            written_as_text = any(kind.get("type") == "string" for kind in schema.get("anyOf", []))
            for number in [] if written_as_text else numbers(schema):
                assert number.keys() & {"minimum", "exclusiveMinimum"}, f"{spec_type.__name__}.{name}"
                assert number.keys() & {"maximum", "exclusiveMaximum"}, f"{spec_type.__name__}.{name}"


@pytest.mark.parametrize("entry", ARCHITECTURES.values(), ids=lambda entry: entry.name)
def test_every_network_is_far_below_the_bounds(entry: Architecture) -> None:
    assert 20 * 4 * entry.num_parameters < bounds.MAX_WEIGHTS_BYTES
    assert 20 * entry.sampling.num_frames <= bounds.MAX_FRAMES
    assert 20 * entry.sampling.num_frames * entry.preprocessing.frame_bytes < bounds.MAX_CLIP_BYTES
