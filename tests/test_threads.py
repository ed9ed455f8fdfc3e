"""The two threads: order, bounds, errors that arrive on the other side, and nobody left behind."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator

import pytest

from rustvid.threads import ReadAhead, WriteBehind


class Broken(Exception):
    """What the source or the writer of a test raises."""


def alive(name: str) -> bool:
    return any(thread.name == name for thread in threading.enumerate())


# --- reading ahead


def test_read_ahead_gives_what_it_was_given_in_the_same_order() -> None:
    with ReadAhead(range(100), 3, "reader") as ahead:
        assert list(ahead) == list(range(100))


def test_items_are_made_in_a_thread_of_the_given_name() -> None:
    names = (threading.current_thread().name for _ in range(1))
    with ReadAhead(names, 1, "the-reader") as ahead:
        assert list(ahead) == ["the-reader"]


def test_read_ahead_is_at_most_its_depth_ahead_of_the_reader() -> None:
    depth, made, full = 4, 0, threading.Event()

    def items() -> Iterator[int]:
        nonlocal made
        for number in range(500):
            made += 1
            if made > depth:
                full.set()
            yield number

    with ReadAhead(items(), depth, "reader") as ahead:
        for taken, _ in enumerate(ahead, start=1):
            full.wait()  # at first the thread runs ahead as far as it may
            assert made <= taken + depth + 1  # one more is in its hand


def test_an_error_of_the_source_comes_after_the_items_before_it() -> None:
    def items() -> Iterator[int]:
        yield from (1, 2)
        raise Broken("the disc is scratched")

    seen = []
    with pytest.raises(Broken, match="scratched"), ReadAhead(items(), 8, "reader") as ahead:
        for item in ahead:
            seen.append(item)
    assert seen == [1, 2]


def test_leaving_before_the_end_stops_the_thread_of_an_endless_source() -> None:
    with ReadAhead(itertools.count(), 2, "endless") as ahead:
        assert list(itertools.islice(ahead, 3)) == [0, 1, 2]
    assert not alive("endless")


def test_an_error_in_the_body_stops_the_thread_too() -> None:
    with pytest.raises(Broken), ReadAhead(itertools.count(), 2, "endless"):
        raise Broken
    assert not alive("endless")


def test_the_end_is_the_end_however_often_it_is_asked_for() -> None:
    """In a thread, because a reader that waits for ever would never fail."""
    again: list[list[int]] = []
    with ReadAhead(range(3), 8, "reader") as ahead:
        assert list(ahead) == [0, 1, 2]
        second = threading.Thread(target=lambda: again.append(list(ahead)), daemon=True)
        second.start()
        second.join(timeout=5)
    assert again == [[]]


# --- writing behind


def test_write_behind_writes_in_the_order_of_put() -> None:
    written: list[int] = []
    with WriteBehind(written.append, 3, "writer") as behind:
        for number in range(100):
            behind.put(number)
        behind.finish()
        assert written == list(range(100))
    assert not alive("writer")


def test_writing_happens_in_a_thread_of_the_given_name() -> None:
    names: list[str] = []

    def write(_: int) -> None:
        names.append(threading.current_thread().name)

    with WriteBehind(write, 3, "the-writer") as behind:
        behind.put(1)
        behind.finish()
    assert names == ["the-writer"]


def test_put_waits_while_depth_items_are_unwritten() -> None:
    depth, put, gate, waits = 2, 0, threading.Event(), threading.Event()

    def write(item: int) -> None:
        gate.wait()
        assert put <= item + depth + 2  # the queue, the one in hand, the one being put

    def fill() -> None:
        nonlocal put
        for number in range(50):
            put += 1
            if put == depth + 2:
                waits.set()
            behind.put(number)

    with WriteBehind(write, depth, "writer") as behind:
        producer = threading.Thread(target=fill)
        producer.start()
        waits.wait()  # the producer has put as much as it may
        gate.set()
        producer.join()
        behind.finish()


def test_leaving_without_finish_still_writes_what_was_put() -> None:
    written: list[int] = []
    with pytest.raises(Broken), WriteBehind(written.append, 100, "writer") as behind:
        for number in range(50):
            behind.put(number)
        raise Broken
    assert written == list(range(50))
    assert not alive("writer")


def test_finish_raises_the_error_of_the_last_write() -> None:
    with WriteBehind(fails_at(0), 3, "writer") as behind:
        behind.put(0)
        with pytest.raises(Broken, match="item 0"):
            behind.finish()


def test_put_raises_the_error_of_an_earlier_write_instead_of_waiting_for_ever() -> None:
    with WriteBehind(fails_at(3), 1, "writer") as behind, pytest.raises(Broken, match="item 3"):
        for number in itertools.count():
            behind.put(number)
    assert not alive("writer")


def test_nothing_is_written_after_an_error() -> None:
    written: list[int] = []

    def write(item: int) -> None:
        fails_at(2)(item)
        written.append(item)

    with WriteBehind(write, 100, "writer") as behind:
        with pytest.raises(Broken):
            for number in range(50):
                behind.put(number)
            behind.finish()
        behind.finish()  # the error was told once
    assert written == [0, 1]


def fails_at(bad: int) -> Callable[[int], None]:
    def write(item: int) -> None:
        if item == bad:
            raise Broken(f"item {item}")

    return write


def test_a_writer_that_gets_nothing_for_a_while_is_idle() -> None:
    written: list[int] = []
    idled = threading.Event()
    with WriteBehind(written.append, 3, "writer", idled.set, 0.01) as behind:
        behind.put(1)
        assert idled.wait(60)
        behind.put(2)
        behind.finish()
    assert written == [1, 2]


def test_an_error_of_a_writer_that_is_idle_is_raised_in_the_caller() -> None:
    idled = threading.Event()

    def fail() -> None:
        idled.set()
        raise Broken("while idle")

    with WriteBehind(lambda item: None, 1, "writer", fail, 0.01) as behind:
        assert idled.wait(60)
        with pytest.raises(Broken, match="while idle"):
            behind.finish()
