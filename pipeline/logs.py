"""What a log line looks like: for people in a terminal, one JSON object a line everywhere else.

Modules log with the standard library: one line per change of state, never one per message. What one searches by goes
into `extra` (FIELDS) and is a field of its own in the line; `stage` is on each line of a stage. Whatever came from
outside stands in a line as harmless text: no control character, no second line that looks like ours, no secret. The one
exception is `link`, a secret that is meant to be read.
"""

import logging
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, Final, Literal, TextIO

import structlog
from structlog.typing import Processor

from alerts.plain_text import ANSI, plain

LogFormat = Literal["auto", "json", "text"]
LONGEST = 2_000  # characters of one text
LONGEST_TRACEBACK = 20_000
LINK: Final = "link"
FIELDS: Final = (
    "stage",
    "epoch",
    "topic",
    "partition",
    "partitions",
    "offset",
    "tenant",
    "incident_id",
    "rule",
    "receiver",
    "dedup_key",
    "control",
    LINK,
)
OWN: Final = frozenset({"timestamp", "level", "logger"})  # no text from outside

Line = MutableMapping[str, Any]


def configure(level: int, wanted: LogFormat = "auto", stream: TextIO | None = None) -> None:
    """Every logger of this process writes such lines to `stream`: standard error unless given."""
    out = stream or sys.stderr
    is_terminal = out.isatty()
    is_json = wanted == "json" or (wanted == "auto" and not is_terminal)
    before: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.ExtraAdder(allow=FIELDS),
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        harmless,
    ]
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(default=str) if is_json else _Text(is_terminal),
            ],
            foreign_pre_chain=before,
        )
    )
    root = logging.getLogger()
    for old in list(root.handlers):
        if isinstance(old.formatter, structlog.stdlib.ProcessorFormatter):
            root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)


def harmless(_logger: object, _method: str, line: Line) -> Line:
    """Every text of a line without secrets and control characters."""
    return {name: value if name in OWN or name[:1] == "_" else _harmless(name, value) for name, value in line.items()}


def _harmless(name: str, value: object) -> object:
    if isinstance(value, bool | int | float) or value is None:
        return value
    from sinks.redaction import redact_text  # polars: most commands have nothing to log, and need it not

    if name == "exception":
        return _traceback(redact_text(str(value)[-LONGEST_TRACEBACK:]))
    text = plain(str(value), LONGEST)
    return text if name == LINK else redact_text(text)


def _traceback(text: str) -> str:
    """Its lines stay lines, all of them indented, so that none can pass for one of ours."""
    lines = ANSI.sub("", text).splitlines()
    return "\n".join("  " + " " * (len(line) - len(line.lstrip(" "))) + plain(line, LONGEST) for line in lines)


class _Text:
    """`10:12:00 warning  notify: text  incident_id=... rule=...`, in colours where it is a terminal."""

    def __init__(self, is_coloured: bool) -> None:
        self._colours: Mapping[str, str] = COLOURS if is_coloured else {}

    def __call__(self, _logger: object, _method: str, line: Line) -> str:
        level, name = str(line.pop("level")), str(line.pop("logger"))
        moment, said, traceback = line.pop("timestamp"), line.pop("event"), line.pop("exception", "")
        ids = "".join(f"  {name}={value}" for name, value in line.items())
        colour = self._colours.get(level, "")
        shown = f"{colour}{level:<8}{RESET if colour else ''}"
        return f"{moment[:19]} {shown} {name}: {said}{ids}" + (f"\n{traceback}" if traceback else "")


COLOURS: Final = {"warning": "\x1b[33m", "error": "\x1b[31m", "critical": "\x1b[1;31m"}
RESET: Final = "\x1b[0m"
