"""Where a data set lies, and how its events are written."""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson

from schemas.errors import UsageError

Event = dict[str, Any]
Convert = Callable[[Path], Iterator[Event]]


def data_set(folder: Path, name: str) -> Path:
    """The folder of a set, given itself or the folder that holds it. Raises UsageError where neither is there."""
    for candidate in (folder / name, folder):
        if candidate.is_dir() and candidate.name == name:
            return candidate
    raise UsageError(f"no data set {name} in {folder}; give the folder that holds {name}/")


def without_nulls(event: Event) -> Event:
    """The event without the optional fields it does not have."""
    return {name: value for name, value in event.items() if value is not None}


def write(events: Iterator[Event], out: Path) -> int:
    """Write JSON lines; return how many."""
    count = 0
    with out.open("wb") as file:
        for event in events:
            count += 1
            file.write(orjson.dumps(event, option=orjson.OPT_APPEND_NEWLINE))
    return count


def main(convert: Convert, description: str) -> None:
    """The command line of a converter."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("folder", type=Path, help="the folder that holds the data sets, or the set itself")
    parser.add_argument("out", type=Path, help="the file to write, JSON lines")
    args = parser.parse_args()
    try:
        print(f"{write(convert(args.folder), args.out)} events in {args.out}")
    except UsageError as error:
        parser.error(str(error))
