"""A report to hand on: one HTML page that needs no other file, no script and no network."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from html import escape

from rustvid import __version__
from rustvid.report import chart
from rustvid.report.findings import Finding
from rustvid.report.readings import Reading
from rustvid.report.summary import clock

_STYLE = """
:root { color-scheme: light; --ink: #1d2733; --soft: #5d6b7a; --rust: #b5431e; --line: #d9dfe5; }
* { box-sizing: border-box; }
body { font: 15px/1.45 system-ui, sans-serif; color: var(--ink); margin: 0 auto; max-width: 1080px;
  padding: 24px; }
h1 { font-size: 24px; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 17px; margin: 32px 0 8px; }
p { margin: 4px 0; } .soft { color: var(--soft); }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px;
  margin: 20px 0 0; }
dl div { border-left: 3px solid var(--rust); padding-left: 10px; }
dt { color: var(--soft); font-size: 13px; } dd { margin: 0; font-size: 20px; }
svg { width: 100%; height: auto; display: block; }
svg text { font: 11px system-ui, sans-serif; fill: var(--soft); }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(300px, 1fr)); gap: 16px; }
figure { margin: 0; border: 1px solid var(--line); border-radius: 6px; overflow: hidden;
  break-inside: avoid; }
figure img { width: 100%; display: block; background: #eef1f4; }
figcaption { padding: 8px 10px; font-size: 14px; }
figcaption b { font-size: 15px; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
th, td { text-align: right; padding: 4px 8px; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child, td:last-child, th:last-child { text-align: left; }
thead { display: table-header-group; }
a { color: inherit; }
"""


def document(
    title: str,
    readings: Sequence[Reading],
    found: Sequence[Finding],
    pictures: Mapping[Finding, bytes],
) -> str:
    """The page. found: all stretches; pictures: JPEG of the peak of some of them."""
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>Corrosion: {escape(title)}</title><style>{_STYLE}</style></head><body>",
            f"<h1>Corrosion: {escape(title)}</h1>",
            '<p class="soft">Areas are estimates of a program, in per cent of the frame, not of a '
            "surface: look at the pictures before you quote one.</p>",
            _figures(readings, found),
            "<h2>Corroded area over time</h2>",
            chart.svg(readings) or "<p>No frame has an area.</p>",
            *_cards(found, pictures),
            *_table(found),
            f'<p class="soft">Made by RustVid {escape(__version__)}.</p>',
            "</body></html>\n",
        ]
    )


def _figures(readings: Sequence[Reading], found: Sequence[Finding]) -> str:
    areas = [reading.percent for reading in readings if reading.percent is not None]
    corroded = sum(area > 0 for area in areas)
    sure = [reading.confidence for reading in readings if reading.confidence is not None]
    told = {
        "frames": f"{len(readings)}",
        "with corrosion": f"{100 * corroded / len(areas):.1f} %" if areas else "–",
        "stretches with corrosion": f"{len(found)}",
        "mean area": f"{sum(areas) / len(areas):.2f} %" if areas else "–",
        "largest area": f"{max(areas):.2f} %" if areas else "–",
        "least confidence": f"{min(sure):.2f}" if sure else "–",
    }
    if len(areas) < len(readings):
        told["frames without an area"] = f"{len(readings) - len(areas)}"
    cells = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in told.items())
    return f"<dl>{cells}</dl>"


def _cards(found: Sequence[Finding], pictures: Mapping[Finding, bytes]) -> Iterator[str]:
    if not pictures:
        return
    chosen = [finding for finding in found if finding in pictures]
    some = "" if len(chosen) == len(found) else f": the {len(chosen)} largest of {len(found)}"
    yield f"<h2>What to look at{some}</h2>"
    yield '<div class="cards">'
    for finding in chosen:
        text = base64.b64encode(pictures[finding]).decode("ascii")
        peak = clock(finding.peak.time)
        yield (
            f'<figure><img alt="the frame at {peak}" src="data:image/jpeg;base64,{text}">'
            f"<figcaption><b>{finding.peak.percent:.2f} %</b> at {peak}<br>"
            f'<span class="soft">{_span(finding)}{_doubts(finding)}{_place(finding)}</span>'
            "</figcaption></figure>"
        )
    yield "</div>"


def _table(found: Sequence[Finding]) -> Iterator[str]:
    yield "<h2>All stretches with corrosion</h2>"
    if not found:
        yield "<p>None: no frame is marked.</p>"
        return
    yield (
        "<table><thead><tr><th>from – to</th><th>largest area</th><th>at</th><th>mean area</th>"
        "<th>least confidence</th><th>where, and what to doubt</th></tr></thead><tbody>"
    )
    for finding in found:
        sure = "" if finding.confidence is None else f"{finding.confidence:.2f}"
        rest = f"{_place(finding)}{_flags(finding)}".removeprefix(" · ")
        yield (
            f"<tr><td>{_span(finding)}</td><td>{finding.peak.percent:.2f} %</td>"
            f"<td>{clock(finding.peak.time)}</td><td>{finding.mean:.2f} %</td>"
            f"<td>{sure}</td><td>{rest}</td></tr>"
        )
    yield "</tbody></table>"


def _span(finding: Finding) -> str:
    return f"{clock(finding.begin)} – {clock(finding.end)}"


def _doubts(finding: Finding) -> str:
    sure = "" if finding.confidence is None else f" · confidence {finding.confidence:.2f}"
    return f"{sure}{_flags(finding)}"


def _flags(finding: Finding) -> str:
    flags = ", ".join(f"{escape(name)} ({count})" for name, count in finding.flags)
    return f" · {flags}" if flags else ""


def _place(finding: Finding) -> str:
    """A link that a telephone opens as a map (RFC 5870)."""
    north, east, height = finding.peak.position
    if north is None or east is None:
        return ""
    above = "" if height is None else f", {height:.0f} m up"
    return f' · <a href="geo:{north:.6f},{east:.6f}">{north:.6f}, {east:.6f}</a>{above}'
