"""One line about a frame, to be drawn into the picture."""

from __future__ import annotations

from rustvid.frames import Measured
from rustvid.report.summary import clock


def caption(result: Measured) -> str:
    """Time, p(corrosion), corroded area and whether this very frame was analysed."""
    words = [clock(float(result.frame.time))]
    if result.probability is not None:
        words.append(f"p {result.probability:.2f}")
    words.append(f"rust {100 * result.area.share:.1f} %")
    words.append("analysed" if result.analysed else "tracked")
    if result.status != "ok":
        words.append(result.status)
    return "  ".join(words)
