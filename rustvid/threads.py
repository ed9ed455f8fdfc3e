"""Threads: reading ahead of a consumer, writing behind a producer, both bounded; newest first;
one that serves many in turn.

All but `Newest` have one owner and one `with`: leaving it stops, drains and joins, whatever
happened.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")
Q = TypeVar("Q")
A = TypeVar("A")

_TICK = 0.1  # seconds between looks at whether the other side still lives


class _End:
    """The last thing in a queue: the end of the stream, or the error that ended it."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


class _Nothing:
    """What comes out of a queue where nothing came in time."""


class ReadAhead(Generic[T]):
    """Iterate over `items` from a thread of their own, at most `depth` ahead of the reader.

    It is one stream: whoever asks again gets what is left, and after the end the end again.
    """

    def __init__(self, items: Iterable[T], depth: int, name: str) -> None:
        self._items = items
        self._queue: queue.Queue[T | _End] = queue.Queue(depth)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._fill, name=name, daemon=True)

    def __enter__(self) -> ReadAhead[T]:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    def __iter__(self) -> Iterator[T]:
        while True:
            item = self._queue.get()  # _fill always ends with an _End
            if isinstance(item, _End):
                self._queue.put(item)  # there is room: nothing comes after it
                if item.error:
                    raise item.error
                return
            yield item

    def _fill(self) -> None:
        end = _End()
        try:
            for item in self._items:
                if not self._put(item):
                    return
        except BaseException as exc:  # noqa: BLE001 - it is raised again in the reader
            end = _End(exc)
        self._put(end)

    def _put(self, item: T | _End) -> bool:
        while not self._stop.is_set():
            try:
                self._queue.put(item, timeout=_TICK)
                return True
            except queue.Full:
                continue
        return False


class WriteBehind(Generic[T]):
    """Call `write(item)` for every item put, in order, from a thread of its own.

    The first error of `write` is raised in the caller, by the next `put` or by `finish`;
    what was put after it is not written. Leaving the `with` writes what was put, then stops.
    idle: called from that thread, too, whenever nothing was put for `patience` seconds
    """

    def __init__(
        self,
        write: Callable[[T], None],
        depth: int,
        name: str,
        idle: Callable[[], None] = lambda: None,
        patience: float | None = None,
    ) -> None:
        self._write, self._idle, self._patience = write, idle, patience
        self._queue: queue.Queue[T | _End] = queue.Queue(depth)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._drain, name=name, daemon=True)

    def __enter__(self) -> WriteBehind[T]:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop()

    @property
    def waiting(self) -> int:
        """Items that are put and not yet written."""
        return self._queue.qsize()

    def finish(self) -> None:
        """Wait until all that was put is written; raises what `write` raised."""
        self._stop()
        self._raise_pending()

    def put(self, item: T) -> None:
        """Hand an item over; waits while `depth` items are unwritten."""
        self._raise_pending()
        self._queue.put(item)  # _drain keeps taking, also after an error

    def _stop(self) -> None:
        if self._thread.is_alive():
            self._queue.put(_End())  # _drain keeps taking, so there is room soon
        self._thread.join()

    def _raise_pending(self) -> None:
        if self._error:
            error, self._error = self._error, None
            raise error

    def _drain(self) -> None:
        failed = False
        while not isinstance(item := self._next(), _End):
            if failed:
                continue
            try:
                self._idle() if isinstance(item, _Nothing) else self._write(item)
            except BaseException as exc:  # noqa: BLE001 - it is raised again in the caller
                self._error, failed = exc, True

    def _next(self) -> T | _End | _Nothing:
        try:
            return self._queue.get(timeout=self._patience)
        except queue.Empty:
            return _Nothing()


class Newest(Generic[T]):
    """Hands items from one thread to another; the reader is never far behind.

    When `depth` items wait, the oldest goes and is counted; with `keep_all` the writer waits.
    merge(gone, next): what remains of an item that goes is joined to the next one.
    """

    def __init__(
        self, depth: int, *, keep_all: bool = False, merge: Callable[[T, T], T] | None = None
    ) -> None:
        self.dropped = 0
        self._depth = depth
        self._keep_all = keep_all
        self._merge = merge or (lambda gone, following: following)
        self._items: deque[T] = deque()
        self._changed = threading.Condition()

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: T, wanted: Callable[[], bool]) -> bool:
        """Hand over; with `keep_all` wait for room as long as it is `wanted`. False: not done."""
        with self._changed:
            while self._keep_all and len(self._items) >= self._depth:
                if not wanted():
                    return False
                self._changed.wait(_TICK)
            self._items.append(item)
            if len(self._items) > self._depth:
                gone = self._items.popleft()
                self._items[0] = self._merge(gone, self._items[0])
                self.dropped += 1
            self._changed.notify_all()
        return True

    def get(self, timeout: float) -> T | None:
        """The oldest of what waits; None if nothing came in time."""
        with self._changed:
            if not self._items:
                self._changed.wait(timeout)
            if not self._items:
                return None
            item = self._items.popleft()
            self._changed.notify_all()
            return item


class Turns(Generic[Q, A]):
    """Answers what several threads ask, in a thread of its own; a context manager.

    work(requests): an answer for each, in their order; gets 1 to `most` of different threads
    Who asks waits for the answer, so of each thread one request waits at most: answered in the
    order in which they came, every thread has its turn, whatever the others do. What `work` raises
    is raised in all who ask, then and from then on.
    """

    def __init__(self, work: Callable[[list[Q]], Iterable[A]], most: int, name: str) -> None:
        self._work, self._most = work, most
        self._waiting: deque[_Asked[Q, A]] = deque()
        self._changed = threading.Condition()
        self._stop = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)

    def __enter__(self) -> Turns[Q, A]:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        with self._changed:
            self._stop = True
            self._changed.notify_all()
        self._thread.join()

    def ask(self, request: Q) -> A:
        """Wait for this thread's turn, and for the answer."""
        asked: _Asked[Q, A] = _Asked(request)
        with self._changed:
            if self._error:
                raise self._error
            if self._stop:
                raise RuntimeError("nobody answers any more: ask inside the `with`")
            self._waiting.append(asked)
            self._changed.notify_all()
        asked.done.wait()
        if asked.error:
            raise asked.error
        return asked.answer[0]

    def _serve(self) -> None:
        while now := self._next():
            try:
                for asked, answer in zip(now, self._work([a.request for a in now]), strict=True):
                    asked.answer.append(answer)
                    asked.done.set()
            except BaseException as exc:  # noqa: BLE001 - it is raised again in those who ask
                self._fail(exc, now)

    def _next(self) -> list[_Asked[Q, A]]:
        """Those whose turn it is; none at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._stop)
            return [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]

    def _fail(self, error: BaseException, now: list[_Asked[Q, A]]) -> None:
        with self._changed:
            self._error = error
            left = [*now, *self._waiting]
            self._waiting.clear()
        for asked in left:
            if not asked.answer:
                asked.error = error
                asked.done.set()


class _Asked(Generic[Q, A]):
    """A request, and its answer once it is there."""

    def __init__(self, request: Q) -> None:
        self.request = request
        self.answer: list[A] = []
        self.error: BaseException | None = None
        self.done = threading.Event()
