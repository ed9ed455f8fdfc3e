"""Every error RustVid raises on purpose, and the exit code each one ends the program with.

    RustVidError                1   something failed that is not one of the below
    ├── UsageError              2   the call is wrong: an argument, a value, a path
    │   ├── ConfigError         2   a configuration file or a --set that cannot be understood
    │   └── ModelError          2   weights that are missing, unreadable or of the wrong shape
    ├── SourceError             3   the input cannot be opened or decoded
    │   └── SourceCutShort      3   the input ended before its own headers say it should
    ├── SinkError               5   the output cannot be written
    ├── WorkerError             1   worker processes cannot be started or keep dying
    ├── OutOfMemory             1   the system gave no more memory
    └── Interrupted       129, 130, 143  SIGHUP, SIGINT or SIGTERM; what was done is kept

A message names the thing, the value and the remedy, on one line, and never a password.
A bug is not in this tree: it keeps its own type and its traceback.
"""

from rustvid.redact import redacted


class RustVidError(Exception):
    """Base of all errors that RustVid raises on purpose. Its words hold no password."""

    exit_code = 1

    def __str__(self) -> str:
        return redacted(super().__str__())


class UsageError(RustVidError):
    """The call is wrong."""

    exit_code = 2


class ConfigError(UsageError):
    """A configuration value is unknown, of the wrong type or out of range."""


class ModelError(UsageError):
    """Weights are missing, unreadable or do not fit the network."""


class SourceError(RustVidError):
    """The input cannot be opened or decoded."""

    exit_code = 3


class SourceCutShort(SourceError):
    """The input ended before its own headers say it should; what could be read was processed."""


class SinkError(RustVidError):
    """The output cannot be written."""

    exit_code = 5


class WorkerError(RustVidError):
    """Worker processes cannot be started, or a task keeps killing them."""


class OutOfMemory(RustVidError):
    """The system gave no more memory; what was finished is kept."""

    def __init__(self) -> None:
        super().__init__(
            "out of memory: what was done is kept; go on with --resume and a smaller --max-memory, "
            "or end other programs"
        )


class Interrupted(RustVidError):
    """A signal asked the run to stop; what was finished is kept."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(f"interrupted by signal {signal_number}")
        self.exit_code = 128 + signal_number
