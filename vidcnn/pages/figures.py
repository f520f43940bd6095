"""Drawings as SVG, made of numbers alone: colours are classes of the page's style, so that they follow its dark mode.

Each has a text that says what is drawn, for who cannot see it; the numbers themselves stand beside it in the page.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

from markupsafe import Markup, escape

WIDTH, HEIGHT = 480, 180
_LEFT, _BOTTOM, _TOP, _RIGHT = 44, 24, 8, 8
_MOST_POINTS = 500


def histogram_svg(counts: Sequence[int], *, text: str) -> Markup:
    """Draw how many predictions have which score.

    Args:
        counts: Of bins of the same width in [0, 1].
        text: What is drawn, in words.
    """
    highest = max([1, *counts])
    width = (WIDTH - _LEFT - _RIGHT) / len(counts)
    bars = []
    for number, count in enumerate(counts):
        height = (HEIGHT - _BOTTOM - _TOP) * count / highest
        bars.append(
            f'<rect class="bar" x="{_LEFT + number * width + 1:.1f}" y="{HEIGHT - _BOTTOM - height:.1f}" '
            f'width="{width - 2:.1f}" height="{height:.1f}"><title>{number / len(counts):.2f} to '
            f"{(number + 1) / len(counts):.2f}: {count:,}</title></rect>"
        )
    axis = [(share, f"{share:g}") for share in (0, 0.25, 0.5, 0.75, 1)]
    return _drawing("".join(bars), axis, [(0, "0"), (1, short_number(highest))], text)


def reliability_svg(shares: Sequence[tuple[float, float] | None], *, text: str) -> Markup:
    """Draw how often predictions are right that have about the same score: on the diagonal, scores say the truth.

    Args:
        shares: Of bins of the same width in [0, 1], the mean score and the share that is right; None where it is empty.
        text: What is drawn, in words.
    """
    width, height = WIDTH - _LEFT - _RIGHT, HEIGHT - _BOTTOM - _TOP
    bars = [
        f'<rect class="bar" x="{_LEFT + number * width / len(shares) + 1:.1f}" '
        f'y="{HEIGHT - _BOTTOM - share[1] * height:.1f}" width="{width / len(shares) - 2:.1f}" '
        f'height="{share[1] * height:.1f}"><title>mean score {share[0]:.3f}: {share[1]:.1%} are right</title></rect>'
        for number, share in enumerate(shares)
        if share is not None
    ]
    diagonal = f'<line class="diagonal" x1="{_LEFT}" y1="{HEIGHT - _BOTTOM}" x2="{WIDTH - _RIGHT}" y2="{_TOP}"/>'
    axis = [(share, f"{share:g}") for share in (0, 0.25, 0.5, 0.75, 1)]
    return _drawing("".join(bars) + diagonal, axis, [(0, "0 %"), (0.5, "50 %"), (1, "100 %")], text)


def curves_svg(curves: Sequence[Sequence[tuple[float, float]]], *, text: str) -> Markup:
    """Draw curves over the same axes, which begin at 0; the style draws each in another colour and dash.

    Args:
        curves: Of each curve points (x, y), x rising, neither below 0; values that are no numbers are left out.
        text: What is drawn, in words.
    """
    known = [[(x, y) for x, y in curve if isfinite(x) and isfinite(y)] for curve in curves]
    last = max((x for curve in known for x, _ in curve), default=0) or 1
    highest = max((y for curve in known for _, y in curve), default=0) or 1
    width, height = WIDTH - _LEFT - _RIGHT, HEIGHT - _BOTTOM - _TOP
    lines = []
    for number, curve in enumerate(known):
        places = [
            (_LEFT + x / last * width, HEIGHT - _BOTTOM - max(0.0, y) / highest * height) for x, y in _thinned(curve)
        ]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        lines.append(f'<polyline class="curve curve{number}" points="{path}"/>')
        lines += [
            f'<circle class="dot{number}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in places if len(places) == 1
        ]
    across = [(0, "0"), (0.5, short_number(last / 2)), (1, short_number(last))]
    return _drawing("".join(lines), across, [(0, "0"), (1, short_number(highest))], text)


def _thinned(curve: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return at most some points of a curve, its last one among them."""
    step = -(-len(curve) // _MOST_POINTS)
    return curve[::-1][:: max(1, step)][::-1]


def short_number(number: float) -> str:
    """Return a number in four letters or so: 950, 1.2k, 34k, 5.6M."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return (
                f"{number / size:.1f}".removesuffix(".0") + unit if number < 10 * size else f"{number / size:.0f}{unit}"
            )
    return f"{number:g}" if number == int(number) else f"{number:.2g}"


def _drawing(
    inside: str, across: Sequence[tuple[float, str]], upwards: Sequence[tuple[float, str]], text: str
) -> Markup:
    """Put axes around a drawing; places on them are in [0, 1]."""
    width, height = WIDTH - _LEFT - _RIGHT, HEIGHT - _BOTTOM - _TOP
    marks = [
        f'<text class="tick" x="{_LEFT + place * width:.1f}" y="{HEIGHT - 6}" text-anchor="'
        f'{"start" if place == 0 else "end" if place == 1 else "middle"}">{escape(label)}</text>'
        for place, label in across
    ]
    for place, label in upwards:
        y = HEIGHT - _BOTTOM - place * height
        marks.append(f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        marks.append(
            f'<text class="tick" x="{_LEFT - 6}" y="{min(max(y + 4, 12), HEIGHT - _BOTTOM):.1f}" '
            f'text-anchor="end">{escape(label)}</text>'
        )
    return Markup(
        f'<svg xmlns="http://www.w3.org/2000/svg" class="figure" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(text)}">'
        f"{''.join(marks)}{inside}</svg>"
    )
