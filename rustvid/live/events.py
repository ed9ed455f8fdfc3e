"""Events: corrosion above a threshold for some seconds is one, written down and passed on."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2

from rustvid.config import EventsConfig
from rustvid.errors import SinkError
from rustvid.frames import Measured, Picture
from rustvid.report.csv import utc_text
from rustvid.video.planes import small_rgb

_THUMBNAIL = 640  # pixels, the longer side


class Rule:
    """When an event begins. Pure: it is told the time.

    area: per cent of the frame that must be exceeded; seconds: for how long. The event is over when
    the area was not above for as long; only then another one can begin.
    """

    def __init__(self, area: float, seconds: float) -> None:
        self.active = False
        self._area, self._seconds = area, seconds
        self._since: float | None = None  # when what would change the state began

    def skip(self, seconds: float) -> None:
        """So long before the next frame nobody saw anything: it counts for neither."""
        if self._since is not None:
            self._since += seconds

    def begins(self, time: float, area: float) -> bool:
        """Does an event begin with this frame? area: per cent of the frame, at `time` seconds."""
        if (area > self._area) is self.active:
            self._since = None
            return False
        if self._since is None:
            self._since = time
        if time - self._since < self._seconds:
            return False
        self.active, self._since = not self.active, None
        return self.active


class Events:
    """Writes each event as a line of JSON and hands it to those who want it; a context manager.

    An event is told once it is known which file its frame is in. Where that is not known in time
    (the camera has gone meanwhile), or the frame is in none, it is told without.
    told: called with the line of each event; mark: of this camera, in the names of thumbnails
    """

    def __init__(
        self, camera: str, config: EventsConfig, told: Callable[[str], None], mark: str = ""
    ) -> None:
        self.count = 0
        self._camera, self._config, self._told = camera, config, told
        self._mark = f"-{mark}" if mark else ""
        self._rule = Rule(config.area, config.seconds)
        self._last = Fraction(0)  # time of the last frame
        self._path = Path(config.path) if config.path else None
        self._untold: deque[tuple[Fraction, dict[str, Any]]] = deque()

    def __enter__(self) -> Events:
        return self

    def __exit__(self, *error: object) -> None:
        self.tell_all()

    def tell_all(self) -> None:
        """Wait no longer for a file to be known."""
        while self._untold:
            self._write(self._untold.popleft()[1])

    def see(self, result: Measured, drawn: Picture) -> None:
        """Look at one result and its annotated picture: does an event begin?"""
        gone, self._last = result.frame.time - self._last, result.frame.time
        if result.frame.status == "reconnected":
            self._rule.skip(float(gone))
        area = 100 * result.area.share
        if area <= self._config.area < area + 100 * result.refined.unknown_share:
            return  # tracked, and what it does not know would decide
        if not self._rule.begins(float(result.frame.time), area):
            return
        self.count += 1
        event = {
            "event": "corrosion",
            "camera": self._camera,
            "utc": utc_text(result.frame.utc or 0.0),
            "time_s": round(float(result.frame.time), 6),
            "frame": result.frame.index,
            "area_pct": round(area, 4),
            "regions": result.area.regions,
            "probability": result.probability and round(result.probability, 4),
            "for_s": self._config.seconds,
            "threshold_pct": self._config.area,
            "video": None,
            "thumbnail": self._thumbnail(result, drawn),
        }
        self._untold.append((result.frame.time, event))

    def written(self, until: Fraction, video: Path | None) -> None:
        """All frames up to that time that were not yet, are in this file: tell their events."""
        while self._untold and self._untold[0][0] <= until:
            event = self._untold.popleft()[1]
            self._write(event | {"video": video and video.name})

    def _write(self, event: dict[str, Any]) -> None:
        line = json.dumps(event, ensure_ascii=False)
        if self._path:
            try:
                with self._path.open("a", encoding="utf-8") as file:
                    file.write(line + "\n")
            except OSError as exc:
                raise SinkError(
                    f"{self._path}: cannot be written ({exc.strerror}); check folder and space"
                ) from exc
        self._told(line)

    def _thumbnail(self, result: Measured, drawn: Picture) -> str | None:
        """The name of the picture that was written beside the events."""
        if self._path is None or not self._config.thumbnails:
            return None
        stamp = utc_text(result.frame.utc or 0.0).replace("-", "").replace(":", "")
        path = self._path.with_name(f"{self._path.stem}{self._mark}-{stamp}.jpg")
        try:
            path.write_bytes(jpeg(drawn, _THUMBNAIL))
        except OSError as exc:
            raise SinkError(
                f"{path}: cannot be written ({exc.strerror}); check folder and space"
            ) from exc
        return path.name


def jpeg(picture: Picture, longest: int) -> bytes:
    """A picture as JPEG, upright, its longer side at most `longest` pixels."""
    bgr = cv2.cvtColor(small_rgb(picture, longest), cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 85])
    if not done:
        raise ValueError(f"no JPEG of a picture of {picture.shape}")
    return data.tobytes()
