"""Films and photos with bytes changed at random: each must be read, or refused with one line.

    python tests/fuzz.py 5000          # so many mutants; 200 of them in test_fuzz.py
    python tests/fuzz.py 1 --first 77  # one of them again

Mutant n is the same every time. In this one process, so that a crash or a hang ends it, with the
mutant's number as the last line of stdout; memory is limited, and time for each.
"""

from __future__ import annotations

import argparse
import random
import resource
import signal
import sys
import tempfile
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import lean  # noqa: E402

if __name__ == "__main__":
    lean.without_keras()

import av  # noqa: E402
import media  # noqa: E402
from fakes import ColourModel, quick  # noqa: E402

from rustvid.errors import RustVidError  # noqa: E402
from rustvid.pipeline import run  # noqa: E402

SUFFIXES = (".mp4", ".mkv", ".ts", ".avi", ".jpg", ".png")
MEMORY = 4 << 30  # bytes of address space
SECONDS = 60  # for one mutant, on a busy machine


def originals(folder: Path) -> list[bytes]:
    """A small one of every kind."""
    made = []
    for suffix in SUFFIXES:
        path = folder / f"original{suffix}"
        if suffix in (".jpg", ".png"):
            media.photo(path, (64, 48))
        else:
            media.clip(path, frames=6, rate=Fraction(5), size=(64, 48))
        made.append(path.read_bytes())
    return made


def mutant(original: bytes, chance: random.Random) -> bytes:
    """Bits turned, bytes overwritten, a range cut out, doubled, zeroed, or the end cut off."""
    data = bytearray(original)
    for _ in range(chance.choice((1, 2, 8))):
        begin = chance.randrange(len(data))
        if chance.random() < 0.4:
            begin = chance.randrange(min(len(data), 400))  # headers are where it hurts
        length = min(chance.choice((1, 4, 40, 400)), len(data) - begin)
        kind = chance.randrange(6)
        if kind == 0:
            data[begin] ^= 1 << chance.randrange(8)
        elif kind == 1:
            data[begin : begin + length] = chance.randbytes(length)
        elif kind == 2:
            data[begin : begin + length] = bytes(length)
        elif kind == 3:
            data[begin : begin + length] = data[begin : begin + length] * 2
        elif kind == 4:
            data[begin : begin + 4] = chance.choice((b"\xff" * 4, b"\x7f\xff\xff\xff", b"\0\0\0\1"))
        elif len(data) > 2 * length:
            del data[begin : begin + length]
    return bytes(data)


def tried(data: bytes, path: Path) -> str:
    """What became of a mutant, in one line; anything but a RustVidError is raised."""
    path.write_bytes(data)
    config = quick(f"output.csv={path}.csv", "output.overwrite=true", "source.max_pixels=1000000")
    try:
        summary = run(replace(config, input=str(path)), model=ColourModel())
    except RustVidError as exc:
        assert "\n" not in str(exc)
        return f"refused: {exc}"
    return f"{summary.frames} frames, exit {summary.exit_code}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int)
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    av.logging.set_level(av.logging.PANIC)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = originals(folder)
        for number in range(options.first, options.first + options.count):
            kind = number % len(SUFFIXES)
            signal.alarm(SECONDS)  # its default action ends the process: a hang is a failure
            data = mutant(made[kind], random.Random(number))
            told = tried(data, folder / f"mutant{SUFFIXES[kind]}")
            print(number, SUFFIXES[kind], told.replace(name, "…"), flush=True)
    print("all read or refused")
    return 0


if __name__ == "__main__":
    sys.exit(main())
