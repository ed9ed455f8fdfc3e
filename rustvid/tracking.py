"""Carry masks from analysed frames to those between them, by dense optical flow.

    analysed ──flow──► frame ◄──flow── analysed
              forward         backward, where the future may be waited for

A frame between two analysed ones gets a blend of both masks: the nearer one in time counts for
more, and so does the one whose way there is consistent (a step forth and back ends where it
began). What neither shows, because it came into view or lies behind a scene cut, is unknown.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction

import cv2
import numpy as np
from numpy.typing import NDArray

from rustvid.errors import SourceError
from rustvid.frames import Localised, Refined
from rustvid.motion import (
    FLOW_SIZE,
    Flow,
    Gray,
    flow,
    is_cut,
    places,
    remapped,
    small_gray,
)

# (143, 143, 3) float32: for every 2×2 pixels of 286, how far to x and y they lay in the analysed
# frame, and the squared error of the way there, in pixels of 286. The flow itself knows no more: it
# is computed at a quarter of 286 and enlarged. Flows are thinned to this grid, too.
Way = NDArray[np.float32]
Votes = NDArray[np.float32]  # (286, 286): 1 corroded, -1 not

_WAY_SIZE = FLOW_SIZE // 2
_STRIDE = FLOW_SIZE / _WAY_SIZE  # pixels of 286 from one of a way to the next
_TOLERANCE = 2.0  # pixels of 286: an error of the way that halves a mask's weight, about
_LOST = 1e6  # squared error of a way that leads nowhere
_MARGIN = 1.5  # pixels of 286 outside the picture that are still taken for its edge
_LEAST = 0.01  # weight below which a way is no evidence: an error of five pixels
_WAITING_BYTES = 256_000_000  # of what waits for the next analysed frame: 20 frames of 4K


def track(results: Iterable[Refined | Localised], ahead: bool = False) -> Iterator[Refined]:
    """Give every frame a mask: refined ones keep theirs, the others get them carried.

    ahead: wait for the next analysed frame and carry its mask backward too; the frames between
        two analysed ones wait for it, as far as the memory they take is bounded
    A scene cut ends a track: what no analysed frame of the scene shows is unknown.
    """
    tracker: _Tracker | None = None
    try:
        for result in results:
            if tracker is None:
                if not isinstance(result, Refined):
                    raise ValueError(f"frame {result.frame.index} has no analysed frame before it")
                yield result
                tracker = _Tracker(result)
            elif isinstance(result, Refined) and result.mask_from != "failed":
                yield from tracker.meet(result)
                yield result
                tracker = _Tracker(result, tracker.gray)
            else:
                tracker.follow(result)
                if not ahead or tracker.full:
                    yield tracker.first_waiting()
    except SourceError:  # a film that is cut short: the frames before the cut are whole
        if tracker:
            yield from tracker.rest()
        raise
    if tracker:
        yield from tracker.rest()


@dataclass
class _Step:
    """A frame that waits for the next analysed one.

    back, forth: flow from it to the frame before, and from that one to it, (143, 143, 2) in pixels
        of 286; None: a cut between
    way: from it to the analysed frame before
    """

    result: Refined | Localised
    back: Flow | None
    forth: Flow | None
    way: Way

    @property
    def bytes(self) -> int:
        """Of the picture, which the flows of a small film exceed ten times, and of these."""
        flows = sum(flow.nbytes for flow in (self.back, self.forth) if flow is not None)
        ways = 2 * self.way.nbytes  # the other one to the analysed frame after: see `meet`
        return sum(plane.nbytes for plane in self.result.frame.picture.planes) + flows + ways


@dataclass(frozen=True)
class _Onward:
    """The analysed frame after those that wait: its time, its mask, and the way of one of them."""

    time: Fraction
    votes: Votes
    way: Way


class _Tracker:
    """The last analysed frame and the frames since that have not been given their masks."""

    def __init__(self, refined: Refined, gray: Gray | None = None) -> None:
        self.gray = gray  # of the last frame; made only where frames are tracked
        self._before = refined
        self._votes: Votes | None = None  # of its mask; made only where frames are tracked
        # Where the first frame's refinement failed, its empty mask says nothing of the next ones.
        self._way = _LEADS_NOWHERE if refined.mask_from == "failed" else _NOWHERE_ELSE
        self._waiting: deque[_Step] = deque()
        self._bytes = 0

    @property
    def full(self) -> bool:
        """Do the waiting frames take as much memory as they may?"""
        return self._bytes > _WAITING_BYTES

    def follow(self, result: Refined | Localised) -> None:
        """Take in the next frame that has no mask of its own."""
        back, forth = self._step(result)
        self._way = joined(self._way, back, forth)
        step = _Step(result, back, forth, self._way)
        self._waiting.append(step)
        self._bytes += step.bytes

    def first_waiting(self) -> Refined:
        """The oldest of the waiting frames, by what is known so far."""
        return self._carried(self._taken(), None)

    def meet(self, after: Refined) -> Iterator[Refined]:
        """The waiting frames, between the last analysed frame and this one, which is the next."""
        if not self._waiting:
            self.gray = None  # what there is is not of this frame
        else:
            back, forth = self._step(after)
            ways: list[Way] = []  # from the waiting frames to the next analysed one, latest first
            way = _NOWHERE_ELSE
            for step in reversed(self._waiting):
                way = joined(way, forth, back)
                ways.append(way)
                back, forth = step.back, step.forth
            votes = votes_of(after.working_mask)
            while self._waiting:
                yield self._carried(self._taken(), _Onward(after.frame.time, votes, ways.pop()))

    def rest(self) -> Iterator[Refined]:
        """The waiting frames; no other comes."""
        while self._waiting:
            yield self.first_waiting()

    def _step(self, result: Refined | Localised) -> tuple[Flow | None, Flow | None]:
        """The flow from this frame to the one before, and from that one to this."""
        before = small_gray(self._before.frame.picture) if self.gray is None else self.gray
        self.gray = small_gray(result.frame.picture)
        if result.frame.window is not None:  # a photo of another shape: its mask lies elsewhere
            return None, None
        back = flow(self.gray, before)
        if is_cut(before, self.gray, back):
            return None, None
        return _thinned(back), _thinned(flow(before, self.gray))

    def _taken(self) -> _Step:
        step = self._waiting.popleft()
        self._bytes -= step.bytes
        return step

    def _carried(self, step: _Step, onward: _Onward | None) -> Refined:
        """The waiting frame with its mask."""
        if isinstance(step.result, Refined):
            return step.result  # its refinement failed, which is to be seen
        frame, before = step.result.frame, self._before
        if self._votes is None:
            self._votes = votes_of(before.working_mask)
        known = trust(step.way)
        parts = [(self._votes, step.way, known)]
        if onward is not None:
            forward, backward = known, trust(onward.way)
            known = np.maximum(forward, backward)
            near = float((frame.time - before.frame.time) / (onward.time - before.frame.time))
            parts = [
                (self._votes, step.way, forward * np.float32(1 - near)),
                (onward.votes, onward.way, backward * np.float32(near)),
            ]
        unknown = (known == 0).astype(np.uint8)
        return Refined(
            step.result,
            blended(parts, before.working_mask.shape[0]),
            mask_from="tracked",
            unknown=unknown if unknown.any() else None,
        )


def joined(way: Way, back: Flow | None, forth: Flow | None) -> Way:
    """The way of a frame: first `back` to its neighbour, then that one's `way`.

    forth: flow from the neighbour to the frame: where the two disagree, the error grows.
    Ways are joined, masks are not moved on: rounding a mask to 0 or 1 at every frame would lose
    what moves less than a pixel a frame, for good.
    """
    if back is None or forth is None:  # a cut
        return _LEADS_NOWHERE
    ends = _PLACES + back * np.float32(1 / _STRIDE)
    there = remapped(cv2.merge([way, forth]), ends)
    way_x, way_y, error, forth_x, forth_y = cv2.split(there)
    back_x, back_y = _both(back)
    x, y = back_x + forth_x, back_y + forth_y
    whole = cv2.merge([back_x + way_x, back_y + way_y, error + (x * x + y * y)])
    return whole.astype(np.float32, copy=False)


def trust(way: Way) -> NDArray[np.float32]:
    """(143, 143) float32 in [0, 1]: how much the way's end says about each pixel; 0 where that is
    no evidence."""
    centres = _PLACES * np.float32(_STRIDE) + np.float32((_STRIDE - 1) / 2)
    x, y = _both(way[..., :2] + centres)
    low, high = -_MARGIN, FLOW_SIZE - 1 + _MARGIN
    weight = np.exp(way[..., 2] * np.float32(-np.log(2) / _TOLERANCE**2))
    known = (x >= low) & (x <= high) & (y >= low) & (y <= high) & (weight >= _LEAST)
    return np.where(known, weight, 0).astype(np.float32)


def votes_of(mask: NDArray[np.uint8]) -> Votes:
    """What each pixel of a mask (s, s) uint8 0 or 1 speaks for; edges lie between pixels."""
    soft = cv2.resize(mask * np.float32(2), _SIZE, interpolation=cv2.INTER_AREA)
    return np.asarray(soft - 1, np.float32)


def blended(parts: list[tuple[Votes, Way, NDArray[np.float32]]], size: int) -> NDArray[np.uint8]:
    """(size, size) uint8 0 or 1: the votes at the ends of ways, weighted; 0 where none counts.

    parts: votes, with the ways (143, 143, 3) that lead to them and the weights (143, 143) of those
    """
    if not any((votes > -1).any() for votes, _, _ in parts):
        return np.zeros((size, size), np.uint8)
    total = np.zeros((FLOW_SIZE, FLOW_SIZE), np.float32)  # above 0: corroded
    for votes, way, weight in parts:
        ends = cv2.resize(way[..., :2], _SIZE) + _FINE_PLACES
        # What lies just beyond the picture is taken for its edge; what lies farther has no weight.
        total += remapped(votes, ends) * cv2.resize(weight, _SIZE)
    return (cv2.resize(total, (size, size)) > 0).astype(np.uint8)


def _thinned(pairs: Flow) -> Flow:
    return np.asarray(cv2.resize(pairs, (_WAY_SIZE, _WAY_SIZE), interpolation=cv2.INTER_AREA))


def _both(pairs: Flow) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """x and y apart: NumPy takes ten times as long to reduce an axis of two."""
    x, y = cv2.split(pairs)
    return x, y  # type: ignore[return-value]


_SIZE = (FLOW_SIZE, FLOW_SIZE)
_PLACES = places(_WAY_SIZE)
_FINE_PLACES = places(FLOW_SIZE)
_NOWHERE_ELSE: Way = np.zeros((_WAY_SIZE, _WAY_SIZE, 3), np.float32)
_LEADS_NOWHERE: Way = np.full((_WAY_SIZE, _WAY_SIZE, 3), (0, 0, _LOST), np.float32)
