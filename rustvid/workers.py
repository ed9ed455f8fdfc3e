"""An ordered, bounded map of a function over arrays, done by worker processes.

    with Pool(function, workers=2) as pool:
        for outcome in pool.map(Task(item, (image, evidence)) for ...):
            use(outcome.item, outcome.array, outcome.error)

    the parent              a slot                  a worker
    Task.arrays ───copy──► │ arrays │ ───copy──► function(*arrays)
    Outcome.array ◄──copy─ │ result │ ◄──copy─── its result
                 ◄─── pipe: orders, replies ───►

The only workers and the only shared memory of the project; not one word of what they are for.

Every worker has a pipe of its own and answers its orders one by one, so the first unanswered
order of a dead worker is the one that killed it. A second order waits in the pipe: a worker is
busy while the parent is busy elsewhere. Orders and replies are too small to block on. A slot is
a segment of shared memory that the parent creates and unlinks, and a worker maps for one order.
The parent keeps a task until its outcome is there: what a worker left undone, another one does.
"""

from __future__ import annotations

import errno
import functools
import math
import multiprocessing
import os
import pickle
import secrets
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import connection, resource_tracker
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from rustvid.errors import WorkerError

T = TypeVar("T")
Function = Callable[..., NDArray[Any]]

_SPAWN = multiprocessing.get_context("spawn")  # threads of TensorFlow do not survive a fork
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_SHARED_MEMORY = Path("/dev/shm")
_ALIGNMENT = 64  # bytes: a cache line
_START_TIMEOUT = 120.0  # seconds to import what the function needs
_GRACE = 2.0  # seconds a process has to leave before it is killed
_LONGEST_ERROR = 1000  # characters, so that a reply never fills a pipe


@dataclass(frozen=True)
class Task(Generic[T]):
    """What goes into a map.

    item: stays in the parent and comes back with the outcome
    arrays: the function's arguments, not to be changed before the outcome is there;
        None: no work, the item passes through in its turn
    """

    item: T
    arrays: tuple[NDArray[Any], ...] | None


@dataclass(frozen=True)
class Outcome(Generic[T]):
    """What comes out of a map.

    array: what the function returned, C-ordered and nobody else's; None if there was no work,
        or if it failed
    error: one line, if the function raised, or if the task killed its worker too often
    """

    item: T
    array: NDArray[Any] | None
    error: str | None


class Pool:
    """Worker processes for one function; a context manager, for one thread.

    function: picklable, pure, returns one array; it may write to its arguments, they are copies
    workers: processes; 0 calls the function in this one, with the same results
    slots: tasks in the hands of the workers at once; None: two each
    ahead: items, with work or without, between the input and the oldest one not yet handed out
    task_timeout: seconds after which a worker that does not answer is killed
    tries: workers that a task may kill, and starts that may fail, before it is given up
    initializer: called once in every worker before its first task, never in the parent

    seconds: spent in the function so far, summed over workers
    restarts: workers that died and were replaced so far

    Workers start at `with`, which does not wait for them. A map may be abandoned and another
    begun: the workers end what is in the slots, and it is dropped. Raises WorkerError, at `with`
    or in `map`, where workers cannot be started or a slot cannot be had; after that, or after an
    interrupt, the pool is closed.
    """

    def __init__(
        self,
        function: Function,
        *,
        workers: int,
        slots: int | None = None,
        ahead: int = 64,
        task_timeout: float = 120.0,
        tries: int = 3,
        initializer: Callable[[], None] | None = None,
    ) -> None:
        self.seconds = 0.0
        self.restarts = 0
        self._function = function
        self._initializer = initializer
        self._workers = workers
        self._ahead = ahead
        self._task_timeout = task_timeout
        self._tries = tries
        self._open = False
        self._crew: list[_Worker] = []
        self._slots = _Slots(slots or max(2 * workers, 1))
        self._waiting: deque[_Job[Any]] = deque()  # to be given to a worker
        self._result_bytes = 0  # of the largest result that did not fit
        self._failed_starts = 0  # since a worker last started

    def __enter__(self) -> Pool:
        self._open = True
        try:
            while len(self._crew) < self._workers:
                self._crew.append(_Worker(self._start_kit))
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()

    def map(self, tasks: Iterable[Task[T]]) -> Generator[Outcome[T], None, None]:
        """The outcome of every task, in the order of the tasks.

        What is ready comes before the next task is asked for, and that only while a slot is free.
        An exception of `tasks` comes in its turn too, after the outcomes of all before it.
        """
        source = _Source(iter(tasks))
        pending: deque[_Job[T]] = deque()
        try:
            while pending or not source.ended:
                self._listen(wait=False)
                if pending and (outcome := pending[0].outcome):
                    pending.popleft()
                    yield outcome
                elif source.ended or not self._has_room(len(pending)):
                    self._listen(wait=True)
                elif task := source.next():
                    pending.append(self._submit(task))
        except (Exception, KeyboardInterrupt):  # perhaps in the middle of a reply
            self._close()
            raise
        if source.error:
            raise source.error

    # --- tasks

    def _has_room(self, pending: int) -> bool:
        given = sum(len(worker.jobs) for worker in self._crew) + len(self._waiting)
        return pending < self._ahead and given < self._slots.limit

    def _submit(self, task: Task[T]) -> _Job[T]:
        job = _Job(task)
        if task.arrays is None:
            job.outcome = Outcome(task.item, None, None)
        elif any(array.dtype.hasobject for array in task.arrays):
            raise TypeError("an array of Python objects cannot go to another process")
        elif self._crew:
            self._waiting.append(job)
            self._hand_out()
        else:
            arguments = [np.array(array, order="C") for array in task.arrays]
            result, error, seconds = _call(self._function, arguments)
            self.seconds += seconds
            job.settle(None if result is None else np.array(result, order="C"), error)
        return job

    def _hand_out(self) -> None:
        """Give what waits, while there are slots, to the worker that has the least to do."""
        while self._waiting:
            arrays = self._waiting[0].task.arrays or ()
            places, end = _places(arrays)
            # Until a result is larger, the largest argument is a good guess of its size.
            room = max([self._result_bytes, *(place.room for place in places)])
            slot = self._slots.take(max(end + room, 1))
            if not slot:
                return
            for place, array in zip(places, arrays, strict=True):
                np.copyto(place.view(slot), array)
            worker = min(self._crew, key=lambda worker: len(worker.jobs))
            if worker.give(_Order(slot.name, places, end)):
                worker.jobs.append((self._waiting.popleft(), slot))
            else:
                self._slots.give_back(slot)
                self._replace(worker, worker.cause_of_death())

    def _redo(self, jobs: Sequence[_Job[Any]]) -> None:
        """Let jobs that came back undone wait again, in their order, before the others."""
        self._waiting.extendleft(reversed(jobs))

    # --- workers

    def _listen(self, *, wait: bool) -> None:
        """Take in what the workers say, or that they died; wait for it, if asked to."""
        if not self._open:
            raise RuntimeError("the pool is closed: use it inside its `with`")
        now = time.monotonic()
        due = min((worker.due(self._task_timeout) for worker in self._crew), default=now)
        workers = {worker.pipe: worker for worker in self._crew}
        for pipe in connection.wait([*workers], max(due - now, 0.0) if wait else 0):
            worker = workers[pipe]  # type: ignore[index]
            try:
                reply: _Reply = worker.pipe.recv()
            except (EOFError, OSError):  # OSError where it left orders unread
                self._replace(worker, worker.cause_of_death())
            else:
                self._take_in(worker, reply)
        now = time.monotonic()
        for worker in [w for w in self._crew if w.due(self._task_timeout) < now]:
            worker.process.kill()
            self._replace(worker, "it gave no answer in time and was killed")
        self._hand_out()

    def _take_in(self, worker: _Worker, reply: _Reply) -> None:
        worker.since = time.monotonic()
        if not worker.started:
            if reply.error:
                raise WorkerError(f"worker processes cannot start: {reply.error}")
            worker.started = True
            self._failed_starts = 0
            return
        self.seconds += reply.seconds
        job, slot = worker.jobs.popleft()
        if not reply.place:
            job.settle(None, reply.error)
        elif reply.place.end <= slot.size:
            job.settle(reply.place.view(slot).copy(), None)
        else:  # the worker had nowhere to put it
            self._result_bytes = max(self._result_bytes, reply.place.room)
            self._redo([job])
        self._slots.give_back(slot)

    def _replace(self, worker: _Worker, cause: str) -> None:
        """Put a new worker in a dead one's place and do again what it left undone.

        Its first job is the one it was at: that is blamed, the one behind it is not.
        """
        if not worker.started:
            self._failed_starts += 1
            if self._failed_starts >= self._tries:
                raise WorkerError(
                    f"worker processes die at their start ({cause}): look for the reason above, "
                    "guard the script by `if __name__ == '__main__':`, or run with --workers 0"
                )
        elif worker.jobs:
            worker.jobs[0][0].deaths += 1
        self._crew.remove(worker)
        worker.end(_GRACE)
        for job, slot in worker.jobs:
            self._slots.give_back(slot)
            if job.deaths >= self._tries:
                job.settle(None, f"{job.deaths} workers died of it, the last: {cause}")
        self._redo([job for job, _ in worker.jobs if not job.outcome])
        self._crew.append(_Worker(self._start_kit))
        self.restarts += 1

    @functools.cached_property
    def _start_kit(self) -> bytes:
        """What a worker gets at its start, pickled here so that it can say what fails to load."""
        try:
            return pickle.dumps((self._function, self._initializer))
        except (pickle.PicklingError, AttributeError, TypeError) as exc:
            raise WorkerError(
                f"{self._function!r} cannot be sent to worker processes ({exc}): "
                "make it a function of a module, or run with --workers 0"
            ) from exc

    def _close(self) -> None:
        self._open = False
        crew, self._crew = self._crew, []
        self._waiting.clear()
        deadline = time.monotonic() + _GRACE
        try:
            for worker in crew:
                worker.dismiss()
            for worker in crew:
                worker.end(deadline - time.monotonic())
        finally:
            self._slots.remove_all()


class _Source(Generic[T]):
    """The tasks of one map; it keeps the exception that ended them until its turn."""

    def __init__(self, tasks: Iterator[Task[T]]) -> None:
        self._tasks = tasks
        self.ended = False
        self.error: Exception | None = None

    def next(self) -> Task[T] | None:
        """The next task; None at the end."""
        try:
            return next(self._tasks)
        except StopIteration:
            pass
        except Exception as exc:  # noqa: BLE001 - map raises it in its turn
            self.error = exc
        self.ended = True
        return None


@dataclass(eq=False)
class _Job(Generic[T]):
    """A task on its way: waiting, in the hands of a worker, or done."""

    task: Task[T]
    outcome: Outcome[T] | None = None
    deaths: int = 0  # of workers that were at it

    def settle(self, array: NDArray[Any] | None, error: str | None) -> None:
        self.outcome = Outcome(self.task.item, array, error)


# --- shared memory


class _Slots:
    """Segments of shared memory, made when first needed, larger ones when these are too small."""

    def __init__(self, limit: int) -> None:
        self.limit = limit  # lowered where the memory does not hold so many
        self._free: list[SharedMemory] = []
        self._taken: list[SharedMemory] = []

    def take(self, size: int) -> SharedMemory | None:
        """A slot of `size` bytes or more; None: ask again when one has been given back.

        Raises WorkerError where there is no room even for one.
        """
        slot = next((slot for slot in self._free if slot.size >= size), None)
        if slot:
            self._free.remove(slot)
        else:
            self._remove(self._free)  # outgrown, and their room may be needed
            slot = _segment(size) if len(self._taken) < self.limit else None
        if slot:
            self._taken.append(slot)
        elif self._taken:
            self.limit = len(self._taken)
        else:
            raise WorkerError(
                f"{_SHARED_MEMORY}: a task needs {size} bytes and {_free_bytes()} are free: "
                "make it larger (in a container --shm-size), or run with --workers 0"
            )
        return slot

    def give_back(self, slot: SharedMemory) -> None:
        self._taken.remove(slot)
        self._free.append(slot)

    def remove_all(self) -> None:
        self._remove(self._free)
        self._remove(self._taken)

    def _remove(self, slots: list[SharedMemory]) -> None:
        while slots:
            _unlink(slots.pop())


def _segment(size: int) -> SharedMemory | None:
    """A new segment with real pages behind it; None where there is no room.

    The look before and the reservation after: a page that is not there when it is first
    touched is a SIGBUS, which nobody can catch.
    """
    if _free_bytes() < size:
        return None
    name = f"rustvid-{os.getpid()}-{secrets.token_hex(4)}"
    try:
        segment = SharedMemory(name, create=True, size=size)
    except OSError as exc:
        raise WorkerError(f"{_SHARED_MEMORY}: {exc}: run with --workers 0") from exc
    if _reserved(segment):
        return segment
    _unlink(segment)
    return None


def _free_bytes() -> int:
    """Of shared memory; sys.maxsize where the system sets no limit or shows none."""
    try:
        there = os.statvfs(_SHARED_MEMORY)
    except OSError:
        return sys.maxsize
    return there.f_bavail * there.f_frsize if there.f_blocks else sys.maxsize


def _reserved(segment: SharedMemory) -> bool:
    """Have the pages of a segment allocated, where the system lets us; False: no room."""
    try:
        descriptor = os.open(_SHARED_MEMORY / segment.name, os.O_RDWR)
    except OSError:
        return True
    try:
        os.posix_fallocate(descriptor, 0, segment.size)
    except OSError as exc:
        return exc.errno != errno.ENOSPC
    finally:
        os.close(descriptor)
    return True


def _unlink(segment: SharedMemory) -> None:
    with suppress(FileNotFoundError):
        segment.unlink()
    segment.close()


class _Place(NamedTuple):
    """Where an array lies in a segment."""

    offset: int  # bytes
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def room(self) -> int:
        """Bytes, rounded up so that the next place is aligned."""
        return -(-math.prod(self.shape) * self.dtype.itemsize // _ALIGNMENT) * _ALIGNMENT

    @property
    def end(self) -> int:
        return self.offset + self.room

    def view(self, segment: SharedMemory) -> NDArray[Any]:
        return np.ndarray(self.shape, self.dtype, segment.buf, self.offset)


def _places(arrays: Iterable[NDArray[Any]]) -> tuple[tuple[_Place, ...], int]:
    """One place behind the other for each array, and where they end."""
    places: list[_Place] = []
    end = 0
    for array in arrays:
        places.append(_Place(end, array.shape, array.dtype))
        end = places[-1].end
    return tuple(places), end


# --- what goes through a pipe


class _Order(NamedTuple):
    segment: str
    places: tuple[_Place, ...]  # of the arguments
    end: int  # where the result goes


class _Reply(NamedTuple):
    """The answer to an order; the first one says how the worker started."""

    place: _Place | None  # of the result; nothing is there if it ends outside of the segment
    error: str | None
    seconds: float  # in the function


# --- a worker, as the parent sees it


class _Worker:
    """A process, and what it has been given and has not answered yet."""

    def __init__(self, start_kit: bytes) -> None:
        self.started = False
        self.jobs: deque[tuple[_Job[Any], SharedMemory]] = deque()  # each in its slot
        self.since = time.monotonic()  # when it began what it owes, as far as we know
        self.pipe, theirs = _SPAWN.Pipe()
        self.process = _SPAWN.Process(target=_serve, args=(theirs, start_kit), daemon=True)
        try:
            with theirs, _inherited():
                self.process.start()
        except OSError as exc:
            self.pipe.close()
            raise WorkerError(f"no worker process can be started: {exc}") from exc

    @property
    def owes(self) -> bool:
        """Is a word from it due?"""
        return bool(self.jobs) or not self.started

    def due(self, timeout: float) -> float:
        """The time at which it owes an answer for too long; an idle one has time from now."""
        if not self.started:
            return self.since + max(timeout, _START_TIMEOUT)
        return (self.since if self.jobs else time.monotonic()) + timeout

    def give(self, order: _Order) -> bool:
        """Send an order, which is too small to block; False: the worker is dead."""
        if not self.owes:
            self.since = time.monotonic()
        try:
            self.pipe.send(order)
        except OSError:
            return False
        return True

    def cause_of_death(self) -> str:
        self.process.join(_GRACE)  # its pipe ends a moment before it does
        code = self.process.exitcode
        if code is not None and code < 0:
            return f"signal {-code} ({signal.strsignal(-code)})"
        return f"exit code {code}"

    def dismiss(self) -> None:
        """Have it leave: by the end of its pipe, or at once where it is busy."""
        self.pipe.close()
        if self.owes:
            self.process.terminate()

    def end(self, patience: float) -> None:
        """See it gone, within `patience` seconds or by force."""
        self.pipe.close()
        self.process.join(max(patience, 0.0))
        if self.process.exitcode is None:
            self.process.kill()  # the only signal that a stopped process obeys
            self.process.join(_GRACE)
        if self.process.exitcode is not None:
            self.process.close()


@contextmanager
def _inherited() -> Iterator[None]:
    """What a process started inside gets from us: BLAS with one thread, and SIGINT held back.

    It must be there before the child's first import. SIGINT stays pending here, and there until
    the child ignores it: a Ctrl-C in these milliseconds is neither lost nor the child's death.
    """
    resource_tracker.ensure_running()  # its first start would let SIGINT through again
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    before = {name: os.environ.get(name) for name in _ONE_THREAD}
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


# --- inside a worker


def _serve(pipe: connection.Connection, start_kit: bytes) -> None:
    """A worker's life: until its pipe ends, or its parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    threading.Thread(target=_follow_parent, daemon=True).start()
    with suppress(EOFError, ConnectionError):  # the parent has closed its end
        try:
            function, initializer = pickle.loads(start_kit)
            if initializer:
                initializer()
        except Exception as exc:  # noqa: BLE001 - the parent raises it
            pipe.send(_Reply(None, _one_line(exc), 0.0))
            return
        pipe.send(_Reply(None, None, 0.0))
        while True:
            pipe.send(_perform(function, pipe.recv()))


def _follow_parent() -> None:
    """Leave with a parent that was killed, even in the middle of a task."""
    if parent := multiprocessing.parent_process():
        parent.join()
    os._exit(1)


def _perform(function: Function, order: _Order) -> _Reply:
    # This enters the segment in the resource tracker. It is the parent's tracker, a set, and the
    # parent's own entry goes at its unlink, after our reply or our death: nothing is left of it.
    segment = SharedMemory(order.segment)
    try:
        # Copies, so that the function may write to them or keep them when the slot is gone.
        arguments = [place.view(segment).copy() for place in order.places]
        result, error, seconds = _call(function, arguments)
        if result is None:
            return _Reply(None, error, seconds)
        place = _Place(order.end, result.shape, result.dtype)
        if place.end <= segment.size:
            np.copyto(place.view(segment), result)
        return _Reply(place, None, seconds)
    finally:
        segment.close()


def _call(
    function: Function, arguments: list[NDArray[Any]]
) -> tuple[NDArray[Any] | None, str | None, float]:
    """The result, or one line that says what went wrong; and the seconds it took."""
    begun = time.perf_counter()
    result, error = None, None
    try:
        result = function(*arguments)
        if not isinstance(result, np.ndarray) or result.dtype.hasobject:
            raise TypeError(f"the function must return an array of numbers, not {result!r:.99}")
    except Exception as exc:  # noqa: BLE001 - the caller of map decides what becomes of it
        result, error = None, _one_line(exc)
    return result, error, time.perf_counter() - begun


def _one_line(exc: Exception) -> str:
    """The exception and the line of code it came from."""
    text = " ".join("".join(traceback.format_exception_only(exc)).split())
    where = traceback.extract_tb(exc.__traceback__)[-1]
    return f"{text[:_LONGEST_ERROR]} ({Path(where.filename).name}:{where.lineno})"
