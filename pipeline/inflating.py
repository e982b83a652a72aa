"""Record batches are inflated up to a bound: a few kilobytes of zeros may stand for gigabytes.

A broker bounds a batch as it is sent, compressed. aiokafka inflates it whole and makes all its records before anyone
can look at a size. Here inflating ends at `MOST_BYTES`; such a batch is one message that was not read (`Unread`),
becomes one dead letter, and what comes behind it is read as ever.

Inflating goes into one buffer a thread, which also saves making one for each batch: 95 kB of lz4 take 0.1 ms, not 0.5.
"""

import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import cramjam
import numpy as np
from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record._crecords import default_records, legacy_records
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import ConsumerRecord

from pipeline.record_batches import BatchStart, Columns, Inflated, Record, walk_batches
from schemas.codecs import Unread
from schemas.errors import Reason

MOST_BYTES = 16_000_000  # a producer of the usual settings fills a batch up to 1 MB before it compresses it
TOGETHER_BYTES = 200_000  # inflated: smaller batches are walked together up to this
XERIAL_HEADER = b"\x82SNAPPY\x00"
XERIAL_HEADER_BYTES = 16
TOO_SMALL = ("failed to write whole buffer", "is smaller than required")  # what cramjam says of a full buffer
GZIP = 31  # zlib: a gzip header, and the largest window

PLAIN_MAGIC = 2  # of batches as Kafka writes them since 0.11
LENGTH_BEGINS, LENGTH_ENDS = 8, 12  # in a batch of any format; the length is of what comes behind it
NUMBER_BEGINS, HEADER_ENDS = 57, 61  # of a plain batch: how many records it has, and where they begin

_threads = threading.local()


class UnfoldsTooFarError(Exception):
    """A batch is larger than MOST_BYTES when it is inflated."""


def gzip_decode(payload: Any) -> bytes:
    """Like aiokafka's. Raises UnfoldsTooFarError, as do those below."""
    inflater = zlib.decompressobj(GZIP)
    found = inflater.decompress(bytes(payload), MOST_BYTES)
    if inflater.unconsumed_tail:
        raise UnfoldsTooFarError
    return found


def lz4_decode(payload: Any) -> bytes:
    return _bounded(cramjam.lz4.decompress_into, payload)


def zstd_decode(payload: Any) -> bytes:
    return _bounded(cramjam.zstd.decompress_into, payload)


def snappy_decode(payload: Any) -> bytes:
    """One block, or the blocks of the Java client, each behind its length."""
    data = memoryview(payload).cast("B")
    if bytes(data[: len(XERIAL_HEADER)]) != XERIAL_HEADER:
        return _bounded(cramjam.snappy.decompress_raw_into, data)
    parts: list[bytes] = []
    at, size = XERIAL_HEADER_BYTES, 0
    while at < len(data):
        end = at + 4 + int.from_bytes(data[at : at + 4], "big")
        parts.append(_bounded(cramjam.snappy.decompress_raw_into, data[at + 4 : end]))
        size += len(parts[-1])
        if size > MOST_BYTES:
            raise UnfoldsTooFarError
        at = end
    return b"".join(parts)


def _bounded(inflate_into: Callable[[Any, Any], int], payload: Any) -> bytes:
    buffer: bytearray | None = getattr(_threads, "buffer", None)
    if buffer is None:
        buffer = _threads.buffer = bytearray(MOST_BYTES)  # the system gives memory only for what is written to
    try:
        size = inflate_into(payload, buffer)
    except cramjam.DecompressionError as error:
        if any(words in str(error) for words in TOO_SMALL):
            raise UnfoldsTooFarError from None
        raise
    return bytes(memoryview(buffer)[:size])


DECODERS: dict[int, Callable[[Any], bytes] | None] = {
    0: None, 1: gzip_decode, 2: snappy_decode, 3: lz4_decode, 4: zstd_decode,
}  # fmt: skip


class KeptRecords(MemoryRecords):  # type: ignore[misc]  # aiokafka has no types
    """The batches of one fetch of one partition, and their bytes, which aiokafka's own does not show."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.data = data


class BoundedRecords(fetcher.PartitionRecords):  # type: ignore[misc]
    """What one fetch of one partition holds: columns, of a batch or of many small ones together, or a list of records
    where a batch is no plain one. We have no transactions: control batches are passed over."""

    next_fetch_offset: int

    def _unpack_records(self) -> Iterator[Sequence[Record]]:
        waiting: list[tuple[Any, Inflated]] = []  # plain batches, to be walked together
        size = 0
        for batch, data in self._batches():
            inflated = _inflated(batch, data)
            size += len(inflated.body) if inflated else 0
            if waiting and (inflated is None or size > TOGETHER_BYTES):
                yield from self._walked(waiting)
                waiting, size = [], len(inflated.body) if inflated else 0
            if inflated is None:
                yield from self._alone(batch)
            else:
                waiting.append((batch, inflated))
        if waiting:
            yield from self._walked(waiting)

    def _batches(self) -> Iterator[tuple[Any, memoryview]]:
        """Each batch with its bytes. Raises CorruptRecordException."""
        at, data = 0, self._records.data
        while self._records.has_next():
            batch = self._records.next_batch()
            begin, at = at, at + LENGTH_ENDS + int.from_bytes(data[at + LENGTH_BEGINS : at + LENGTH_ENDS], "big")
            if self._check_crcs and not batch.validate_crc():
                raise CorruptRecordException(f"Invalid CRC - {self._tp}")
            yield batch, memoryview(data)[begin:at]

    def _walked(self, waiting: Sequence[tuple[Any, Inflated]]) -> Iterator[Sequence[Record]]:
        found = walk_batches([inflated for _, inflated in waiting])
        if found is not None:
            yield from self._from_here(found, waiting[-1][0])
        elif len(waiting) == 1:
            yield from self._alone(waiting[0][0])
        else:
            for one in waiting:
                yield from self._walked([one])

    def _from_here(self, found: Columns, last: Any) -> Iterator[Sequence[Record]]:
        """What was not read yet; the first batch of a fetch may begin before it."""
        if found.offsets[0] < self.next_fetch_offset:
            found = found[int(np.searchsorted(found.offsets, self.next_fetch_offset)) :]
        self.next_fetch_offset = max(self.next_fetch_offset, last.next_offset)
        if found:
            yield found

    def _alone(self, batch: Any) -> Iterator[Sequence[Record]]:
        """As aiokafka reads it, or as one message that was not read."""
        found: Sequence[Record] = []
        try:
            if not batch.is_control_batch:
                found = [record for record in batch if record.offset >= self.next_fetch_offset]
        except UnfoldsTooFarError:
            found = [self._unread(batch)]
        self.next_fetch_offset = max(self.next_fetch_offset, batch.next_offset)
        if found:
            yield found

    def _unread(self, batch: Any) -> Any:
        last = batch.next_offset - 1
        stamp, kind = batch.max_timestamp, batch.timestamp_type
        value = Unread(
            f"a batch of {last - batch.base_offset + 1} messages that unfolds to more than {MOST_BYTES} bytes;"
            " send smaller batches",
            Reason.TOO_LARGE,
        )
        return ConsumerRecord(*self._tp, last, stamp, kind, None, value, None, -1, 0, ())


def _inflated(batch: Any, data: memoryview) -> Inflated | None:
    """The body of a plain batch; None where it is another one, or unfolds too far."""
    if batch.magic != PLAIN_MAGIC or batch.is_control_batch or batch.compression_type not in DECODERS:
        return None
    payload = data[HEADER_ENDS:]
    decode = DECODERS[batch.compression_type]
    try:
        body = bytes(payload) if decode is None else decode(payload)
    except UnfoldsTooFarError:
        return None
    number = int.from_bytes(data[NUMBER_BEGINS:HEADER_ENDS], "big")
    return Inflated(
        body, BatchStart(batch.base_offset, batch.first_timestamp, batch.max_timestamp, batch.timestamp_type, number)
    )


def install() -> None:
    """From now on aiokafka reads batches so, in this process."""
    fetcher.MemoryRecords = KeptRecords
    fetcher.PartitionRecords = BoundedRecords
    for module in (default_records, legacy_records):
        for decode in (gzip_decode, lz4_decode, snappy_decode, zstd_decode):
            if hasattr(module, decode.__name__):
                setattr(module, decode.__name__, decode)
