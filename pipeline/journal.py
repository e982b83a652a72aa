"""What is being read right now, kept in a file: so a message that kills the process is known to the next one.

A fault in a library's machine code, or the kernel when memory is out, raises nothing that one could catch: the worker
is restarted, reads the same message, and dies again, for ever. So:

1 before records are decoded, and until they are, their offsets stand in the file of their partition; 2 a worker that
finds offsets there knows that the one before it died over them. It reads those in `PARTS` parts, each noted by itself,
so that one more death leaves few of them, or one; 3 a single message over which two have died is not read any more:
its place is taken by `Unread`, which every decoder rejects as a dead letter with its reason.

So 128 messages that were read together cost two deaths, 16 000 three. A worker that is killed for another reason costs
the next one those parts, and nothing else. What ends with an exception is not noted: it says itself what is wrong.
Two small writes to the page cache for each fetch; nothing is flushed to the disk, because a machine that went down is
no suspicion. The folder must outlive the process. It need not be shared between machines: each finds it by itself.

Not covered: what dies before records are decoded (aiokafka, inflating, see pipeline/inflating.py) or after.
"""

import json
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from pipeline.fail_at import end_on
from pipeline.frontier import Element
from pipeline.record_batches import Record
from schemas.codecs import Unread
from schemas.errors import ConfigurationError, Reason

log = logging.getLogger(__name__)

T = TypeVar("T")
PARTS = 128
MOST_ASIDE = 100  # of one partition; the oldest are forgotten, and cost two deaths again if they are read again
FILE_BYTES = 8_192  # always written whole, so that a shorter text leaves nothing of a longer one
WHY = "two processes died while they read this message, so its bytes are not read any more"


@dataclass(slots=True)
class Noted:
    """What the file of one partition says. Ranges of offsets end before their second number."""

    open: tuple[int, int] | None = None  # being decoded
    records: int = 0  # in it
    stamp: int = 0  # of the first of them: a topic that was made anew has the same offsets and other stamps
    suspect: tuple[int, int] | None = None  # a process died over them
    deaths: int = 0  # in a row, each over messages of the one before
    aside: list[tuple[int, int]] = field(default_factory=list)  # offset and stamp of what is not read any more

    def wake(self) -> str | None:
        """A process begins and finds this; what is to be said about it, if anything."""
        if self.open is None:
            return None
        (begin, end), self.open = self.open, None
        was = self.suspect
        is_again = was is not None and begin < was[1] and was[0] < end
        self.deaths = self.deaths + 1 if is_again else 1
        if self.records == 1 and self.deaths > 1:
            self.aside = [*self.aside, (begin, self.stamp)][-MOST_ASIDE:]
            self.deaths = 1  # of the others in `suspect`: there may be a second one
            return f"{WHY}: offset {begin} becomes a dead letter"
        self.suspect = (begin, end)
        return f"a process died while it read offsets {begin} to {end - 1}; they are read in small parts now"


@dataclass(frozen=True, slots=True)
class SetAside:
    """Stands for a record that is not read."""

    offset: int
    timestamp: int
    timestamp_type: int
    key: bytes | None
    value: Unread = Unread(WHY, Reason.CRASHES)  # noqa: RUF009 - bytes, and nobody changes it


class PartitionFile:
    """One partition's. Not for several threads at once."""

    def __init__(self, path: Path, name: str) -> None:
        self._path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        self.noted = self._load()
        if (said := self.noted.wake()) is not None:
            log.error("%s: %s", name, said)
            self._write()

    def replaced(self, element: Element) -> Element:
        """The element, with what is set aside in it replaced."""
        if not self.noted.aside:
            return element
        aside = set(self.noted.aside)
        if not any((record.offset, record.timestamp) in aside for record in element.records):
            return element
        records = [
            SetAside(record.offset, record.timestamp, record.timestamp_type, record.key)
            if (record.offset, record.timestamp) in aside
            else record
            for record in element.records
        ]
        return replace(element, records=records)

    def parts(self, element: Element) -> Iterator[Element]:
        """The element whole, or where it is under suspicion cut."""
        suspect = self.noted.suspect
        if suspect is None or element.end <= suspect[0] or suspect[1] <= element.begin:
            yield element
            return
        inside = [suspect[0] <= record.offset < suspect[1] for record in element.records]
        size = max(1, -(-sum(inside) // PARTS))
        begin, chunk = element.begin, list[Record]()
        for number, record in enumerate(element.records):
            chunk.append(record)
            is_last = number + 1 == len(element.records)
            is_full = inside[number] and len(chunk) >= size
            if is_last or is_full or inside[number + 1] != inside[number]:
                end = element.end if is_last else record.offset + 1
                yield replace(element, records=chunk, begin=begin, end=end)
                begin, chunk = end, []

    def opens(self, part: Element) -> None:
        """From now on a death is over these."""
        first = part.records[0]
        self.noted.open = (first.offset, part.records[-1].offset + 1)
        self.noted.records, self.noted.stamp = len(part.records), first.timestamp
        self._write()

    def closes(self) -> None:
        """They are decoded, or an exception says why not."""
        self.noted.open = None
        self._write()

    def passed(self, end: int) -> None:
        """Everything before this offset was decoded."""
        if self.noted.suspect is not None and end >= self.noted.suspect[1]:
            self.noted.suspect, self.noted.deaths = None, 0
            self._write()

    def close(self, *, forget: bool) -> None:
        """Let go of the file; delete it where it says nothing. forget: nobody else may have it open."""
        os.close(self._file)
        if forget and not self.noted.aside:
            self._path.unlink(missing_ok=True)

    def _load(self) -> Noted:
        text = os.pread(self._file, FILE_BYTES, 0).strip(b"\0 ")
        try:
            found = Noted(**json.loads(text)) if text else Noted()
            found.open, found.suspect = _pair(found.open), _pair(found.suspect)
            found.aside = [(int(offset), int(stamp)) for offset, stamp in found.aside]
        except (ValueError, TypeError) as error:
            log.warning("%s cannot be read (%s) and is begun anew", self._path, error)
            return Noted()
        return found

    def _write(self) -> None:
        os.pwrite(self._file, json.dumps(asdict(self.noted)).encode().ljust(FILE_BYTES), 0)


def _pair(found: Sequence[int] | None) -> tuple[int, int] | None:
    if found is None:
        return None
    begin, end = found
    return int(begin), int(end)


class Journal:
    """The files of one stage's partitions in one epoch. `guard` is called in one thread at a time."""

    def __init__(self, folder: Path, group: str) -> None:
        self._folder, self._group = folder / group, group
        self._files: dict[tuple[str, int], PartitionFile] = {}

    def open(self) -> None:
        """Raises ConfigurationError where the folder cannot be used."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            owner = self._folder.stat().st_uid
        except OSError as error:
            raise ConfigurationError(
                f"AFTERMATH_JOURNAL_DIR: {self._folder} cannot be made ({error.strerror}); give a folder that this user"
                " may write to and that outlives the process."
            ) from None
        if owner != os.getuid():  # whoever owns it could have messages set aside
            raise ConfigurationError(
                f"AFTERMATH_JOURNAL_DIR: {self._folder} belongs to another user; give a folder of its own."
            )

    def guard(self, element: Element, work: Callable[[Element], T]) -> list[T]:
        """Do the work, whole or in parts; what came of each. Its exceptions pass through."""
        file = self._file(element)
        found = []
        for part in file.parts(file.replaced(element)):
            file.opens(part)
            try:
                end_on(part.records)
                found.append(work(part))
            finally:
                file.closes()
        file.passed(element.end)
        return found

    def set_aside(self, element: Element) -> list[Record]:
        """The records of an element that are not read any more."""
        aside = set(self._file(element).noted.aside)
        return [record for record in element.records if (record.offset, record.timestamp) in aside] if aside else []

    def close(self, *, forget: bool) -> None:
        """forget: these partitions are still ours, and nothing is being read: files that say nothing are deleted."""
        for file in self._files.values():
            file.close(forget=forget)
        self._files.clear()

    def _file(self, element: Element) -> PartitionFile:
        place = (element.topic, element.partition)
        if place not in self._files:
            name = f"{element.topic}-{element.partition}"
            self._files[place] = PartitionFile(self._folder / f"{name}.json", f"{self._group}: {name}")
        return self._files[place]
