"""The journal of what is read: what kills the reader is found in few deaths, and nothing else is given up."""

import math
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.frontier import Element
from pipeline.journal import PARTS, Journal
from schemas.codecs import Unread
from schemas.errors import ConfigurationError, Reason

TOPIC = "agent.traces.v1"


@dataclass(frozen=True, slots=True)
class Message:
    offset: int
    timestamp: int = 1_000
    timestamp_type: int = 0
    key: bytes | None = b"key"
    value: bytes | None = b"value"


def element(offsets: Sequence[int], begin: int | None = None, stamp: int = 1_000) -> Element:
    return Element(
        topic=TOPIC, partition=0, records=[Message(offset, stamp) for offset in offsets],
        begin=offsets[0] if begin is None else begin, end=offsets[-1] + 1, epoch=1, floor=0, size=1,
    )  # fmt: skip


class Worker:
    """Processes that follow each other: `DiedError` ends one as SIGKILL would, with its file as it was at that moment."""

    def __init__(self, folder: Path, poison: set[int]) -> None:
        self._folder, self._poison = folder, poison
        self.deaths = 0
        self.parts: list[list[int]] = []

    def read(self, read: Sequence[Element]) -> dict[int, object]:
        """Read these until a process lives to their end; what each message was read as, by its offset."""
        while True:
            journal = Journal(self._folder, "group.detect")
            journal.open()
            self.parts = []
            try:
                found = [pair for one in read for pairs in journal.guard(one, self._decode) for pair in pairs]
            except DiedError as death:
                death.file.write_bytes(death.content)
                self.deaths += 1
                continue
            finally:
                journal.close(forget=False)
            assert len(found) == len(dict(found))
            return dict(found)

    def _decode(self, part: Element) -> list[tuple[int, object]]:
        self.parts.append([record.offset for record in part.records])
        if any(record.offset in self._poison and record.value for record in part.records):
            (file,) = self._folder.rglob("*.json")
            raise DiedError(file)
        return [(record.offset, record.value) for record in part.records]


class DiedError(Exception):
    def __init__(self, file: Path) -> None:
        self.file, self.content = file, file.read_bytes()


@pytest.fixture
def folder() -> Iterator[Path]:
    with TemporaryDirectory() as made:
        yield Path(made) / "journal"


@pytest.mark.parametrize(("messages", "deaths"), [(1, 2), (PARTS, 2), (PARTS + 1, 3), (PARTS * PARTS, 3)])
def test_one_message_is_found_in_few_deaths_and_alone_given_up(folder: Path, messages: int, deaths: int) -> None:
    poison = messages // 2
    worker = Worker(folder, {poison})
    found = worker.read([element(range(messages))])
    assert worker.deaths == deaths
    assert isinstance(found.pop(poison), Unread)
    assert set(found.values()) <= {b"value"}
    assert len(found) == messages - 1


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 300), min_size=1, max_size=4),
    poison=st.sets(st.integers(0, 400), max_size=3),
    other=st.lists(st.integers(1, 300), min_size=1, max_size=4),
)
def test_whatever_is_read_together_every_poison_is_given_up_and_nothing_else(
    sizes: list[int], poison: set[int], other: list[int]
) -> None:
    def cut(into: list[int]) -> list[Element]:
        """The same messages in other elements: what a fetch returns is never the same twice."""
        elements, at = [], 0
        for size in (*into, 1_200):
            offsets = list(range(at, min(at + size, 1_200)))
            if offsets:
                elements.append(element(offsets))
                at = offsets[-1] + 1
        return elements

    with TemporaryDirectory() as made:
        worker = Worker(Path(made), poison)
        found = worker.read(cut(sizes))
        assert {offset for offset, value in found.items() if isinstance(value, Unread)} == poison
        assert sorted(found) == list(range(1_200))
        assert worker.deaths <= len(poison) * (2 + math.ceil(math.log(1_200, PARTS)))
        deaths = worker.deaths
        assert worker.read(cut(other)) == found  # what is read again later is known
        assert worker.deaths == deaths


def test_a_process_killed_for_another_reason_costs_parts_and_no_message(folder: Path) -> None:
    worker = Worker(folder, {7})
    worker._poison = {7}
    journal = Journal(folder, "group.detect")
    journal.open()
    with pytest.raises(DiedError) as death:
        journal.guard(element(range(256)), worker._decode)
    death.value.file.write_bytes(death.value.content)
    worker._poison = set()
    found = worker.read([element(range(256)), element(range(256, 300))])
    assert worker.parts == [[number, number + 1] for number in range(0, 256, 2)] + [list(range(256, 300))]
    assert set(found.values()) == {b"value"}
    assert worker.read([element(range(256))]) == dict.fromkeys(range(256), b"value")
    assert worker.parts == [list(range(256))]


def test_an_exception_is_no_death(folder: Path) -> None:
    journal = Journal(folder, "group.detect")
    journal.open()
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            journal.guard(element([5]), lambda _: 1 / 0)
    worker = Worker(folder, set())
    assert worker.read([element([4, 5])]) == {4: b"value", 5: b"value"}
    assert worker.parts == [[4, 5]]


def test_parts_begin_where_the_one_before_ends_and_the_last_ends_with_the_element(folder: Path) -> None:
    worker = Worker(folder, {30})
    gaps = element([10, 20, 30, 40], begin=5)
    journal = Journal(folder, "group.detect")
    journal.open()
    with pytest.raises(DiedError) as death:
        journal.guard(gaps, worker._decode)
    death.value.file.write_bytes(death.value.content)
    parts = Journal(folder, "group.detect").guard(gaps, lambda part: (part.begin, part.end))
    assert parts == [(5, 11), (11, 21), (21, 31), (31, 41)]


def test_a_topic_that_was_made_anew_loses_no_message_at_the_same_offset(folder: Path) -> None:
    worker = Worker(folder, {5})
    worker.read([element([5])])
    assert worker.deaths == 2
    worker._poison = set()
    assert worker.read([element([5], stamp=2_000)]) == {5: b"value"}


def test_a_message_that_is_given_up_is_told_with_its_key_and_its_reason(folder: Path) -> None:
    worker = Worker(folder, {5})
    one = element([4, 5, 6])
    worker.read([one])
    journal = Journal(folder, "group.detect")
    journal.open()
    ((_, told, _),) = journal.guard(one, lambda part: part.records)
    assert (told.offset, told.timestamp, told.key) == (5, 1_000, b"key")
    assert isinstance(told.value, Unread)
    assert told.value.reason == Reason.CRASHES
    assert [record.offset for record in journal.set_aside(one)] == [5]
    assert journal.set_aside(element([4, 6])) == []


def test_a_clean_end_leaves_a_file_only_where_something_is_set_aside(folder: Path) -> None:
    worker = Worker(folder, {5})
    worker.read([element([5])])
    for number in (0, 1):
        journal = Journal(folder, f"group.{number}")
        journal.open()
        journal.guard(element([1]), lambda _: None)
        journal.close(forget=True)
    assert [file.parent.name for file in folder.rglob("*.json")] == ["group.detect"]
    journal = Journal(folder, "group.detect")
    journal.guard(element([1]), lambda _: None)
    journal.close(forget=True)
    assert len(list(folder.rglob("*.json"))) == 1


@pytest.mark.parametrize("content", [b"{", b'{"open": 3}', b'{"strange": 1}', b"\xff" * 10, b'{"aside": [[1]]}'])
def test_a_file_that_cannot_be_read_is_begun_anew(folder: Path, content: bytes) -> None:
    (folder / "group.detect").mkdir(parents=True)
    (folder / "group.detect" / f"{TOPIC}-0.json").write_bytes(content)
    assert Worker(folder, set()).read([element([1])]) == {1: b"value"}


def test_the_folder_is_ours_alone_and_one_that_cannot_be_made_is_said(folder: Path, tmp_path: Path) -> None:
    Journal(folder, "group.detect").open()
    assert stat.S_IMODE((folder / "group.detect").stat().st_mode) == 0o700
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="AFTERMATH_JOURNAL_DIR"):
        Journal(tmp_path / "file", "group.detect").open()
