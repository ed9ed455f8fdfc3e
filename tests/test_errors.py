"""The tree of errors: one exit code each, as the command line documents them."""

from __future__ import annotations

import re
import signal

import pytest

from rustvid import errors
from rustvid.errors import (
    ConfigError,
    Interrupted,
    ModelError,
    OutOfMemory,
    RustVidError,
    SinkError,
    SourceCutShort,
    SourceError,
    UsageError,
    WorkerError,
)

EXIT_CODES = {
    RustVidError: 1,
    WorkerError: 1,
    OutOfMemory: 1,
    UsageError: 2,
    ConfigError: 2,
    ModelError: 2,
    SourceError: 3,
    SourceCutShort: 3,
    SinkError: 5,
}
CLASSES = {name: kind for name, kind in vars(errors).items() if isinstance(kind, type)}


@pytest.mark.parametrize(("kind", "code"), EXIT_CODES.items())
def test_every_error_has_the_exit_code_of_the_documentation(
    kind: type[RustVidError], code: int
) -> None:
    assert kind.exit_code == code


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_ends_with_128_and_the_number_of_its_signal(number: int, code: int) -> None:
    assert Interrupted(number).exit_code == code


def test_these_are_all_the_errors_there_are() -> None:
    assert set(CLASSES.values()) == {*EXIT_CODES, Interrupted}


def test_one_except_catches_them_all_but_no_bug() -> None:
    assert all(issubclass(kind, RustVidError) for kind in CLASSES.values())
    assert RustVidError.__bases__ == (Exception,)


def test_a_message_is_kept_word_for_word() -> None:
    assert str(SinkError("film.mp4: exists")) == "film.mp4: exists"


def test_the_tree_drawn_in_the_docstring_is_the_tree_of_the_code() -> None:
    drawn = {}
    parents: list[tuple[int, str]] = [(-1, "Exception")]
    for line in str(errors.__doc__).splitlines():
        found = re.match(r"([ │├└─]+)([A-Z]\w+) +([\d, ]+?)  +\S", line)
        if not found:
            continue
        depth, name = len(found[1]), found[2]
        while parents[-1][0] >= depth:
            parents.pop()
        drawn[name] = (parents[-1][1], found[3])
        parents.append((depth, name))
    codes = {kind.__name__: str(code) for kind, code in EXIT_CODES.items()}
    codes["Interrupted"] = "129, 130, 143"
    assert drawn == {
        name: (kind.__bases__[0].__name__, codes[name]) for name, kind in CLASSES.items()
    }
