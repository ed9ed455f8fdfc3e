"""What goes wrong, on purpose: input, process and resource faults, and how a run ends at each.

    python benchmarks/faults.py            # writes benchmarks/faults.md
    python benchmarks/faults.py --kills 100   # and so many runs killed at random, then resumed

Small films and a network that sees colours, so that it takes minutes. Every case is a process of
its own with a time limit. "possible" is what PyAV alone decodes of the same file.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import lean  # noqa: E402

lean.without_keras()

import av  # noqa: E402
import cv2  # noqa: E402
import media  # noqa: E402
from fakes import ColourModel  # noqa: E402

import rustvid.pipeline  # noqa: E402
from rustvid.cli import main as rustvid_main  # noqa: E402

GRACE = 15.0  # seconds that what is ending has, on a busy machine
SHARED = Path("/dev/shm")
LIMIT = 120.0  # seconds a case may take on a busy machine before it counts as hung
SIZE = (96, 72)
RATE = Fraction(10)
FRAMES = 50
OPTIONS = ["--workers", "0", "--set", "refine.size=96", "--set", "refine.method=student"]
LOSS = 2.0  # seconds of film that a kill may cost
PHOTOS = (".jpg", ".png")


class Ended(NamedTuple):
    """How a process ended: exit code (or minus a signal), stderr, seconds; hung: it had to go.

    left: processes and shared memory that are still there when all had time to go
    """

    code: int
    said: str
    seconds: float
    hung: bool
    left: list[str]


@dataclass
class Case:
    """One fault. make: the input in a folder; codes: the exit codes that are right."""

    name: str
    make: Callable[[Path], Path]
    codes: tuple[int, ...]
    strike: Callable[[int, Path], None] | None = None  # what is done to the process
    before: Callable[[], None] | None = None  # in the child, before it starts
    small_disk: str = ""
    resume: bool = False  # the run is resumed afterwards
    more: tuple[str, ...] = ()  # options of the run
    says: str = ""  # what the run must tell


def forked(work: Callable[[], int], log: Path, strike: Callable[[int], None] | None) -> Ended:
    """Do `work` in a child; a fork, so that nothing has to be imported again."""
    begun = time.monotonic()
    child = os.fork()
    if child == 0:
        code = 70
        try:
            os.setsid()
            signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's `&` ignores it
            signal.signal(signal.SIGHUP, signal.SIG_DFL)
            out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(out, 1)
            os.dup2(out, 2)
            code = work()
        except SystemExit as exc:
            code = int(exc.code or 0)
        except BaseException:  # noqa: BLE001 - a traceback is what is looked for
            import traceback

            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    if strike:
        strike(child)
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            break
        if time.monotonic() - begun > LIMIT:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return Ended(-9, log.read_text(errors="replace"), LIMIT, True, [])
        time.sleep(0.005)
    code, seconds = os.waitstatus_to_exitcode(status), time.monotonic() - begun
    said = log.read_text(errors="replace") if log.exists() else ""  # killed before its first word
    return Ended(code, said, seconds, False, left_by(child))


def left_by(child: int) -> list[str]:
    """What is there of a child's own session, and of its shared memory, after a time of grace."""
    deadline = time.monotonic() + GRACE
    while True:
        left = [f"process {pid}" for pid in session(child)]
        left += [path.name for path in SHARED.glob(f"rustvid-{child}-*")]
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.02)


def session(leader: int) -> list[int]:
    """All processes of a session but its leader."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = status.read_text().rpartition(")")[2].split()
            if int(fields[3]) == leader and int(status.parent.name) != leader:
                found.append(int(status.parent.name))
    return found


def run(
    source: Path,
    out: Path,
    log: Path,
    *more: str,
    strike: Callable[[int], None] | None = None,
    before: Callable[[], None] | None = None,
) -> Ended:
    """`rustvid SOURCE --out OUT` in a child."""

    def work() -> int:
        rustvid.pipeline.Model = lambda *_: ColourModel()
        if before:
            before()
        return rustvid_main([str(source), "--out", str(out), *OPTIONS, *more])

    return forked(work, log, strike)


def decodable(path: Path) -> int:
    """Frames that PyAV alone gives, going on behind errors as long as something comes."""
    count = failures = 0
    try:
        with av.open(f"file:{path}", options={"protocol_whitelist": "file"}) as container:
            while failures < 8:
                try:
                    for packet in container.demux(video=0):
                        failures = 0
                        with suppress(av.error.FFmpegError):
                            count += len(packet.decode())
                except av.error.FFmpegError:
                    failures += 1
                else:
                    break
    except (av.error.FFmpegError, OSError, IndexError, ValueError):
        return count
    return count


def rows_of(table: Path) -> int:
    if not table.exists():
        return 0
    text = table.read_bytes()
    assert text.endswith(b"\n"), "a row is cut"
    return text.count(b"\n") - 1


# --- the inputs


def film(folder: Path, suffix: str = ".mkv", frames: int = FRAMES, **wanted: object) -> Path:
    kept = {"frames": frames, "rate": RATE, "size": SIZE} | wanted
    return media.clip(folder / f"film{suffix}", **kept)


def faststart(folder: Path) -> Path:
    return film(folder, ".mp4", container_options={"movflags": "+faststart"})


def cut(make: Callable[[Path], Path], share: float) -> Callable[[Path], Path]:
    return lambda folder: media.truncated(make(folder), share)


def zeroed(suffix: str, at: float) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = film(folder, suffix)
        data = bytearray(path.read_bytes())
        begin = int(len(data) * at)
        data[begin : begin + len(data) // 20] = bytes(len(data) // 20)
        path.write_bytes(data)
        return path

    return make


def named(make: Callable[[Path], Path], name: str) -> Callable[[Path], Path]:
    return lambda folder: make(folder).rename(folder / name)


def written(name: str, content: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        film(folder, ".mp4")
        (folder / name).write_text(content.format(film=folder / "film.mp4"))
        return folder / name

    return make


def photo(suffix: str, share: float) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = media.photo(folder / f"photo{suffix}", size=(640, 480))
        return media.truncated(path, share) if share < 1 else path

    return make


def bomb(folder: Path) -> Path:
    path = media.photo(folder / "bomb.png")
    data = bytearray(path.read_bytes())
    data[16:24] = (30000).to_bytes(4, "big") * 2
    path.write_bytes(data)
    return path


def twice(folder: Path) -> Path:
    path = film(folder, ".ts", 25)
    path.write_bytes(path.read_bytes() * 2)
    return path


def two_sizes(folder: Path) -> Path:
    first = film(folder, ".ts", 25, audio=0)
    second = media.clip(folder / "b.ts", frames=25, rate=RATE, size=(128, 96), audio=0)
    first.write_bytes(first.read_bytes() + second.read_bytes())
    return first


def nothing(name: str) -> Callable[[Path], Path]:
    return lambda folder: media.empty_file(folder / name)


def folder_of_nothing(folder: Path) -> Path:
    (folder / "empty").mkdir()
    return folder / "empty"


def input_cases() -> list[Case]:
    cuts = [0.02, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.95]
    cases = [Case(f"mkv cut at {c:.0%}", cut(film, c), (3, 0) if c > 0.9 else (3,)) for c in cuts]
    cases += [
        Case(f"mp4, index in front, cut at {c:.0%}", cut(faststart, c), (3, 0) if c > 0.9 else (3,))
        for c in cuts
    ]
    cases += [
        Case(f"{s} with noise", lambda f, s=s: media.noisy(film(f, s), 60), (0, 3))
        for s in (".mp4", ".mkv", ".ts")
    ]
    for suffix in (".mkv", ".ts", ".mp4"):
        for at in (0.3, 0.6, 0.9):
            name = f"{suffix}, a twentieth zeroed at {at:.0%}"
            cases.append(Case(name, zeroed(suffix, at), (0, 3)))
    playlist = "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:5,\n{film}\n#EXT-X-ENDLIST\n"
    listed = "ffconcat version 1.0\nfile '{film}'\n"
    return [
        *cases,
        Case("mkv named .mp4", named(film, "a.mp4"), (0,)),
        Case("mp4 named .avi", named(faststart, "a.avi"), (0,)),
        Case("mp4 named .jpg", named(faststart, "a.jpg"), (3,)),
        Case("photo named .mp4", named(photo(".png", 1), "a.mp4"), (0, 3)),
        Case("text named .mp4", lambda f: media.text_file(f / "a.mp4"), (3,)),
        Case("playlist .m3u8 of a local file", written("a.m3u8", playlist), (3,)),
        Case("playlist .m3u8 named .mp4", written("a.mp4", playlist), (3,)),
        Case("playlist to the network", written("a.m3u8", "#EXTM3U\nhttp://127.0.0.1/a\n"), (3,)),
        Case("ffconcat list", written("a.ffconcat", listed), (3,)),
        Case("ffconcat named .mkv", written("a.mkv", listed), (3,)),
        Case("the name concat:a.mp4, no such file", lambda f: Path(f"concat:{film(f)}"), (3,)),
        Case("the name subfile,,…", lambda f: Path(f"subfile,,start,0,end,9,,:{film(f)}"), (3,)),
        Case("a file really named concat:a.mp4", named(faststart, "concat:a.mp4"), (0,)),
        Case("a name with terminal codes", named(faststart, "a\x1b[2J.mp4"), (0,)),
        Case("photo cut (JPEG)", photo(".jpg", 0.5), (3,)),
        Case("photo cut (PNG)", photo(".png", 0.5), (3,)),
        Case("30,000×30,000 PNG of 2 kB", bomb, (3,)),
        Case("empty file", nothing("a.mp4"), (3,)),
        Case("empty folder", folder_of_nothing, (3,)),
        Case("sound alone", lambda f: media.audio_only(f / "a.mp4"), (3,)),
        Case("no such file", lambda f: f / "a.mp4", (3,)),
        Case("the clock jumps back", twice, (0,)),
        Case("the pictures change size", two_sizes, (0,)),
    ]


# --- the process and its resources


def itself(child: int) -> list[int]:
    return [child]


def its_workers(child: int) -> list[int]:
    """Waits for them, where there are none yet; the resource tracker is none of them."""
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        found = []
        for pid in session(child):
            with suppress(OSError):
                if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    found.append(pid)
        if found or not Path(f"/proc/{child}/fd/0").exists():
            return found
        time.sleep(0.002)
    return []


def at_row(
    number: int, *signals: int, whom: Callable[[int], list[int]] = itself
) -> Callable[[int, Path], None]:
    """Send signals to the child, or its workers, when the table has so many rows; 0: at once."""

    def strike(child: int, table: Path) -> None:
        deadline = time.monotonic() + LIMIT
        while number and time.monotonic() < deadline:
            if table.exists() and table.read_bytes().count(b"\n") > number:
                break
            if table.with_name("out.csv").exists():
                return
            time.sleep(0.001)
        for one in signals:
            for pid in whom(child):
                with suppress(ProcessLookupError):
                    os.kill(pid, one)

    return strike


def at_rows(numbers: Iterable[int], kill: int) -> Callable[[int, Path], None]:
    """Kill the workers again and again."""

    def strike(child: int, table: Path) -> None:
        for number in numbers:
            at_row(number, kill, whom=its_workers)(child, table)

    return strike


def addresses(more: int) -> Callable[[], None]:
    """Allow so many bytes of address space beyond what the process has at its start."""

    def limit() -> None:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + more
        resource.setrlimit(resource.RLIMIT_AS, (most, most))

    return limit


def small_shared_memory(size: str) -> Callable[[], None]:
    """A tmpfs of so many bytes over /dev/shm, which this process and its children alone see."""

    def mount() -> None:
        if ctypes.CDLL(None, use_errno=True).unshare(0x20000):  # CLONE_NEWNS
            raise OSError(ctypes.get_errno(), "no right to a mount namespace of its own")
        subprocess.run(["mount", "--make-rprivate", "/"], check=True)
        options = ["-t", "tmpfs", "-o", f"size={size}"]
        subprocess.run(["mount", *options, "tmpfs", str(SHARED)], check=True)

    return mount


def limited(kind: int, amount: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(kind, (amount, amount))


def process_cases() -> list[Case]:
    def long(folder: Path) -> Path:
        return film(folder, ".mp4", 150)

    cases = []
    for name, number in (("INT", 2), ("TERM", 15), ("HUP", 1), ("KILL", 9)):
        for when, row in (("start", 1), ("middle", 60), ("end", 125)):
            code = -9 if number == 9 else 128 + number
            case = Case(f"SIG{name} at the {when}, then --resume", long, (code, 0))
            case.strike, case.resume = at_row(row, number), True
            cases.append(case)
    stop = Case("SIGSTOP, then SIGCONT", long, (0,))
    stop.strike = at_row(40, signal.SIGSTOP, signal.SIGCONT)
    cases.append(stop)
    for size in (200, 3_000, 20_000):
        full = Case(f"files of at most {size} bytes, then --resume", long, (5,))
        full.before, full.resume = limited(resource.RLIMIT_FSIZE, size), True
        cases.append(full)
    few = Case("20 open files allowed", long, (1,))
    few.before = limited(resource.RLIMIT_NOFILE, 20)
    disk = Case("a disk of 40 kB", long, (5,))
    disk.small_disk = "40k"
    return [*cases, few, disk, *memory_cases(long), *worker_cases(long)]


def memory_cases(long: Callable[[Path], Path]) -> list[Case]:
    cases = []
    for megabytes in (10, 40, 80, 160, 400):
        name = f"{megabytes} MB of addresses more than at the start, then --resume"
        case = Case(name, long, (0, 1, 3, 5))
        case.before, case.resume = addresses(megabytes << 20), True
        cases.append(case)
    little = Case("--max-memory 50M", long, (1,))
    little.more = ("--max-memory", "50M")
    cases.append(little)
    for size, codes in (("16k", (1,)), ("200k", (0,))):
        case = Case(f"/dev/shm of {size}, two workers", long, codes)
        case.before, case.more = small_shared_memory(size), TWO
        cases.append(case)
    return cases


TWO = ("--workers", "2")


def worker_cases(long: Callable[[Path], Path]) -> list[Case]:
    cases = []
    for when, row in (("start", 0), ("middle", 60), ("flush", 125), ("close", 140)):
        case = Case(f"SIGKILL of both workers at the {when}", long, (0,))
        case.strike, case.more = at_row(row, signal.SIGKILL, whom=its_workers), TWO
        case.says = "replaced" if row < 100 else ""  # later nobody needs them any more
        cases.append(case)
    often = Case("SIGKILL of both workers at every 25th row", long, (0,))
    often.strike, often.more = at_rows(range(5, 130, 25), signal.SIGKILL), TWO
    often.says = "replaced"
    stopped = Case("SIGSTOP of both workers, then SIGCONT", long, (0,))
    stopped.strike = at_row(40, signal.SIGSTOP, signal.SIGCONT, whom=its_workers)
    stopped.more = TWO
    cases += [often, stopped]
    for when, row in (("start", 0), ("middle", 60), ("flush", 125), ("close", 140)):
        case = Case(f"SIGKILL of the parent of two workers at the {when}", long, (-9, 0))
        case.strike, case.more, case.resume = at_row(row, signal.SIGKILL), TWO, True
        cases.append(case)
    return cases


# --- one case, and the table of all


def examined(case: Case, folder: Path) -> tuple[list[str], bool]:
    """The row of a case, and whether it ended as it should."""
    given, results = folder / "given", folder / "results"
    given.mkdir()
    results.mkdir()
    made = folder / "made"
    forked(lambda: _make(case, given, made), folder / "make.log", None)
    source = Path(made.read_text())
    if case.small_disk:
        mount = ["mount", "-t", "tmpfs", "-o", f"size={case.small_disk}", "tmpfs", str(results)]
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            return [case.name, "not run: no right to mount", *[""] * 6], True
    suffix = ".png" if source.suffix in PHOTOS else ".mp4"
    out = results / f"out{suffix}"
    table = results / "out.part.csv"
    strike = (lambda child: case.strike(child, table)) if case.strike else None
    try:
        ended = run(source, out, folder / "log", *case.more, strike=strike, before=case.before)
        return _judged(case, ended, source, out, folder)
    finally:
        if case.small_disk:
            subprocess.run(["umount", str(results)], check=True)


def _make(case: Case, given: Path, made: Path) -> int:
    cv2.setNumThreads(1)
    made.write_text(str(case.make(given)))
    return 0


def _judged(
    case: Case, ended: Ended, source: Path, out: Path, folder: Path
) -> tuple[list[str], bool]:
    is_photo = out.suffix in PHOTOS
    part = out.with_name(f"out.part{out.suffix}")
    film_there = out if out.exists() else part
    rows = rows_of(film_there.with_suffix(".csv"))
    frames = int(film_there.exists()) if is_photo else decodable(film_there)
    possible = int(source.exists()) if is_photo else decodable(source)
    leftovers = sorted(p.name for p in out.parent.iterdir() if p.name not in _PLAIN)
    group = bool(leftovers) and ended.code >= 0 and any("join" in name for name in leftovers)
    good = ended.code in case.codes and not ended.hung and "Traceback" not in ended.said
    good = good and case.says in ended.said
    good = good and not group and abs(rows - frames) <= RATE and not ended.left
    if ended.code == 0 and case.more:
        good = good and frames == rows == possible
    after = ""
    if case.resume:
        whole = run(source, out, folder / "log2", *case.more, "--resume")
        again = decodable(out), rows_of(out.with_suffix(".csv"))
        after = f"{again[0]} frames, {again[1]} rows" if whole.code == 0 else f"exit {whole.code}"
        good = good and whole.code == 0 and again == (possible, possible)
    last = ended.said.strip().splitlines()[-1] if ended.said.strip() else ""
    last = last.replace(str(folder), "…").replace("|", "/").replace("rustvid: ", "")
    row = [
        case.name,
        str(ended.code),
        last[:110],
        f"{frames} / {possible}",
        str(rows),
        ", ".join([*leftovers, *ended.left]) or "none",
        after,
        f"{ended.seconds:.1f}",
    ]
    return row, good


_PLAIN = {"out.mp4", "out.csv", "out.png", "out.part.mp4", "out.part.csv", "out.part.json"}


def random_kills(count: int, folder: Path) -> str:
    """Runs killed at random moments and resumed; every one must end as the unbroken run."""
    chance = random.Random(1)
    source = folder / "film.mp4"
    forked(lambda: bool(film(folder, ".mp4", 150)) and 0, folder / "log", None)
    whole = folder / "whole.mp4"
    longest = run(source, whole, folder / "log").seconds
    kills = runs = 0
    while kills < count:
        runs += 1
        out = folder / f"{runs}.mp4"
        for attempt in range(4):
            delay = chance.uniform(0, longest) if attempt < 3 else LIMIT

            def strike(child: int, delay: float = delay) -> None:
                deadline = time.monotonic() + delay
                while time.monotonic() < deadline:
                    if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                        return
                    time.sleep(0.002)
                os.kill(child, signal.SIGKILL)

            ended = run(source, out, folder / "log", "--resume", strike=strike)
            if ended.code == 0:
                break
            assert ended.code == -signal.SIGKILL, ended
            kills += 1
        same = out.with_suffix(".csv").read_bytes() == whole.with_suffix(".csv").read_bytes()
        assert same and decodable(out) == 150, f"run {runs} differs"
        for left in folder.glob(f"{runs}.*"):
            left.unlink()
    return f"{kills} kills at random moments over {runs} runs: every run ended as the unbroken one."


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--only", default="", help="cases whose name holds this")
    parser.add_argument("--out", help="default: benchmarks/faults.md, with --only nowhere")
    options = parser.parse_args()
    head = ["fault", "exit", "last line", "frames / possible", "rows", "left behind"]
    head += ["resumed", "s"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    bad: list[str] = []
    cases = [case for case in input_cases() + process_cases() if options.only in case.name]
    for case in cases:
        with tempfile.TemporaryDirectory() as name:
            row, good = examined(case, Path(name))
        lines.append("| " + " | ".join(row) + " |")
        if not good:
            bad.append(case.name)
        print("ok " if good else "BAD", *row, sep="  ", flush=True)
    told = ""
    if options.kills:
        folder = Path(tempfile.mkdtemp())
        told = random_kills(options.kills, folder) + "\n\n"
        shutil.rmtree(folder)
        print(told)
    about = (
        "# Faults\n\nMade by `python benchmarks/faults.py`: films of 96×72 pixels, ten frames a "
        "second, a network that sees colours. Exit −9 is SIGKILL. Frames are those of the output "
        "or of its part; possible, those that PyAV alone decodes of the input. Left behind: files "
        "that do not belong there, processes and shared memory. Seconds are of a busy machine.\n\n"
        f"{len(cases)} cases, {len(bad)} not as they should be"
        + (f": {'; '.join(bad)}" if bad else "")
        + f".\n\n{told}"
    )
    out = options.out or (None if options.only else ROOT / "benchmarks" / "faults.md")
    if out:
        Path(out).write_text(about + "\n".join(lines) + "\n", encoding="utf-8")
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
