"""One line about a frame, to be drawn into the picture."""

from __future__ import annotations

from rustvid.frames import Measured
from rustvid.report.summary import clock

_WORTH_SAYING = 0.01  # of the frame


def caption(result: Measured) -> str:
    """Time, p(corrosion), corroded area, whether this very frame was analysed, what is unknown."""
    words = [clock(float(result.frame.time))]
    if result.probability is not None:
        words.append(f"p {result.probability:.2f}")
    words.append(f"rust {100 * result.area.share:.1f} %")
    words.append("analysed" if result.analysed else "tracked")
    if not result.analysed and result.refined.unknown_share >= _WORTH_SAYING:
        words.append(f"unknown {100 * result.refined.unknown_share:.0f} %")
    if result.status != "ok":
        words.append(result.status)
    return "  ".join(words)
