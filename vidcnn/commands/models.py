"""`vidcnn models`."""

from __future__ import annotations

import json
from dataclasses import asdict

from vidcnn.commands import DebugOption, JsonOption
from vidcnn.streams import show


def models(*, as_json: JsonOption = False, debug: DebugOption = False) -> None:
    """List the models: name, parameters, GFLOPs per clip, input and weights."""
    from vidcnn.models.table import model_rows
    from vidcnn.reporting.summaries import table_text

    rows = model_rows()
    if as_json:
        show(json.dumps([asdict(row) for row in rows]))
        return
    show(
        table_text(
            ("model", "parameters", "GFLOPs/clip", "input", "weights"),
            [
                (
                    row.name,
                    f"{row.num_parameters / 1e6:.1f} M",
                    f"{row.gflops:.1f}",
                    row.input,
                    ", ".join((*row.weights, "random")),
                )
                for row in rows
            ],
            right=("parameters", "GFLOPs/clip"),
        )
    )
