"""The command line: parse, then import, then one call, then print.

`rustvid INPUT --out OUT` is `rustvid run INPUT --out OUT`. Nothing heavy loads for --help.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

from rustvid import __version__
from rustvid.bench.arguments import add_bench
from rustvid.chatter import ask_for_quiet, silenced
from rustvid.config import Config, apply, load
from rustvid.errors import ConfigError, Interrupted, RustVidError, SinkError, UsageError
from rustvid.presets import config_path
from rustvid.redact import MASK, redacted, shown
from rustvid.training.arguments import add_adapt, add_evaluate, add_tune

if TYPE_CHECKING:
    from rustvid.frames import Measured
    from rustvid.report.summary import Summary
    from rustvid.training.evaluation import Evaluation
    from rustvid.training.examples import ExampleSet

C = TypeVar("C")

_TEXTS = ("output.", "model.", "events.", "status.")  # sections whose shortcuts take text as it is

# Packages whose versions a result may depend on.
_REPORTED = (
    "ai-edge-litert",
    "av",
    "keras",
    "numpy",
    "opencv-python-headless",
    "pydensecrf2",
    "tensorflow",
)
COMMANDS = (
    "run",
    "live",
    "demo",
    "map",
    "report",
    "models",
    "config",
    "train",
    "evaluate",
    "tune",
    "adapt",
    "bench",
)

_EPILOG = """\
examples:
  rustvid footage.mp4 --out annotated.mp4
  rustvid footage.mp4 --out annotated.mp4 --mask masks.mkv --every 5 --config paper
  rustvid photo.jpg --out annotated.png
  rustvid demo footage.mp4

exit codes: 0 ok, 1 failure, 2 usage or configuration, 3 input unreadable or cut short,
5 output, 6 some frames, files or cameras failed, 129, 130 and 143 interrupted
"""

# option → dotted key of the configuration; the defaults are in config.py alone
_SHORTCUTS: dict[str, tuple[str, dict[str, Any]]] = {
    "--out": ("output.path", {"metavar": "OUT", "help": "annotated video or picture"}),
    "--out-dir": ("output.folder", {"metavar": "DIR", "help": "results of several inputs"}),
    "--csv": ("output.csv", {"metavar": "FILE", "help": "table of the area of every frame"}),
    "--mask": ("output.mask", {"metavar": "FILE", "help": "masks as lossless video"}),
    "--model": ("model.name", {"metavar": "NAME|PATH", "help": "shipped model or weights"}),
    "--device": ("model.device", {"metavar": "DEVICE", "help": "auto, cpu, gpu or gpu:N"}),
    "--hwaccel": (
        "source.hwaccel",
        {"metavar": "DEVICE", "help": "decode by auto, none, cuda, vaapi, videotoolbox, qsv"},
    ),
    "--every": (
        "sample.every",
        {"metavar": "N|auto", "help": "analyse every Nth frame, track others"},
    ),
    "--start": ("source.start", {"metavar": "TIME", "help": "begin here; seconds or hh:mm:ss"}),
    "--end": ("source.end", {"metavar": "TIME", "help": "stop before; seconds or hh:mm:ss"}),
    "--view": ("render.view", {"metavar": "VIEW", "help": "overlay, heatmap, mask, side-by-side"}),
    "--workers": ("workers", {"metavar": "N", "help": "processes that refine; 0: none"}),
    "--max-memory": ("max_memory", {"metavar": "SIZE", "help": "take no more than this, 2G"}),
}
_LIVE_SHORTCUTS: dict[str, tuple[str, dict[str, Any]]] = {
    "--transport": ("source.transport", {"metavar": "tcp|udp", "help": "of rtsp"}),
    "--retry-for": (
        "source.retry_for",
        {"metavar": "TIME", "help": "live: give up a camera after so long"},
    ),
    "--segment": (
        "output.segment",
        {"metavar": "TIME", "help": "live: a new file after so long, 10m"},
    ),
    "--before": (
        "output.before",
        {"metavar": "TIME", "help": "clips: so long before the corrosion"},
    ),
    "--after": ("output.after", {"metavar": "TIME", "help": "clips: so long after it"}),
    "--republish": (
        "output.republish",
        {"metavar": "URL", "help": "live: send the annotated video there too"},
    ),
    "--keep": ("output.keep", {"metavar": "TIME", "help": "live: remove older files, 7d"}),
    "--keep-size": (
        "output.keep_size",
        {"metavar": "SIZE", "help": "live: remove the oldest files beyond, 50G"},
    ),
    "--events": ("events.path", {"metavar": "FILE", "help": "live: events as JSON lines"}),
    "--on-event": (
        "events.command",
        {"metavar": "COMMAND", "help": "live: gets each event on its stdin"},
    ),
    "--webhook": ("events.webhook", {"metavar": "URL", "help": "live: each event is posted here"}),
    "--status": (
        "status.address",
        {"metavar": "HOST:PORT", "help": "live: serve a status page, 127.0.0.1:8090"},
    ),
}


_STDOUT = "-"
_ANYWHERE = {
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space",
    errno.EFBIG: "the system allows no larger file",
    errno.EIO: "check the disk",
}
# Flags without a value: what each sets, and its help. The first is of films alone.
_SWITCHES = {"--resume": ("output.resume=true", "go on with a run that was broken off")}
_LIVE_SWITCHES = {
    "--overwrite": ("output.overwrite=true", "replace files that exist"),
    "--no-text": ("render.text=false", "write nothing into the picture"),
    "--clips": ("output.clips=true", "live: only around corroded frames"),
    "--keep-all": ("source.keep_all=true", "live: drop no frame, let it wait"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code. RustVid's own errors become one line."""
    _open_standard_streams()
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = build_parser()
    if given and given[0] not in COMMANDS and not _is_global(given[0]):
        given.insert(0, "run")
    options = parser.parse_args(given)
    if not given:
        parser.print_help()
        return 2
    try:
        return int(options.handler(options))
    except RustVidError as exc:
        if getattr(options, "verbose", False):
            _tell(traceback.format_exc().rstrip())
        _tell(f"rustvid: {exc}")
        return exc.exit_code
    except MemoryError:
        _tell("rustvid: out of memory before the first frame; free some, or see --max-memory")
        return RustVidError.exit_code
    except OSError as exc:  # what may strike anywhere: a name too long, a full disk
        if exc.errno not in _ANYWHERE:
            raise
        where = f"{exc.filename}: " if exc.filename is not None else ""
        _tell(f"rustvid: {where}{exc.strerror}; {_ANYWHERE[exc.errno]}")
        return SinkError.exit_code
    except KeyboardInterrupt:
        interrupted = Interrupted(signal.SIGINT)
        _tell(f"rustvid: {interrupted}")
        return interrupted.exit_code


def build_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = argparse.ArgumentParser(
        prog="rustvid",
        description="Finds rust in inspection footage: the same video with corrosion marked, "
        "and its area frame by frame.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"rustvid {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND")
    _add_run(commands)
    _add_live(commands)
    demo = commands.add_parser("demo", help="make synthetic footage with true masks to try on")
    demo.add_argument("out", metavar="OUT.mp4")
    demo.add_argument("--seconds", type=float, help="length of the film")
    demo.add_argument("--overwrite", action="store_true", help="replace files that exist")
    demo.set_defaults(handler=_demo)
    places = commands.add_parser("map", help="tables of drone footage as a map (GeoJSON)")
    places.add_argument("tables", nargs="+", metavar="TABLE.csv", help="or folders of them")
    places.add_argument("--out", required=True, metavar="FILE.geojson", help="for QGIS and others")
    places.add_argument("--overwrite", action="store_true", help="replace a file that exists")
    places.set_defaults(handler=_map)
    report = commands.add_parser("report", help="a result as a page with chart and pictures")
    report.add_argument("result", metavar="ANNOTATED", help="annotated film, or its table")
    report.add_argument("--out", required=True, metavar="FILE.html", help="one file, to hand on")
    report.add_argument("--pictures", type=int, metavar="N", help="at most; of the largest areas")
    report.add_argument("--overwrite", action="store_true", help="replace a file that exists")
    report.set_defaults(handler=_report_of)
    models = commands.add_parser("models", help="list the shipped models")
    models.set_defaults(handler=_models)
    config = commands.add_parser("config", help="print every option with its value")
    _add_configuration(config)
    config.set_defaults(handler=_config)
    train = commands.add_parser("train", help="teach a student from photos with one label each")
    train.add_argument("data", metavar="DATA", help="folder of corrosion/ and not_corrosion/")
    train.add_argument("--out", required=True, metavar="DIR", help="weights, card, state and log")
    _add_configuration(train)
    train.set_defaults(handler=_train)
    add_evaluate(commands, _add_configuration, _evaluate_classify, _evaluate_segment)
    add_tune(commands, _add_configuration, _tune)
    add_adapt(commands, _add_configuration, _adapt)
    add_bench(commands, _bench)
    return parser


def _add_run(commands: Any) -> None:
    run = commands.add_parser(
        "run",
        help="analyse footage (the default: `rustvid INPUT --out OUT`)",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    run.add_argument(
        "input",
        nargs="+",
        metavar="INPUT",
        help="video, picture, folder of pictures or camera; with --out-dir several, patterns, "
        "folders",
    )
    for flag, (_, details) in (_SHORTCUTS | _LIVE_SHORTCUTS).items():
        run.add_argument(flag, default=None, **details)
    run.add_argument(
        "--live", action=argparse.BooleanOptionalAction, default=None, help="treat as a camera"
    )
    _add_switches(run, _SWITCHES | _LIVE_SWITCHES)
    run.add_argument(
        "--join", action="store_true", help="all inputs are one film, cut by the camera"
    )
    run.add_argument("--json", action="store_true", help="print the summary as JSON on stdout")
    run.add_argument("-q", "--quiet", action="store_true", help="only errors")
    run.add_argument("-v", "--verbose", action="store_true", help="tracebacks, library messages")
    _add_configuration(run)
    run.set_defaults(handler=_run)


def _add_live(commands: Any) -> None:
    live = commands.add_parser("live", help="watch several cameras at once, with one network")
    live.add_argument("cameras", metavar="CAMERAS.yaml", help="what they share, and each by name")
    of_one = {"--out", "--csv", "--mask", "--start", "--end"}
    for flag, (_, details) in (_SHORTCUTS | _LIVE_SHORTCUTS).items():
        if flag not in of_one:
            live.add_argument(flag, default=None, **details)
    _add_switches(live, _LIVE_SWITCHES)
    live.add_argument("--json", action="store_true", help="print the summaries as JSON on stdout")
    live.add_argument("-q", "--quiet", action="store_true", help="only errors")
    live.add_argument("-v", "--verbose", action="store_true", help="tracebacks, library messages")
    _add_configuration(live)
    live.set_defaults(handler=_live)


def _add_switches(parser: argparse.ArgumentParser, switches: Mapping[str, tuple[str, str]]) -> None:
    for flag, (_, told) in switches.items():
        parser.add_argument(flag, action="store_true", help=told)


def _add_configuration(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config",
        action="append",
        default=[],
        metavar="FILE",
        help="YAML with differences from the defaults, or a shipped name; may be repeated",
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="set one option; repeatable"
    )


def _is_global(word: str) -> bool:
    return word in ("-h", "--help", "--version")


def _configuration(options: argparse.Namespace, base: Config | None = None) -> Config:
    """Defaults (or `base`), then configuration files, then --set, then the shortcuts."""
    config = _changed(base or Config(), options)
    for flag, (key, _) in (_SHORTCUTS | _LIVE_SHORTCUTS).items():
        value = getattr(options, flag.removeprefix("--").replace("-", "_"), None)
        if value is not None:
            quoted = json.dumps(value) if key.startswith(_TEXTS) else value
            config = _named(flag, config, f"{key}={quoted}")
    for flag, (assignment, _) in (_SWITCHES | _LIVE_SWITCHES).items():
        if getattr(options, flag.removeprefix("--").replace("-", "_"), False):
            config = apply(config, assignment)
    return config


def _changed(config: C, options: argparse.Namespace) -> C:
    """`config` with the --config files and then the --set options."""
    for name in options.config:
        config = load(config_path(name), config)
    for assignment in options.set:
        config = apply(config, assignment)
    return config


def _named(flag: str, config: Config, assignment: str) -> Config:
    """Set a shortcut's key; an error speaks of the shortcut that was given."""
    try:
        return apply(config, assignment)
    except ConfigError as exc:
        raise ConfigError(str(exc).replace("--set:", f"{flag}:", 1)) from exc


def _run(options: argparse.Namespace) -> int:
    if "" in options.input:
        raise UsageError("an input is empty: name a file, a folder (. is this one) or a camera")
    if "-" in options.input:
        raise UsageError("-: a pipe can be read only once; save it as a file first")
    config = replace(_configuration(options), input=options.input[0])
    if options.live is not None:
        config = replace(config, source=replace(config.source, live=options.live))
    if options.join:
        from rustvid.video.named import joined

        config = joined(config, options.input)
    elif len(options.input) > 1 and not config.output.folder:
        raise UsageError(
            f"{len(options.input)} inputs: add --out-dir DIR for their results, or --join where "
            "they are one film"
        )
    if config.output.folder:
        return _run_all(options, config)
    wanted = (config.output.path, config.output.csv, config.output.mask, config.events.path)
    elsewhere = config.status.address or config.output.republish
    if not (any(wanted) or elsewhere or options.json):
        raise UsageError("nothing to write: add --out annotated.mp4 (or --csv, --mask, --json)")
    with _library_chatter(options.verbose):
        from rustvid.preflight import paths_of, preflight
        from rustvid.resume import completed, permitted
        from rustvid.video.address import is_live

    if done := completed(config, paths_of(config)):
        _report(done, config, options)
        return done.exit_code
    preflight(permitted(config))  # before TensorFlow loads: what is wrong is told at once
    if is_live(str(config.input), config.source):
        return _watch(config, options)
    from rustvid.progress import Progress, Signals

    with Signals() as signals:
        with _library_chatter(options.verbose):
            from rustvid.pipeline import run
        signals.check()
        with Progress(Path(options.input[0]).name, options.quiet) as progress:

            def after_each(result: Measured, expected: int | None) -> None:
                signals.check()
                progress.show(result, expected)

            summary = run(config, after_each)
            if not summary.error:
                progress.complete()
    _report(summary, config, options)
    return summary.exit_code


def _watch(config: Config, options: argparse.Namespace) -> int:
    """A camera. SIGINT and SIGTERM are how it ends: the files are completed, the code is 0."""
    from rustvid.progress import LiveProgress, Signals
    from rustvid.redact import hide_arguments, secrets_in

    given = [config.events.webhook, config.status.token, config.output.republish]
    hide_arguments([*secrets_in(str(config.input)), *given])
    sys.excepthook = lambda *error: _tell("".join(traceback.format_exception(*error)))
    with Signals() as signals, LiveProgress(str(config.input), options.quiet) as progress:
        with _library_chatter(options.verbose):
            from rustvid.live.watch import watch
        summary = watch(config, lambda: signals.received, progress.show)
    _report(summary, config, options)
    return summary.exit_code


def _live(options: argparse.Namespace) -> int:
    """Several cameras. SIGINT and SIGTERM are how they end, as of one."""
    from rustvid.live.named import read_cameras

    common, named = read_cameras(Path(options.cameras), lambda base: _configuration(options, base))
    from rustvid.progress import LiveProgress, Signals
    from rustvid.redact import hide_arguments

    with Signals() as signals, LiveProgress(options.cameras, options.quiet) as progress:
        with _library_chatter(options.verbose):
            from rustvid.live import cameras
        hide_arguments([common.events.webhook, common.status.token, common.output.republish])
        summaries = cameras.watch_all(
            common, named, lambda: signals.received, lambda boards: progress.show(*boards)
        )
    if options.json:
        facts = {name: summary.as_dict() for name, summary in summaries.items()}
        text = json.dumps({"versions": _versions(), "cameras": facts}, indent=2, ensure_ascii=False)
        _print(text)
    if not options.quiet:
        for line in cameras.lines(summaries):
            _tell(line)
    return cameras.exit_code(summaries)


def _run_all(options: argparse.Namespace, config: Config) -> int:
    """Several inputs, with one network."""
    from rustvid.progress import Progress, Signals

    with Signals() as signals, ExitStack() as bars:
        with _library_chatter(options.verbose):
            from rustvid import batch
        signals.check()
        jobs = batch.jobs_of(
            options.input, config, lambda line: None if options.quiet else _tell(f"rustvid: {line}")
        )

        def begin(job: batch.Job) -> Callable[[Measured, int | None], None]:
            signals.check()
            bars.close()
            bar = bars.enter_context(Progress(job.input.name, options.quiet))

            def after_each(result: Measured, expected: int | None) -> None:
                signals.check()
                bar.show(result, expected)

            return after_each

        def done(job: batch.Job, summary: Summary) -> None:
            bars.close()
            said = "complete already" if summary.was_complete else "wrote"
            state = f"rustvid: {summary.error}" if summary.error else f"{said} {job.output}"
            if summary.error or not options.quiet:
                _tell(state)

        summaries = batch.run_all(config, jobs, begin, done)
    if options.json:
        _print(json.dumps([summary.as_dict() for summary in summaries], indent=2))
    if not options.quiet:
        for line in batch.lines(jobs, summaries):
            _tell(line)
    return batch.exit_code(summaries)


def _report(summary: Summary, config: Config, options: argparse.Namespace) -> None:
    if options.json:
        from rustvid.config import as_dict

        if config.status.token:
            config = replace(config, status=replace(config.status, token=MASK))
        if config.events.webhook:  # some have their secret in the path
            config = replace(config, events=replace(config.events, webhook=MASK))
        if config.output.republish:
            config = replace(config, output=replace(config.output, republish=MASK))
        facts = {"versions": _versions(), **summary.as_dict(), "config": as_dict(config)}
        _print(json.dumps(facts, indent=2, ensure_ascii=False))
    if not options.quiet and (summary.frames or not summary.error):
        for warning in summary.warnings:
            _tell(f"rustvid: warning: {warning}")
        for line in summary.lines():
            _tell(line)
    if summary.error:
        _tell(f"rustvid: {summary.error}")


def _versions() -> dict[str, str]:
    """What the result may depend on, as installed."""
    from importlib import metadata
    from platform import python_version

    found = {"rustvid": __version__, "python": python_version()}
    for name in _REPORTED:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def _print(text: str) -> None:
    """On stdout, to the last byte, without passwords; ? for what its encoding does not have.

    A reader that has gone, `head` perhaps, has had enough.
    """
    encoding = sys.stdout.encoding or "utf-8"
    try:
        print(redacted(text.encode(encoding, "replace").decode(encoding)), flush=True)
    except OSError as exc:
        _let_go(sys.stdout)
        if not isinstance(exc, BrokenPipeError):
            raise SinkError(
                f"stdout: cannot be written ({exc.strerror}); check where it leads"
            ) from exc


def _tell(line: str) -> None:
    """On stderr; where nobody reads it, that is no reason to fail."""
    try:
        print(shown(line), file=sys.stderr, flush=True)
    except OSError:
        _let_go(sys.stderr)


def _let_go(stream: TextIO) -> None:
    """What it still holds must not fail once more at the interpreter's exit, with code 120."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _open_standard_streams() -> None:
    """Where one was closed by the caller (`2>&-`), a file of ours would take its number."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number: this one
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115


@contextmanager
def _library_chatter(wanted: bool) -> Iterator[None]:
    """Keep what libraries say while they load from stderr, unless it is wanted."""
    if not wanted:
        ask_for_quiet()
    with silenced():
        yield


def _demo(options: argparse.Namespace) -> int:
    from rustvid import demo
    from rustvid.files import masks_of

    given = {"seconds": options.seconds} if options.seconds is not None else {}
    path = demo.write(Path(options.out), overwrite=options.overwrite, **given)
    _print(f"wrote {path}\nwrote {masks_of(path)}")
    return 0


def _map(options: argparse.Namespace) -> int:
    from rustvid.report import geo

    found = geo.write(Path(options.out), map(Path, options.tables), overwrite=options.overwrite)
    _print(f"{found}\nwrote {options.out}")
    return 0


def _report_of(options: argparse.Namespace) -> int:
    from rustvid import review

    given = {} if options.pictures is None else {"pictures": options.pictures}
    done, out = Path(options.result), Path(options.out)
    _print(f"{review.write(done, out, overwrite=options.overwrite, **given)}\nwrote {out}")
    return 0


def _models(options: argparse.Namespace) -> int:
    from rustvid.method.models import shipped

    lines = []
    for path in shipped():
        about = path.with_suffix(".md").read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")
        lines.append(f"{path.stem:18} {path.stat().st_size / 1e6:5.1f} MB  {about}")
    _print("\n".join(lines))
    return 0


def _config(options: argparse.Namespace) -> int:
    from rustvid.config import document

    _print(document(_configuration(options)).rstrip("\n"))
    return 0


def _train(options: argparse.Namespace) -> int:
    with _library_chatter(wanted=False):
        from rustvid.progress import StepProgress
        from rustvid.training import paper, train
        from rustvid.training.recipe import TrainConfig
    config = _changed(TrainConfig(), options)
    with StepProgress("training") as progress:
        trained = paper.train if config.network == "classifier" else train.train
        weights = trained(Path(options.data), Path(options.out), config, progress.show)
    _print(f"wrote {weights}")
    return 0


def _evaluate_classify(options: argparse.Namespace) -> int:
    with _library_chatter(wanted=False):
        from rustvid.training.evaluation import evaluate_classify
    figures = _figures(options)
    config, out = _configuration_of_model(options), Path(options.out) if options.out else None
    _show(evaluate_classify(Path(options.data), config, out), figures)
    return 0


def _evaluate_segment(options: argparse.Namespace) -> int:
    with _library_chatter(wanted=False):
        from rustvid.training.evaluation import evaluate_segment
    figures = _figures(options)
    config, out = _configuration_of_model(options), Path(options.out) if options.out else None
    _show(evaluate_segment(_sets(options), config, out), figures)
    return 0


def _sets(options: argparse.Namespace) -> list[ExampleSet]:
    from rustvid.training.examples import ExampleSet

    return [ExampleSet(Path(path), options.half, options.every) for path in options.data]


def _told(sets: list[ExampleSet]) -> list[ExampleSet]:
    """The same, once what is odd with them has been told: they are going to teach."""
    for examples in sets:
        if examples.note:
            _tell(f"rustvid: {examples.note}")
    return sets


def _configuration_of_model(options: argparse.Namespace) -> Config:
    from rustvid.method.refine import check as check_refinement

    config = _changed(Config(), options)
    if options.model:
        config = _named("--model", config, f"model.name={json.dumps(options.model)}")
    check_refinement(config.refine)  # what a run refuses is not worth measuring
    if config.sample != Config().sample or config.source != Config().source:
        _tell("rustvid: sample and source are a run's: here every picture is looked at by itself")
    return config


def _figures(options: argparse.Namespace) -> Path | None:
    """Where --json goes; what makes that impossible is told before minutes are spent."""
    from rustvid.video import check_file

    if not options.json:
        return None
    if options.json == _STDOUT:
        return Path(_STDOUT)
    check_file(Path(options.json), folders=True)
    return Path(options.json)


def _show(found: Evaluation, figures: Path | None) -> None:
    """The result comes first: no disk that is full by now takes it."""
    if figures == Path(_STDOUT):
        _tell(found.text)
        _print(found.json)
        return
    _print("\n".join([found.text, *(f"wrote {path}" for path in found.outputs)]))
    if figures:
        _print(f"wrote {found.write_json(figures)}")


def _tune(options: argparse.Namespace) -> int:
    with _library_chatter(wanted=False):
        from rustvid.training.tune import tune
        from rustvid.video import check_file
    config, out = _configuration_of_model(options), Path(options.out)
    check_file(out)
    if out.exists() and not options.overwrite:
        raise UsageError(f"{out}: exists; choose another name or add --overwrite")
    found = tune(_told(_sets(options)), config, options.trials, options.pictures)
    _print(found.text)
    _print(f"wrote {found.write(out)}")
    return 0


def _adapt(options: argparse.Namespace) -> int:
    with _library_chatter(wanted=False):
        from rustvid.progress import StepProgress
        from rustvid.training.adapt import adapt
    config, sets = _configuration_of_model(options), _told(_sets(options))
    with StepProgress("adapting") as progress:
        found = adapt(
            sets,
            Path(options.out),
            config,
            options.steps,
            progress.show,
            overwrite=options.overwrite,
        )
    _print(f"{found.text}\nwrote {found.weights}, and {found.settings} for --config")
    return 0


def _bench(options: argparse.Namespace) -> int:
    from rustvid.bench.command import command

    return command(options, _print, _tell)
