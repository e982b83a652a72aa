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
from dataclasses import dataclass

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
    blobs: list[bytes]


@dataclass(frozen=True, slots=True)
class Found:
    """What stands in the topic for a task: its newest whole snapshot, why others are not used, and every key."""

    snapshot: Snapshot | None
    notes: tuple[str, ...]
    keys: tuple[str, ...]

    @property
    def newest_epoch(self) -> int:
        """The greatest number of an ownership so far; 0 where there was none."""
        return max((int(key.rsplit("/", 3)[1].split("-")[0]) for key in self.keys), default=0)


def task_name(stage: str, topic: str, partition: int) -> str:
    """`detect/agent.traces.v1/3`."""
    return f"{stage}/{topic}/{partition}"


def partition_of_task(task: str) -> int:
    """The partition of `snapshots.v1` that holds a task's snapshots."""
    return int(stable_hash(task), 16) % SNAPSHOTS.partitions


def messages(
    task: str, epoch: str, slot: int, version: str, offset: int, blobs: Sequence[bytes]
) -> tuple[list[tuple[str, bytes]], tuple[str, bytes]]:
    """(key, value) of the chunks, and of the manifest that must be written after they are confirmed."""
    data = b"".join(blobs)
    chunks = [data[start : start + CHUNK_BYTES] for start in range(0, len(data), CHUNK_BYTES)]
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
    """The newest whole snapshot of a task among the records of its partition, in the order of the log."""
    newest: dict[str, bytes] = {}
    for key, value in records:
        if not key.startswith(f"{task}/"):
            continue
        if value is None:
            newest.pop(key, None)
        else:
            newest[key] = value
    best: Snapshot | None = None
    notes = []
    for key in sorted(key for key in newest if key.endswith(f"/{MANIFEST}")):
        found = _whole(key, newest, version)
        if isinstance(found, str):
            notes.append(f"{key}: {found}")
        elif best is None or found.manifest.offset > best.manifest.offset:
            best = found
    return Found(best, tuple(notes), tuple(newest))


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
    data = b"".join(chunk for chunk in chunks if chunk is not None)
    if sum(manifest.blob_bytes) != len(data):
        return f"{len(data)} bytes, its manifest names {sum(manifest.blob_bytes)}"
    blobs, start = [], 0
    for size in manifest.blob_bytes:
        blobs.append(data[start : start + size])
        start += size
    return Snapshot(manifest, blobs)


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
