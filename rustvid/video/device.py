"""Why a camera at this machine (V4L2: /dev/video0) cannot be opened, and what to do."""

from __future__ import annotations

import errno
from dataclasses import dataclass

_THERE = "`ls /dev/video*` shows those that are there"


@dataclass(frozen=True)
class Refusal:
    """In words, with the remedy.

    final: another try would give the same
    unless_seen: final, too, but where pictures came from it: then it was unplugged, and may return
    """

    reason: str
    final: bool = False
    unless_seen: bool = False


_FORBIDDEN = Refusal(
    "may not be opened; add the user to the group video (sudo usermod -aG video $USER), then log "
    "in again",
    unless_seen=True,  # plugged in again, a device is root's for a moment
)
_NONE = Refusal(f"is no video device; {_THERE}", final=True)
_REFUSALS = {
    errno.ENOENT: Refusal(f"no such device; {_THERE}", unless_seen=True),
    errno.ENODEV: Refusal(
        "gives no picture: many cameras have a second device that is for data alone; "
        f"{_THERE}: try another one",
        unless_seen=True,
    ),
    errno.ENXIO: Refusal(f"no such device; {_THERE}", unless_seen=True),
    errno.EACCES: _FORBIDDEN,
    errno.EPERM: _FORBIDDEN,
    errno.ENOTTY: _NONE,
    errno.EISDIR: _NONE,
    errno.ENOTDIR: _NONE,
    errno.EBUSY: Refusal("another program uses it; end that one (`fuser -v /dev/video*`)"),
}


def refusal_of(error: BaseException) -> Refusal | None:
    """What an error on opening a device means; None: nothing is known of it."""
    return _REFUSALS.get(getattr(error, "errno", None) or 0)
