"""The recorded sessions of a coding agent (marot/spotter, MIT). The mapping is the demo's."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

from bench.converters.files import Event, data_set, main
from pipeline.ingest.claude_code import Line, spans


def lines(folder: Path) -> list[Line]:
    """Every line of the set."""
    with gzip.open(data_set(folder, "claude_code") / "sessions.jsonl.gz", "rt", encoding="utf-8") as file:
        return [json.loads(text) for text in file]


def convert(folder: Path) -> Iterator[Event]:
    """899 model calls and 1 136 tool calls of 9 runs."""
    yield from spans(lines(folder))


if __name__ == "__main__":
    main(convert, __doc__ or "")
