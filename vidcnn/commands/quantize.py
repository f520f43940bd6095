"""`vidcnn quantize`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from vidcnn.bounds import MAX_SEED
from vidcnn.choices import Sandbox
from vidcnn.commands import DebugOption, JsonOption, QuietOption
from vidcnn.config.base import FOLLOW_LINKS, SANDBOX
from vidcnn.streams import show


def quantize(
    model: Annotated[str, typer.Argument(help="Directory of the model bundle.", metavar="BUNDLE", show_default=False)],
    *,
    data: Annotated[
        str,
        typer.Option(
            help="Videos like those that it will classify: labelled, as for `vidcnn train`, or not, as for `infer`.",
            metavar="PATH",
        ),
    ],
    out: Annotated[str, typer.Option(help="Directory of the bundle with its int8 form.", metavar="DIR")],
    clips: Annotated[
        int, typer.Option(help="Clips to take: a third calibrates the network, the others measure it.", min=2)
    ] = 384,
    min_agreement: Annotated[
        float,
        typer.Option(help="Share of the clips that must have the same class first as in float32.", min=0.0, max=1.0),
    ] = 0.99,
    epochs: Annotated[
        int,
        typer.Option(
            help="Fine-tune the weights for int8, if scores change too much otherwise: passes over the clips that "
            "calibrate. 0 leaves the weights as they are.",
            min=0,
        ),
    ] = 0,
    seed: Annotated[int, typer.Option(help="Which videos are taken.", min=0, max=MAX_SEED)] = 0,
    follow_links: Annotated[bool, typer.Option("--follow-links/--no-follow-links", help=FOLLOW_LINKS)] = False,
    sandbox: Annotated[Sandbox, typer.Option(help=SANDBOX)] = "auto",
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """Make the int8 form of a model bundle, which runs about twice as fast on processors with VNNI.

    The bundle has float weights, too: where there is no int8, it runs in bfloat16 or float32.
    """
    from vidcnn.pipelines.quantize import quantize_bundle
    from vidcnn.reporting.quantized import quantize_json, quantize_text

    report = quantize_bundle(
        model,
        data,
        out,
        num_clips=clips,
        min_agreement=min_agreement,
        num_epochs=epochs,
        seed=seed,
        follow_links=follow_links,
        sandbox=sandbox,
        show_progress=not quiet,
    )
    text = quantize_text(report)
    show(json.dumps(quantize_json(report)) if as_json else text.splitlines()[0] if quiet else text)
