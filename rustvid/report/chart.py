"""Corroded area over time, drawn as SVG: of each moment the mean, dark, and the largest, light."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from rustvid.report.readings import Reading
from rustvid.report.summary import clock

_WIDTH, _HEIGHT = 1000, 250  # in units of its own
_LEFT, _ABOVE, _BELOW = 46, 6, 24  # beside what is drawn
_MOMENTS = 500  # of the film's length, at most
_LINES = 4  # of the grid, above its floor
_MOST_TIMES = 8  # below it, but for one
_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200)  # seconds
_DAY = 86_400
_MEAN, _LARGEST, _GRID = "#b5431e", "#e8b49f", "#d9dfe5"

Areas = list[tuple[float, float]]  # seconds, per cent


@dataclass(frozen=True)
class _Scale:
    """From `first` seconds on, for `length`; from 0 to `top` per cent."""

    first: float
    length: float
    top: float

    def x(self, time: float) -> float:
        return _LEFT + (_WIDTH - _LEFT) * (time - self.first) / self.length

    def y(self, area: float) -> float:
        return _ABOVE + (_HEIGHT - _ABOVE - _BELOW) * (1 - area / self.top)


def svg(readings: Sequence[Reading]) -> str:
    """The chart of those that have an area; "" where none has."""
    areas = [(r.time, r.percent) for r in readings if r.percent is not None]
    if not areas:
        return ""
    first, last = areas[0][0], areas[-1][0]
    stands = (last - first) / max(len(areas) - 1, 1)  # seconds of each: the last one too has room
    length = max(last - first + stands, 1e-3)
    scale = _Scale(first, length, _round(max(area for _, area in areas)))
    drawn = [*_grid(scale), *_bars(scale, areas), *_times(scale)]
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="corroded area over time" '
        f'shape-rendering="crispEdges">{"".join(drawn)}</svg>'
    )


def _grid(scale: _Scale) -> Iterator[str]:
    for line in range(_LINES + 1):
        area = scale.top * line / _LINES
        y = scale.y(area)
        yield f'<line x1="{_LEFT}" x2="{_WIDTH}" y1="{y:.1f}" y2="{y:.1f}" stroke="{_GRID}"/>'
        yield f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{area:g} %</text>'


def _bars(scale: _Scale, areas: Areas) -> Iterator[str]:
    moments = min(_MOMENTS, len(areas))
    width = (_WIDTH - _LEFT) / moments + 0.5  # without a seam to the next

    def moment(pair: tuple[float, float]) -> int:
        return int((pair[0] - scale.first) / scale.length * moments + 1e-6)  # 3 / 10 * 10 < 3

    for _, some in groupby(areas, key=moment):
        chosen = list(some)
        values = [area for _, area in chosen]
        for value, colour in ((max(values), _LARGEST), (sum(values) / len(values), _MEAN)):
            height = scale.y(0) - scale.y(value)
            if height:
                yield (
                    f'<rect x="{scale.x(chosen[0][0]):.1f}" y="{scale.y(value):.1f}" '
                    f'width="{width:.2f}" height="{height:.1f}" fill="{colour}"/>'
                )


def _times(scale: _Scale) -> Iterator[str]:
    days = _DAY * math.ceil(scale.length / _DAY / _MOST_TIMES)
    step = next((s for s in _STEPS if scale.length / s <= _MOST_TIMES), days)
    last = scale.first + scale.length
    for number in range(math.ceil(scale.first / step), math.floor(last / step) + 1):
        x = scale.x(number * step)
        anchor = "end" if x > _WIDTH - 30 else "middle"
        told = clock(number * step).partition(".")[0]
        yield f'<text x="{x:.1f}" y="{_HEIGHT - 6}" text-anchor="{anchor}">{told}</text>'


def _round(value: float) -> float:
    """A round number at or above: 1, 2, 4 or 8 times a power of ten; 100 at most."""
    power = 10.0 ** math.floor(math.log10(max(value, 0.01)))
    return min(next(n * power for n in (1, 2, 4, 8, 10) if n * power >= value), 100.0)
