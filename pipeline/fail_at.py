"""Named points at which a test ends a worker, as if it were killed there: the edges between an effect and its record.

AFTERMATH_FAIL_AT=archive.effects ends the process where archive's rows are written and nothing says so yet;
archive.effects@3 at the third time it gets there. Unset, a point costs one look into the environment.

    STAGE.effects        the effects of an element are confirmed, its offset is not acknowledged
    STAGE.acknowledged   the offset may be committed, and is not yet
    notify.pending       a page is in the outbox, and was not sent
    notify.sent          the receiver has the page, and the outbox does not know
    snapshot.chunk.N     a chunk of a snapshot is written, its manifest is not
    snapshot.manifest    a snapshot is whole, and its offset is not committed
    reading.TEXT         a message that holds TEXT is about to be decoded
"""

import os
from collections import Counter
from collections.abc import Iterable
from typing import Protocol

FAIL_AT = "AFTERMATH_FAIL_AT"
READING = "reading."
KILLED = 137  # what a shell says of SIGKILL

_reached: Counter[str] = Counter()


def end_here(point: str) -> None:
    """End the process if this is the point, and the time, that was asked for. Nothing is flushed or closed."""
    wanted = os.environ.get(FAIL_AT, "")
    if not wanted:
        return
    name, _, times = wanted.partition("@")
    if name == point:
        _reached[point] += 1
        if _reached[point] >= int(times or 1):
            os._exit(KILLED)


class Holding(Protocol):
    """A message."""

    @property
    def value(self) -> bytes | None: ...


def end_on(records: Iterable[Holding]) -> None:
    """End the process if one of these messages was asked for."""
    wanted = os.environ.get(FAIL_AT, "")
    if wanted.startswith(READING):
        text = wanted.removeprefix(READING).encode()
        if any(text in (record.value or b"") for record in records):
            os._exit(KILLED)
