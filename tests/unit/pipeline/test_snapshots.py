"""A snapshot is used whole or not at all, and once one was whole there always is one."""

import random
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import snapshots
from pipeline.snapshots import Found, find, messages, number_of_epoch, task_name

TASK = task_name("detect", "agent.traces.v1", 3)
VERSION = "1/test"
Records = list[tuple[str, bytes | None]]


def written(epoch: str, slot: int, offset: int, size: int = 5, version: str = VERSION) -> Records:
    blobs = [f"{epoch}/{offset}/{number}".encode() * 3 for number in range(size)]
    chunks, manifest = messages(TASK, epoch, slot, version, offset, blobs)
    return [*chunks, manifest]


@pytest.fixture(autouse=True, scope="module")
def small_chunks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(snapshots, "CHUNK_BYTES", 20)
        yield


def offset_of(found: Found) -> int | None:
    return found.snapshot.manifest.offset if found.snapshot else None


def test_what_was_written_comes_back_and_the_highest_offset_counts() -> None:
    found = find(TASK, written("1-a", 0, 10) + written("1-a", 1, 20), VERSION)
    assert offset_of(found) == 20
    assert found.snapshot is not None
    assert found.snapshot.blobs == [f"1-a/20/{number}".encode() * 3 for number in range(5)]
    assert found.newest_epoch == 1


def test_other_tasks_do_not_count_though_their_name_begins_alike() -> None:
    other = [(key.replace(TASK, f"{TASK}1"), value) for key, value in written("1-a", 0, 10)]
    assert find(TASK, other, VERSION) == Found()


def test_a_broken_snapshot_is_left_aside_with_the_reason_and_the_older_one_is_used() -> None:
    records = written("1-a", 0, 10) + written("1-a", 1, 20)
    torn = [(key, b"other" if key == f"{TASK}/1-a/1/0" else value) for key, value in records]
    found = find(TASK, torn, VERSION)
    assert offset_of(found) == 10
    assert found.notes == (
        f"{TASK}/1-a/1/manifest is left aside: chunk 0 of {len(written('1-a', 1, 20)) - 1} is missing or not the one that was written",
    )


def test_a_snapshot_of_another_version_is_left_aside() -> None:
    found = find(TASK, written("1-a", 0, 10, version="0/old"), VERSION)
    assert offset_of(found) is None
    assert "written by version 0/old, this is 1/test" in found.notes[0]


def test_a_manifest_that_cannot_be_read_is_left_aside() -> None:
    found = find(TASK, [(f"{TASK}/1-a/0/manifest", b"{}")], VERSION)
    assert offset_of(found) is None
    assert "its manifest cannot be read" in found.notes[0]


def test_wherever_a_writer_is_killed_the_newest_whole_snapshot_is_found() -> None:
    log: Records = []
    expected: list[int | None] = []
    for number in range(4):
        part = written("1-a", number % 2, 10 * (number + 1))
        log += part
        whole = 10 * number or None
        expected += [whole] * (len(part) - 1) + [10 * (number + 1)]
    for end in range(1, len(log) + 1):
        assert offset_of(find(TASK, log[:end], VERSION)) == expected[end - 1]


@pytest.mark.parametrize("seed", range(30))
def test_two_owners_at_once_never_mix_and_never_lose_what_was_whole(seed: int) -> None:
    draw = random.Random(seed)
    queues = []
    for epoch in ("1-a", "2-b"):
        queue: Records = []
        for number in range(4):
            queue += written(
                epoch, number % 2, 10 * (number + 1) + (5 if epoch == "2-b" else 0), size=draw.randint(1, 9)
            )
        queues.append(queue)
    log: Records = []
    best = 0
    while any(queues):
        record = draw.choice([queue for queue in queues if queue]).pop(0)
        log.append(record)
        found = find(TASK, log, VERSION)
        offset = offset_of(found) or 0
        assert offset >= best, "a snapshot that was whole is lost"
        best = offset
        if found.snapshot is not None:
            manifest = found.snapshot.manifest
            own = {blob.decode().split("/")[0] for blob in found.snapshot.blobs}
            assert own == {manifest.epoch}, "chunks of two owners in one snapshot"


def test_deleted_keys_are_gone() -> None:
    records = written("1-a", 0, 10)
    deleted: Records = [(key, None) for key, _ in records]
    assert find(TASK, records + deleted, VERSION) == Found()


@given(
    numbers=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    starts=st.integers(0, 30),
    order=st.lists(st.booleans(), max_size=60),
)
def test_a_new_owner_that_deletes_what_it_found_while_the_old_one_lingers_loses_nothing_and_mixes_nothing(
    numbers: tuple[int, int], starts: int, order: list[bool]
) -> None:
    """The old owner writes on while the new one, which begins after `starts` records, writes and deletes; cut anywhere."""
    log: Records = []
    old = [record for number in range(numbers[0]) for record in written("1-a", number % 2, 10 * (number + 1))]
    log, old = old[:starts], old[starts:]
    found = find(TASK, log, VERSION)
    offset = offset_of(found) or 0
    new = written("2-b", 0, offset + 5)
    new += [(key, None) for key in found.keys]
    for number in range(1, numbers[1]):
        new += written("2-b", number % 2, offset + 5 + number)
    was_whole = found.snapshot is not None
    for is_new in [*order, *[True] * len(new), *[False] * len(old)]:
        queue = new if is_new else old
        if not queue:
            continue
        log.append(queue.pop(0))
        whole = find(TASK, log, VERSION).snapshots
        assert whole or not was_whole, "a snapshot was whole and none is left"
        was_whole = bool(whole)
        for snapshot in whole:
            place = f"{snapshot.manifest.epoch}/{snapshot.manifest.offset}/"
            assert all(blob.decode().startswith(place) for blob in snapshot.blobs), "two snapshots mixed"


def test_what_is_no_key_of_ours_counts_as_the_oldest_epoch() -> None:
    assert [number_of_epoch(key) for key in (f"{TASK}/12-a/0/3", f"{TASK}/x/0/3", "x")] == [12, 0, 0]


@given(sizes=st.lists(st.integers(0, 70), max_size=9))
def test_chunks_are_full_but_the_last_and_give_the_blobs_back(sizes: list[int]) -> None:
    blobs = [bytes([65 + number]) * size for number, size in enumerate(sizes)]
    chunks, manifest = messages(TASK, "1-a", 0, VERSION, 1, blobs)
    assert [len(chunk) for _, chunk in chunks[:-1]] == [snapshots.CHUNK_BYTES] * (len(chunks) - 1)
    found = find(TASK, [*chunks, manifest], VERSION)
    assert found.snapshot is not None
    assert found.snapshot.blobs == blobs
