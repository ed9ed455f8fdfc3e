"""A map of what was found: tables with positions as GeoJSON (RFC 7946), which QGIS, Google Earth,
geojson.io and the like show.

Of each table there is the way of the camera, a line, and a point for each second of film in which
there was corrosion. The point is where the camera was, not what it looked at.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from rustvid.errors import UsageError
from rustvid.files import check_new, replacing
from rustvid.report.readings import WHY_NOT, Reading, is_located, readings
from rustvid.report.summary import clock

_DIGITS = 6  # of degrees: a decimetre
# From which share of the frame in per cent a point has which colour (simplestyle's property).
_COLOURS = ((5.0, "#d62828"), (1.0, "#f77f00"), (0.0, "#fcbf49"))
_WAY = "#457b9d"


def write(out: Path, sources: Iterable[Path], *, overwrite: bool = False) -> str:
    """Make the map of these tables, or folders of tables, and return what there is on it.

    Raises UsageError where there is nothing to show, or `out` exists and may not be replaced, and
    SinkError where it cannot be written.
    """
    check_new(out, (".geojson", ".json"), overwrite=overwrite)
    tables = {
        table: readings(table, located=True) for source in sources for table in _tables(source)
    }
    features = [f for path, frames in tables.items() for f in features_of(path.name, frames)]
    text = json.dumps({"type": "FeatureCollection", "features": features}, ensure_ascii=False)
    with replacing(out) as part:
        part.write_text(text, encoding="utf-8", errors="replace")  # a name need be no UTF-8
    return _told(tables, features)


def features_of(table: str, frames: Sequence[Reading]) -> list[dict[str, Any]]:
    """The way, if the camera moved, and the points; table: the name that they bear."""
    seconds = [list(some) for _, some in groupby(frames, key=lambda frame: int(frame.time))]
    points = [point for second in seconds if (point := _point(table, second)) is not None]
    ways = list(_ways([second[0] for second in seconds]))
    if not ways:
        return points
    facts = {"table": table, "seconds_with_corrosion": len(points), "stroke": _WAY}
    return [_feature("MultiLineString", ways, facts), *points]


def _tables(source: Path) -> list[Path]:
    """The table itself; of a folder those below it that have positions."""
    if not source.is_dir():
        return [source]
    found = [path for path in sorted(source.rglob("*.csv")) if is_located(path)]
    if not found:
        raise UsageError(f"{source}: holds no table with positions; {WHY_NOT}")
    return found


def _told(tables: Mapping[Path, Sequence[Reading]], features: Sequence[dict[str, Any]]) -> str:
    frames = [reading for found in tables.values() for reading in found]
    known = sum(_place(reading) is not None for reading in frames)
    points = sum(feature["geometry"]["type"] == "Point" for feature in features)
    films = f"{len(tables)} tables: " if len(tables) > 1 else ""
    return (
        f"{films}{points} seconds with corrosion; {known} of {len(frames)} frames have a position"
    )


def _ways(frames: Sequence[Reading]) -> Iterator[list[list[float]]]:
    """The stretches of the way between the holes in it."""
    for known, some in groupby(frames, key=lambda reading: _place(reading) is not None):
        places = [place for reading in some if (place := _place(reading))] if known else []
        way = [place for place, _ in groupby(places)]
        if len(way) > 1:
            yield way


def _point(table: str, second: Sequence[Reading]) -> dict[str, Any] | None:
    """A second of film, where it shows most; None where it shows nothing, or nobody knows where."""
    measured = [(reading.percent, reading) for reading in second if reading.percent is not None]
    if not measured:
        return None
    peak, most = max(measured, key=lambda pair: pair[0])
    place = _place(most)
    if place is None or not peak:
        return None
    sure = [reading.confidence for reading in second if reading.confidence is not None]
    facts = {
        "table": table,
        "time": clock(most.time),
        "area_pct": round(sum(percent for percent, _ in measured) / len(measured), 3),
        "peak_area_pct": round(peak, 3),
        "least_confidence": min(sure, default=None),
        "height_m": most.position.height,
        "marker-color": next(colour for least, colour in _COLOURS if peak >= least),
    }
    return _feature("Point", place, {k: v for k, v in facts.items() if v is not None})


def _place(reading: Reading) -> list[float] | None:
    """Longitude and latitude, in this order."""
    north, east, _ = reading.position
    return None if north is None or east is None else [round(east, _DIGITS), round(north, _DIGITS)]


def _feature(kind: str, coordinates: Any, facts: dict[str, Any]) -> dict[str, Any]:
    geometry = {"type": kind, "coordinates": coordinates}
    return {"type": "Feature", "geometry": geometry, "properties": facts}
