"""Throughput against latency as an SVG: a line a network, p50 solid and p95 dashed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from xml.sax.saxutils import escape

from admin.bench.network.course import Point

WIDTH, HEIGHT = 760, 420
LEFT, RIGHT, TOP, BOTTOM = 70, 190, 40, 50
COLOURS = ("#1b6ca8", "#c1440e", "#3a7d44", "#6f4e9c")
_Scale = Callable[[float], float]


def build_plot(points: Sequence[Point], title: str) -> str:
    """The SVG of one mode's points; latency is on a logarithmic scale."""
    shown = [one for one in points if one.rate > 0 and one.p50 > 0]
    most = _round_up(max((one.rate for one in shown), default=1.0))
    decades = _decades([value * 1000 for one in shown for value in (one.p50, one.p95)])
    low, high = decades[0], decades[-1]

    def x(rate: float) -> float:
        return LEFT + rate / most * (WIDTH - LEFT - RIGHT)

    def y(milliseconds: float) -> float:
        share = (math.log10(milliseconds) - low) / max(high - low, 1)
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"'
        ' font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="22" font-size="14">{escape(title)}</text>',
        *_build_axes(x, y, most, range(low, high + 1)),
    ]
    for index, name in enumerate(dict.fromkeys(one.network for one in shown)):
        own = [one for one in shown if one.network == name]
        parts += _build_network(own, COLOURS[index % len(COLOURS)], x, y, index)
    return "\n".join([*parts, "</svg>", ""])


def _build_axes(x: _Scale, y: _Scale, most: float, decades: range) -> list[str]:
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    parts = []
    for part in range(5):
        rate = most * part / 4
        parts.append(
            f'<line x1="{x(rate):.1f}" y1="{TOP}" x2="{x(rate):.1f}" y2="{bottom}" stroke="#ddd"/>'
            f'<text x="{x(rate):.1f}" y="{bottom + 18}" text-anchor="middle">{rate:g}</text>'
        )
    for decade in decades:
        at = y(10.0**decade)
        parts.append(
            f'<line x1="{LEFT}" y1="{at:.1f}" x2="{right}" y2="{at:.1f}" stroke="#ddd"/>'
            f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{10.0**decade:g}</text>'
        )
    middle = (LEFT + right) / 2
    return [
        *parts,
        f'<text x="{middle:.0f}" y="{HEIGHT - 12}" text-anchor="middle">transactions a second'
        "</text>",
        f'<text x="18" y="{(TOP + bottom) / 2:.0f}" text-anchor="middle" transform="rotate(-90 18'
        f' {(TOP + bottom) / 2:.0f})">milliseconds</text>',
    ]


def _build_network(
    points: Sequence[Point], colour: str, x: _Scale, y: _Scale, index: int
) -> list[str]:
    parts = []
    for name, dash in (("p50", ""), ("p95", ' stroke-dasharray="5 4"')):
        places = [(x(one.rate), y(getattr(one, name) * 1000)) for one in points]
        line = " ".join(f"{across:.1f},{up:.1f}" for across, up in places)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}"{dash}/>')
        parts += [
            f'<circle cx="{across:.1f}" cy="{up:.1f}" r="3" fill="{colour}"/>'
            for across, up in places
        ]
    for one in points:
        across, up = x(one.rate), y(one.p50 * 1000)
        parts.append(f'<text x="{across + 5:.1f}" y="{up + 14:.1f}">{one.in_flight}</text>')
    at = TOP + 20 + index * 36
    label = escape(points[0].network)
    parts.append(
        f'<text x="{WIDTH - RIGHT + 15}" y="{at}" fill="{colour}">{label}</text>'
        f'<text x="{WIDTH - RIGHT + 15}" y="{at + 15}" fill="{colour}">p50 ―  p95 - -</text>'
    )
    return parts


def _round_up(value: float) -> float:
    scale = 10.0 ** math.floor(math.log10(max(value, 1.0)))
    return next(step * scale for step in (1, 2, 4, 6, 8, 10) if step * scale >= value)


def _decades(values: Sequence[float]) -> list[int]:
    if not values:
        return [0, 1]
    return [math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))]
