"""What libraries say while they load: kept from stderr, and only for so long."""

from __future__ import annotations

import subprocess
import sys

import pytest

BEGIN = "import os, threading\nfrom rustvid import chatter\n"
QUIET = BEGIN + "chatter.ask_for_quiet()\n"


def told(program: str) -> str:
    """What a program writes to stderr."""
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return run.stderr


@pytest.mark.parametrize(("begin", "heard"), [(QUIET, "after"), (BEGIN, "withinafter")])
def test_only_a_program_that_asks_for_it_is_kept_quiet(begin: str, heard: str) -> None:
    program = "with chatter.silenced():\n    os.write(2, b'within')\nos.write(2, b'after')"
    assert told(begin + program) == heard


def test_threads_and_one_within_another_give_stderr_back() -> None:
    program = """
barrier = threading.Barrier(3)
def one():
    with chatter.silenced():
        barrier.wait()
        with chatter.silenced():
            os.write(2, b'within')
threads = [threading.Thread(target=one) for _ in range(3)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
os.write(2, b'after')
"""
    assert told(QUIET + program) == "after"


def test_a_closed_stderr_is_no_trouble() -> None:
    program = "os.close(2)\nwith chatter.silenced():\n    pass\nos.write(1, b'done')"
    run = subprocess.run(
        [sys.executable, "-c", QUIET + program], capture_output=True, text=True, check=True
    )
    assert run.stdout == "done"
