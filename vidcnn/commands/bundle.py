"""`vidcnn bundle`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from vidcnn.bounds import MAX_SEED
from vidcnn.commands import DebugOption, JsonOption
from vidcnn.commands.options import complete_model
from vidcnn.errors import UsageError
from vidcnn.safe_text import one_line
from vidcnn.streams import show


def bundle(
    architecture: Annotated[
        str, typer.Argument(help="Name from `vidcnn models`.", show_default=False, autocompletion=complete_model)
    ],
    *,
    out: Annotated[str, typer.Option(help="Directory of the bundle.", metavar="DIR")],
    weights: Annotated[
        str | None,
        typer.Option(
            help="kinetics400, a checkpoint (.pth, .safetensors), or random.  \\[default: those of the model]",
            metavar="NAME|FILE",
        ),
    ] = None,
    labels: Annotated[
        str | None, typer.Option(help="Class names: one per line, or JSON.", metavar="FILE", show_default=False)
    ] = None,
    num_classes: Annotated[
        int | None, typer.Option(help="Number of classes, where neither weights nor labels show it.", min=1)
    ] = None,
    argument: Annotated[
        list[str] | None,
        typer.Option(help="Argument of the architecture, such as width=0.5; may be repeated.", metavar="NAME=VALUE"),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of random weights, and of a new head.", min=0, max=MAX_SEED)] = 0,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Make a model bundle from an architecture, weights and labels.

    `vidcnn infer --model DIR` then uses it as it is, with its labels, clip sampling and preprocessing.
    """
    from vidcnn.inference.golden import with_golden
    from vidcnn.models.bundle import bundle_target
    from vidcnn.models.resolve import make_bundle

    made = make_bundle(
        architecture,
        weights=weights,
        labels=labels,
        num_classes=num_classes,
        arguments=dict(_parse_argument(text) for text in argument or ()),
        seed=seed,
    )
    bundle_target(out)
    with_golden(made).save(out)
    if as_json:
        show(json.dumps({"bundle": out, "classes": len(made.labels), "weights_sha256": made.weights_sha256}))
        return
    show(f"{one_line(out)}: {made.architecture}, {len(made.labels):,} classes, weights {made.provenance.weights}")


def _parse_argument(text: str) -> tuple[str, object]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise UsageError(f"--argument {text!r} must be NAME=VALUE")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
