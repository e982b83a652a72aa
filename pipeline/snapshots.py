"""Snapshots of a task's state as messages of the compacted topic `snapshots.v1`, and back. Pure.

A task is one stage's work on one partition: `detect/agent.traces.v1/3`. Its state goes out in chunks below the
broker's message limit, then a manifest that names their hashes: a snapshot is whole when every chunk of its manifest
is there and has that hash. Keys are task/epoch/slot/chunk: an ownership (epoch) writes its two slots in turn, so that
one whole snapshot always stands while the next is written, also when the writer dies between two chunks; and two
owners at the same time, one of them a lingering worker, never write over each other. Of the whole snapshots the one
with the highest input offset is used. Keys of older epochs are deleted once a newer one has a whole snapshot.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict, ValidationError

from schemas.signals import stable_hash
from schemas.topics import MAX_MESSAGE_BYTES, SNAPSHOTS

CHUNK_BYTES = MAX_MESSAGE_BYTES * 9 // 10
SLOTS = 2
MANIFEST = "manifest"


class Manifest(BaseModel):
    """What a snapshot consists of. `offset` is the first offset of the input that is not in it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: str
    epoch: str
    slot: int
    version: str
    offset: int
    blob_bytes: tuple[int, ...]
    chunk_hashes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A whole snapshot."""

    manifest: Manifest
    chunks: tuple[bytes, ...]

    @property
    def blobs(self) -> list[bytes]:
        """The state as it was given; made anew at each call, so that it is there only while it is loaded."""
        data = memoryview(b"".join(self.chunks))
        blobs, start = [], 0
        for size in self.manifest.blob_bytes:
            blobs.append(bytes(data[start : start + size]))
            start += size
        return blobs


@dataclass(frozen=True, slots=True)
class Found:
    """What stands in the topic for a task: its whole snapshots, the highest offset first, why others are not used, and
    every key, manifests first: who deletes them in this order never leaves one that names chunks which are gone."""

    snapshots: tuple[Snapshot, ...] = ()
    notes: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()

    @property
    def snapshot(self) -> Snapshot | None:
        """The newest whole one."""
        return self.snapshots[0] if self.snapshots else None

    @property
    def newest_epoch(self) -> int:
        """The greatest number of an ownership so far; 0 where there was none."""
        return max((number_of_epoch(key) for key in self.keys), default=0)


@dataclass(slots=True)
class Shelf:
    """The newest value of each key of some tasks, as records of their partitions go by: all that has to be kept of
    them, however many older ones the broker has not compacted away yet."""

    tasks: frozenset[str]
    _newest: dict[str, dict[str, bytes]] = field(default_factory=dict)

    def put(self, key: str, value: bytes | None) -> None:
        """The next record, in the order of the log of its partition."""
        task = key.rsplit("/", 3)[0]
        if task not in self.tasks:
            return
        newest = self._newest.setdefault(task, {})
        if value is None:
            newest.pop(key, None)
        else:
            newest[key] = value

    def take(self, task: str, version: str) -> Found:
        """What there is of a task; it is gone from the shelf afterwards."""
        newest = self._newest.pop(task, {})
        manifests = sorted(key for key in newest if key.endswith(f"/{MANIFEST}"))
        whole: list[Snapshot] = []
        notes = []
        for key in manifests:
            found = _whole(key, newest, version)
            if isinstance(found, str):
                notes.append(f"{key} is left aside: {found}")
            else:
                whole.append(found)
        whole.sort(key=lambda snapshot: snapshot.manifest.offset, reverse=True)
        chunks = [key for key in newest if not key.endswith(f"/{MANIFEST}")]
        return Found(tuple(whole), tuple(notes), (*manifests, *chunks))


def task_name(stage: str, topic: str, partition: int) -> str:
    """`detect/agent.traces.v1/3`."""
    return f"{stage}/{topic}/{partition}"


def partition_of_task(task: str) -> int:
    """The partition of `snapshots.v1` that holds a task's snapshots."""
    return int(stable_hash(task), 16) % SNAPSHOTS.partitions


def messages(
    task: str, epoch: str, slot: int, version: str, offset: int, blobs: Sequence[bytes]
) -> tuple[list[tuple[str, bytes]], tuple[str, bytes]]:
    """(key, value) of the chunks, and of the manifest that must be written after they are confirmed.

    Hashes all of it: call it in a thread, and let go of the blobs afterwards.
    """
    chunks = _cut(blobs)
    prefix = f"{task}/{epoch}/{slot}"
    manifest = Manifest(
        task=task,
        epoch=epoch,
        slot=slot,
        version=version,
        offset=offset,
        blob_bytes=tuple(len(blob) for blob in blobs),
        chunk_hashes=tuple(_hash(chunk) for chunk in chunks),
    )
    written = [(f"{prefix}/{number}", chunk) for number, chunk in enumerate(chunks)]
    return written, (f"{prefix}/{MANIFEST}", manifest.model_dump_json().encode())


def find(task: str, records: Iterable[tuple[str, bytes | None]], version: str) -> Found:
    """What stands of a task among the records of its partition, in the order of the log."""
    shelf = Shelf(frozenset((task,)))
    for key, value in records:
        shelf.put(key, value)
    return shelf.take(task, version)


def number_of_epoch(key: str) -> int:
    """The number in the epoch of a key; 0 where it is not one of ours, which then counts as the oldest."""
    parts = key.rsplit("/", 3)
    number = parts[1].split("-")[0] if len(parts) == 4 else ""
    return int(number) if number.isdecimal() else 0


def _whole(key: str, newest: Mapping[str, bytes], version: str) -> Snapshot | str:
    """The snapshot of this manifest, or why it cannot be used."""
    try:
        manifest = Manifest.model_validate_json(newest[key])
    except ValidationError as error:
        return f"its manifest cannot be read ({error.error_count()} faults)"
    if manifest.version != version:
        return f"written by version {manifest.version}, this is {version}"
    prefix = key.removesuffix(MANIFEST)
    chunks = [newest.get(f"{prefix}{number}") for number in range(len(manifest.chunk_hashes))]
    wrong = [
        number
        for number, (chunk, expected) in enumerate(zip(chunks, manifest.chunk_hashes, strict=True))
        if chunk is None or _hash(chunk) != expected
    ]
    if wrong:
        return f"chunk {wrong[0]} of {len(chunks)} is missing or not the one that was written"
    whole = tuple(chunk for chunk in chunks if chunk is not None)
    size = sum(map(len, whole))
    if sum(manifest.blob_bytes) != size:
        return f"{size} bytes, its manifest names {sum(manifest.blob_bytes)}"
    return Snapshot(manifest, whole)


def _cut(blobs: Sequence[bytes]) -> list[bytes]:
    """All blobs one behind the other in pieces of CHUNK_BYTES, the last one shorter."""
    chunks, piece = [], bytearray()
    for blob in blobs:
        rest = memoryview(blob)
        while rest:
            room = CHUNK_BYTES - len(piece)
            piece += rest[:room]
            rest = rest[room:]
            if len(piece) == CHUNK_BYTES:
                chunks.append(bytes(piece))
                piece.clear()
    if piece:
        chunks.append(bytes(piece))
    return chunks


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
