"""The pool: order, bounds, the same results with any number of workers, and nobody left behind.

Tasks meet each other at a named pipe and the test at a socket, so that nothing waits by the clock.
"""

from __future__ import annotations

import errno
import itertools
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rustvid import workers
from rustvid.errors import WorkerError
from rustvid.workers import Outcome, Pool, Task

Array = NDArray[Any]

pytestmark = pytest.mark.usefixtures("no_leftovers")

# --- what the workers do: at module level, where a spawned process finds it


def double(array: Array) -> Array:
    return array * 2


def same(array: Array) -> Array:
    return array


def mixed(image: Array, heat: Array) -> Array:
    root: Array = np.sqrt(image.mean(axis=2) * heat)
    return root


def repeated(array: Array) -> Array:
    return np.repeat(array, int(array[0]))


def scribble(array: Array) -> Array:
    array += 1
    return array


def fail_on_odd(array: Array) -> Array:
    if array[0] % 2:
        raise ValueError(f"odd:\n  {array[0]}")
    return array


def not_an_array(array: Array) -> Any:
    return [1, 2]


def nothing() -> Array:
    return np.arange(3)


def meet(pipe: Path, array: Array) -> Array:
    """Task 0 ends only when task 1 is under way."""
    if array[0] == 0:
        pipe.read_bytes()
    elif array[0] == 1:
        pipe.write_bytes(b"")
    return array


def wait_for_leave(port: int, array: Array) -> Array:
    """Tell the test that this task is under way, and go on when it hangs up."""
    with socket.create_connection(("127.0.0.1", port)) as line:
        line.recv(1)
    return array


def mark_the_end(folder: Path, array: Array) -> Array:
    (folder / str(array[0])).touch()
    return array


def kill_self(array: Array) -> Array:
    if array[0] == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return array


def signal_self_once(mark: Path, number: int, array: Array) -> Array:
    if array[0] == 1 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), number)
    return array


def leave(code: int = 3) -> None:
    os._exit(code)


def complain() -> None:
    raise RuntimeError("no licence")


def threads_allowed(array: Array) -> Array:
    return np.array([int(os.environ[name]) for name in workers._ONE_THREAD])


def take_five_threads() -> None:
    os.environ["OMP_NUM_THREADS"] = "5"


def same_unless_unloadable(array: Array, unloadable: Unloadable) -> Array:
    return array


class Unloadable:
    """Can be pickled, cannot be unpickled."""

    def __reduce__(self) -> Any:
        return complain, ()


def numbers(count: int) -> Iterator[Task[int]]:
    return (Task(i, (np.array([i]),)) for i in range(count))


def values(outcomes: list[Outcome[Any]]) -> list[Any]:
    return [None if o.array is None else o.array.tolist() for o in outcomes]


# --- results and their order


def test_results_keep_the_order_though_the_first_task_ends_after_the_second(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with Pool(partial(meet, tmp_path / "pipe"), workers=2, task_timeout=20) as pool:
        outcomes = list(pool.map(numbers(9)))
    assert [o.item for o in outcomes] == list(range(9))
    assert values(outcomes) == [[i] for i in range(9)]
    assert pool.seconds > 0 and pool.restarts == 0


def test_no_workers_give_what_two_give_bit_for_bit() -> None:
    random = np.random.default_rng(1)
    tasks = [
        Task(i, (random.integers(0, 255, (40 + i, 30, 3), dtype=np.uint8), random.random(30)))
        for i in range(6)
    ]
    results = []
    for count in (0, 2):
        with Pool(mixed, workers=count) as pool:
            results.append([o.array for o in pool.map(tasks)])
    for inline, spawned in zip(*results, strict=True):
        assert inline is not None and spawned is not None
        assert inline.dtype == spawned.dtype and inline.tobytes() == spawned.tobytes()


@pytest.mark.parametrize("count", [0, 1])
def test_arrays_of_every_kind_come_back_as_they_went_and_belong_to_the_caller(count: int) -> None:
    base = np.arange(24, dtype=np.float32).reshape(4, 6)
    record = np.array([(1, 2.5)], dtype=[("n", "<i2"), ("x", ">f8")])
    arrays = [base, base.T, base[::-2, 1::3], base[:0], np.array(7), record, base > 3]
    with Pool(same, workers=count) as pool:
        outcomes = list(pool.map(Task(a, (a,)) for a in arrays))
    for outcome in outcomes:
        assert outcome.array is not None and outcome.error is None
        assert outcome.array.dtype == outcome.item.dtype
        assert np.array_equal(outcome.array, outcome.item)
        assert not np.shares_memory(outcome.array, outcome.item)
        assert outcome.array.flags.c_contiguous and outcome.array.flags.writeable


@pytest.mark.parametrize("count", [0, 1])
def test_a_function_may_write_to_its_arguments(count: int) -> None:
    mine = np.zeros(3)
    with Pool(scribble, workers=count) as pool:
        outcomes = list(pool.map([Task(0, (mine,))]))
    assert values(outcomes) == [[1, 1, 1]] and not mine.any()


@pytest.mark.parametrize("count", [0, 1])
def test_a_function_without_arguments_is_called_too(count: int) -> None:
    with Pool(nothing, workers=count) as pool:
        assert values(list(pool.map([Task(0, ())]))) == [[0, 1, 2]]


@pytest.mark.parametrize("count", [0, 2])
def test_items_without_work_pass_through_in_their_turn(count: int) -> None:
    tasks = [Task(i, (np.array([i]),) if i % 3 == 0 else None) for i in range(20)]
    with Pool(double, workers=count) as pool:
        outcomes = list(pool.map(tasks))
    assert [o.item for o in outcomes] == list(range(20))
    assert values(outcomes) == [None if i % 3 else [2 * i] for i in range(20)]


def test_larger_tasks_and_larger_results_get_larger_slots() -> None:
    sizes = [1, 3000, 2, 70000, 1]
    tasks = [Task(n * k, (np.full(n, k),)) for n in sizes for k in (1, 9)]
    with Pool(repeated, workers=2) as pool:
        outcomes = list(pool.map(tasks))
    assert [o.array is not None and o.array.size for o in outcomes] == [o.item for o in outcomes]
    assert pool.restarts == 0


# --- bounds


def test_a_task_is_asked_for_only_when_a_slot_is_free(tmp_path: Path) -> None:
    def tasks() -> Iterator[Task[int]]:
        for task in numbers(30):
            assert task.item - len(list(tmp_path.iterdir())) < 3, "more given than ended"
            yield task

    with Pool(partial(mark_the_end, tmp_path), workers=2, slots=3) as pool:
        assert len(list(pool.map(tasks()))) == 30


def test_items_that_wait_for_an_earlier_one_are_bounded() -> None:
    asked = 0

    def tasks() -> Iterator[Task[int]]:
        nonlocal asked
        for item in itertools.count():  # without end: a map does not wait for the end
            asked += 1
            yield Task(item, None if item % 50 else (np.array([item]),))

    with Pool(double, workers=1, ahead=10) as pool:
        for seen, outcome in enumerate(itertools.islice(pool.map(tasks()), 200)):
            assert outcome.item == seen
            assert asked - seen <= 10


@pytest.fixture
def small_shared_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """100 kB for all segments of this process."""
    monkeypatch.setattr(workers, "_free_bytes", lambda: 100_000 - sum(segments(os.getpid())))


@pytest.mark.usefixtures("small_shared_memory")
def test_a_small_shared_memory_gets_fewer_slots() -> None:
    slots = workers._Slots(4)
    taken = [slots.take(30_000) for _ in range(4)]
    assert [slot is not None for slot in taken] == [True, True, True, False]
    assert slots.limit == 3
    for slot in filter(None, taken):
        slots.give_back(slot)
    assert slots.take(80_000) and not slots.take(80_000)
    assert slots.limit == 1
    slots.remove_all()


@pytest.mark.usefixtures("small_shared_memory")
def test_results_are_the_same_in_a_small_shared_memory() -> None:
    sizes = [2000] * 8 + [5000] * 2 + [10]  # a slot holds a task twice: 32 kB, 80 kB
    with Pool(double, workers=2) as pool:
        outcomes = list(pool.map(Task(n, (np.arange(n),)) for n in sizes))
    assert values(outcomes) == [[*range(0, 2 * n, 2)] for n in sizes]


def test_a_shared_memory_without_room_for_one_slot_is_an_error_with_a_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(workers, "_free_bytes", lambda: 5000)
    with Pool(double, workers=1) as pool:
        with pytest.raises(WorkerError, match=r"needs 16000 bytes and 5000 are free.*--workers 0"):
            list(pool.map([Task(0, (np.arange(1000),))]))
        with pytest.raises(RuntimeError, match="closed"):
            list(pool.map(numbers(1)))


def test_memory_that_goes_between_the_look_and_the_use_is_an_error_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(descriptor: int, offset: int, size: int) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with Pool(double, workers=1) as pool, pytest.raises(WorkerError, match="--workers 0"):
        list(pool.map(numbers(1)))


# --- tasks that fail, workers that die


@pytest.mark.parametrize("count", [0, 2])
def test_an_exception_is_one_line_and_the_run_goes_on(count: int) -> None:
    with Pool(fail_on_odd, workers=count) as pool:
        outcomes = list(pool.map(numbers(5)))
    assert values(outcomes) == [[0], None, [2], None, [4]]
    assert outcomes[0].error is None
    assert (outcomes[3].error or "").startswith("ValueError: odd: 3 (test_workers.py:")
    assert pool.restarts == 0


@pytest.mark.parametrize("count", [0, 1])
def test_a_result_that_is_no_array_is_an_error_of_its_task(count: int) -> None:
    with Pool(not_an_array, workers=count) as pool:
        (outcome,) = pool.map(numbers(1))
    assert outcome.array is None and "must return an array" in (outcome.error or "")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_killed_worker_is_replaced_and_its_task_done_again(tmp_path: Path, number: int) -> None:
    function = partial(signal_self_once, tmp_path / "mark", number)
    with Pool(function, workers=2) as pool:
        outcomes = list(pool.map(numbers(8)))
    assert values(outcomes) == [[i] for i in range(8)]
    assert pool.restarts == 1


def test_a_stopped_worker_is_replaced_after_the_timeout(tmp_path: Path) -> None:
    function = partial(signal_self_once, tmp_path / "mark", signal.SIGSTOP)
    with Pool(function, workers=1, task_timeout=1.0) as pool:
        outcomes = list(pool.map(numbers(4)))
    assert values(outcomes) == [[i] for i in range(4)]
    assert pool.restarts == 1


def test_a_worker_killed_while_idle_is_replaced() -> None:
    with Pool(same, workers=1) as pool:
        list(pool.map(numbers(1)))
        (process,) = multiprocessing.active_children()
        process.kill()
        process.join()
        assert values(list(pool.map(numbers(3)))) == [[0], [1], [2]]
    assert pool.restarts == 1


@pytest.mark.parametrize("count", [1, 2])
def test_a_task_that_always_kills_its_worker_ends_as_an_error_of_its_own(count: int) -> None:
    with Pool(kill_self, workers=count) as pool:
        outcomes = list(pool.map(numbers(5)))
    assert values(outcomes) == [[0], None, [2], [3], [4]]
    assert outcomes[1].error == "3 workers died of it, the last: signal 9 (Killed)"
    assert pool.restarts == 3


def test_a_function_that_cannot_be_pickled_is_refused_at_the_start() -> None:
    with pytest.raises(WorkerError, match="function of a module"), Pool(lambda a: a, workers=1):
        pass


def test_a_function_that_cannot_be_loaded_is_told_with_its_reason() -> None:
    function = partial(same_unless_unloadable, unloadable=Unloadable())
    with Pool(function, workers=1) as pool, pytest.raises(WorkerError, match="no licence"):
        list(pool.map(numbers(1)))


def test_workers_that_die_at_their_start_are_given_up() -> None:
    with (
        Pool(same, workers=2, initializer=leave) as pool,
        pytest.raises(WorkerError, match=r"die at their start \(exit code 3\).*--workers 0"),
    ):
        list(pool.map(numbers(1)))


def test_arrays_of_objects_are_refused() -> None:
    with Pool(same, workers=0) as pool, pytest.raises(TypeError, match="Python objects"):
        list(pool.map([Task(0, (np.array([None]),))]))


# --- the environment of a worker


def test_workers_have_one_thread_and_the_parent_keeps_its_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    before = dict(os.environ)
    with Pool(threads_allowed, workers=1) as pool:
        assert dict(os.environ) == before
        assert values(list(pool.map(numbers(1)))) == [[1, 1, 1]]


def test_an_initializer_runs_in_the_workers_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    with Pool(threads_allowed, workers=1, initializer=take_five_threads) as pool:
        assert values(list(pool.map(numbers(1)))) == [[5, 1, 1]]
    assert os.environ["OMP_NUM_THREADS"] == "7"


# --- the end


def test_an_exception_in_the_body_leaves_nothing() -> None:
    with pytest.raises(ZeroDivisionError), Pool(same, workers=2) as pool:
        next(pool.map(numbers(100)))
        raise ZeroDivisionError
    assert not multiprocessing.active_children() and not segments(os.getpid())


def test_a_pool_that_was_never_used_leaves_nothing() -> None:
    with Pool(same, workers=2):
        pass
    assert not multiprocessing.active_children()


def test_a_busy_worker_does_not_hold_up_the_end(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "_GRACE", 60.0)
    lines = []

    def tasks() -> Iterator[Task[int]]:
        yield from numbers(1)
        lines.append(listener.accept()[0])  # the worker is at the first task
        raise KeyboardInterrupt

    with Pool(partial(wait_for_leave, listener.getsockname()[1]), workers=1) as pool:
        begun = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            list(pool.map(tasks()))
        assert time.monotonic() - begun < 30
        with pytest.raises(RuntimeError, match="closed"):
            list(pool.map(numbers(1)))
    lines.pop().close()


def test_after_an_abandoned_map_another_gets_its_own_results() -> None:
    with Pool(double, workers=2) as pool:
        for _ in range(3):
            outcomes = pool.map(numbers(100))
            next(outcomes)
            outcomes.close()
        tasks = [Task(i, (np.array([i]),)) for i in range(50, 60)]
        assert values(list(pool.map(tasks))) == [[2 * i] for i in range(50, 60)]


def test_two_maps_can_take_turns() -> None:
    with Pool(double, workers=2) as pool:
        pairs = list(zip(pool.map(numbers(20)), pool.map(numbers(20)), strict=True))
    assert [(a.item, b.item) for a, b in pairs] == [(i, i) for i in range(20)]


def test_an_exception_of_the_input_comes_after_the_outcomes_before_it() -> None:
    def tasks() -> Iterator[Task[int]]:
        yield from numbers(5)
        raise OSError("cut short")

    with Pool(double, workers=2) as pool:
        outcomes: list[Outcome[int]] = []
        with pytest.raises(OSError, match="cut short"):
            outcomes.extend(pool.map(tasks()))
        assert len(outcomes) == 5
        assert len(list(pool.map(numbers(2)))) == 2, "the pool is still good"


def test_a_pool_is_used_inside_its_with() -> None:
    with pytest.raises(RuntimeError, match="closed"):
        list(Pool(same, workers=0).map(numbers(1)))


# --- signals from outside

SCRIPT = """
import os, signal, sys
from functools import partial
from test_workers import numbers, values, wait_for_leave
from rustvid.workers import Pool

seen = []
signal.signal(signal.SIGINT, lambda *_: seen.append(1))
with Pool(partial(wait_for_leave, int(sys.argv[1])), workers=2) as pool:
    os.killpg(0, signal.SIGINT)  # while the workers start
    outcomes = list(pool.map(numbers(4)))
print(len(seen), pool.restarts, values(outcomes))
"""


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(30)
        yield server


@pytest.fixture
def program(listener: socket.socket) -> Iterator[subprocess.Popen[str]]:
    """SCRIPT, in a process group of its own."""
    places = [str(Path(__file__).parent), str(Path(workers.__file__).parents[1])]
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(listener.getsockname()[1])],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(places)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        yield process
        process.kill()


def test_workers_go_with_a_parent_that_was_killed(
    program: subprocess.Popen[str], listener: socket.socket
) -> None:
    lines = [listener.accept()[0] for _ in range(2)]
    assert segments(program.pid)
    program.kill()
    for line in lines:
        line.settimeout(5)
        assert line.recv(1) == b""  # a worker that waits for our word has gone
        line.close()
    program.communicate(timeout=10)  # ends when nobody holds its stdout and stderr any more
    assert not segments(program.pid)


def test_an_interrupt_of_the_whole_group_leaves_the_workers_to_the_parent(
    program: subprocess.Popen[str], listener: socket.socket
) -> None:
    first = [listener.accept()[0] for _ in range(2)]
    os.killpg(program.pid, signal.SIGINT)
    for line in first:
        line.close()
    for _ in range(2):
        listener.accept()[0].close()
    out, err = program.communicate(timeout=30)
    assert (out, err) == ("2 0 [[0], [1], [2], [3]]\n", "")


def segments(pid: int) -> list[int]:
    """Sizes of the segments of shared memory that a process has made."""
    return [path.stat().st_size for path in Path("/dev/shm").glob(f"rustvid-{pid}-*")]
