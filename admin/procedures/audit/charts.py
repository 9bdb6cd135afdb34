"""Charts as inline SVG: a stacked time line, stacked bars, and a week's hours. Pure."""

from collections.abc import Sequence
from html import escape

from admin.procedures.audit.figures import Bar, Column, Verdict

_WIDE, _HIGH = 960, 190
_LEFT, _BOTTOM, _TOP = 34, 26, 8
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def draw_columns(columns: Sequence[Column]) -> str:
    """Return accesses over time, stacked by verdict, with a title on each part."""
    most = max((sum(column.counts.values()) for column in columns), default=0)
    top = _round_up(most)
    area = _HIGH - _BOTTOM - _TOP
    parts = [_open(_WIDE, _HIGH, "Accesses over time")]
    for tick in sorted({0, top // 2, top}):
        y = _TOP + area - area * tick / top
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDE}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{tick}</text>')
    step = (_WIDE - _LEFT) / max(len(columns), 1)
    width = min(step * 0.72, 46)
    every = max(1, -(-len(columns) // 10))
    for index, column in enumerate(columns):
        x, y = _LEFT + step * index + (step - width) / 2, float(_TOP + area)
        for verdict, count in column.counts.items():
            if count:
                height = area * count / top
                y -= height
                title = f"{column.label}: {count} {verdict.value}"
                parts.append(_rect(x, y, width, height, f"{verdict.value}-fill", title))
        if index % every == 0:
            middle = x + width / 2
            parts.append(
                f'<text x="{middle:.1f}" y="{_HIGH - 8}" text-anchor="middle">'
                f"{escape(column.label)}</text>"
            )
    return "".join((*parts, "</svg>"))


def draw_bars(bars: Sequence[Bar], title: str) -> str:
    """Return a row a bar, stacked by verdict, with its total."""
    row, name, wide = 28, 150, 470
    high = max(row * len(bars), row)
    most = max((bar.total for bar in bars), default=1)
    room = wide - name - 40
    parts = [_open(wide, high, title)]
    for index, bar in enumerate(bars):
        y = row * index + 5
        label = bar.label if len(bar.label) <= 24 else f"{bar.label[:23]}…"
        parts.append(f'<text class="label" x="0" y="{y + 13}">{escape(label)}</text>')
        x = float(name)
        for verdict, count in bar.counts.items():
            if count:
                width = room * count / most
                told = f"{bar.label}: {count} {verdict.value}"
                parts.append(_rect(x, y, width, 18, f"{verdict.value}-fill", told))
                x += width
        parts.append(f'<text x="{x + 8:.1f}" y="{y + 13}">{bar.total}</text>')
    return "".join((*parts, "</svg>"))


def draw_hours(hours: Sequence[Sequence[int]]) -> str:
    """Return a week's hours as a grid, the darker the more accesses."""
    cell, left, top = 36, 40, 4
    most = max((max(day) for day in hours), default=0) or 1
    parts = [_open(left + 24 * cell, top + 7 * 22 + 18, "Accesses by weekday and hour, UTC")]
    for day, counts in enumerate(hours):
        y = top + day * 22
        parts.append(f'<text x="0" y="{y + 14}">{_DAYS[day]}</text>')
        for hour, count in enumerate(counts):
            x = left + hour * cell
            strength = 0.08 if not count else 0.25 + 0.75 * count / most
            parts.append(
                f'<rect class="heat" x="{x}" y="{y}" width="{cell - 3}" height="19" rx="4" '
                f'opacity="{strength:.2f}"><title>{_DAYS[day]} {hour:02d}:00 UTC: {count}</title>'
                "</rect>"
            )
    for hour in range(0, 24, 3):
        parts.append(f'<text x="{left + hour * cell}" y="{top + 7 * 22 + 12}">{hour:02d}:00</text>')
    return "".join((*parts, "</svg>"))


def draw_legend() -> str:
    """Return what the colours mean."""
    return (
        '<div class="legend">'
        + "".join(
            f'<span><i style="background:var(--{v.value})"></i>{v.value}</span>' for v in Verdict
        )
        + "</div>"
    )


def _open(width: int, height: int, title: str) -> str:
    return f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">'


def _rect(x: float, y: float, width: float, height: float, kind: str, title: str) -> str:
    return (
        f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" '
        f'rx="2"><title>{escape(title)}</title></rect>'
    )


def _round_up(most: int) -> int:
    """The next round number that a scale ends at, even and at least two."""
    scale = 1
    while True:
        for step in (2, 4, 6, 8, 10):
            if step * scale >= most:
                return step * scale
        scale *= 10
