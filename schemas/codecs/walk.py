"""Messages of one schema -> columns: all of them are walked together, field by field.

A message in single-object encoding is its header and then its fields, one after the other. `single.check` walks one
such message byte by byte; here the place of every message is one number in a column, and each step reads the next
field of all of them at once. So the walk itself is the proof: no message is read beyond its own end, and one that
does not end where it should is not believed. Python works for each field, never for each message.

Only the plain case is taken: numbers of at most eight bytes, union indexes of one byte, lengths in range, valid UTF-8.
A message with anything else is left out and named; `blocks.py` reads it alone (`single.py`), which either finds it
good or says what is wrong. Text is not copied: each value becomes an Arrow view, a length and a place in the batch.

Beside `polars.read_avro` and a proof of what it returned this takes a fourth of the time (bench/README.md), and
nothing that a message holds can end in a panic.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import polars as pl
import pyarrow as pa

from schemas.codecs.packed import Numbers, Packed
from schemas.registry import HEADER_BYTES, Field, Schema
from schemas.topics import MAX_MESSAGE_BYTES

Mask = np.ndarray[Any, np.dtype[np.bool_]]
Bytes = np.ndarray[Any, np.dtype[np.uint8]]
Views = np.ndarray[Any, np.dtype[np.uint32]]  # a row of four words a text: the first is its size

KINDS = frozenset({"string", "long", "double"})  # what events are made of; another schema is read message by message
INLINE = 12  # bytes of text that stand in an Arrow view itself, not as a place in the batch
ARROW = {"string": pa.string_view(), "long": pa.int64(), "double": pa.float64()}
CONTINUES = np.uint64(0x8080808080808080)
SEVEN = ((0x7F007F007F007F00, 1), (0x3FFF00003FFF0000, 2), (0x0FFFFFFF00000000, 4))  # bits to close up, and by how many
VIEW = 16  # bytes of one: the size, then the text itself up to 12 bytes, else its first four, the buffer and the place
# by size, one line for all that are longer than 12: which bytes, from four before a text on, stand in its view
KEPT = np.array([[0] * 4 + [255] * size + [0] * (INLINE - size) for size in (*range(INLINE + 1), 4)], dtype=np.uint8)
KEPT_WORDS = KEPT.view("<u4")


@dataclass(frozen=True, slots=True)
class Walked:
    """The rows of the messages that were read, in order, and the places among the messages of those that were not.

    text_views: the views of every text column that has any value; all zero where it is null.
    """

    frame: pl.DataFrame
    left_out: list[int]
    text_views: Mapping[str, Views]


@dataclass(slots=True)
class _Column:
    """A field of all messages; `present` is None where none is null."""

    field: Field
    values: Any = None  # None: null everywhere. Of text: its views
    present: Mask | None = None

    @property
    def is_text(self) -> bool:
        """Whether there is text in it."""
        return self.field.type == "string" and self.values is not None

    def at(self, rows: Numbers) -> "_Column":
        """These rows of it."""
        values, present = (None if part is None else part[rows] for part in (self.values, self.present))
        return _Column(self.field, values, present)


def walk(messages: Sequence[bytes | None], schema: Schema) -> Walked:
    """One row a message, in the columns of their schema."""
    if not messages or any(field.type not in KINDS for field in schema.fields):
        return Walked(pl.DataFrame(schema=schema.columns), list(range(len(messages))), {})
    packed = messages if isinstance(messages, Packed) else Packed.of(messages)
    data, starts, sizes = packed.data, packed.starts, packed.sizes
    is_ours = _has_header(data, starts, sizes, schema)
    rows = np.flatnonzero(is_ours)
    walker = Walker(data, starts[rows] + HEADER_BYTES, starts[rows] + sizes[rows])
    columns = [walker.read(field) for field in schema.fields]
    is_whole = walker.finish()
    if not is_whole.all():
        columns = [column.at(np.flatnonzero(is_whole)) for column in columns]
        rows = rows[is_whole]
    others = np.flatnonzero(~is_ours).tolist()
    high = _high(data) - packed.high_outside - rows.size * _high(schema.header)
    high -= sum(_high(messages[place] or b"") for place in others)
    if not is_whole.all() or high != walker.high:  # some text has bytes above 127
        is_text = _are_valid(columns, data, rows.size)
        if not is_text.all():
            columns = [column.at(np.flatnonzero(is_text)) for column in columns]
            rows = rows[is_text]
    text_views = {column.field.name: column.values for column in columns if column.is_text}
    return Walked(_frame(columns, data, rows.size), np.delete(np.arange(len(messages)), rows).tolist(), text_views)


def _has_header(data: bytes, starts: Numbers, sizes: Numbers, schema: Schema) -> Mask:
    """Which messages begin with the header of the schema and have a size that a message may have."""
    words = np.ndarray((len(data) - 7,), dtype="<u8", buffer=data, strides=(1,))  # eight bytes from any place on
    first, last = (np.uint64(int.from_bytes(part, "little")) for part in (schema.header[:8], schema.header[2:]))
    is_in_size = (sizes >= HEADER_BYTES) & (sizes <= MAX_MESSAGE_BYTES)
    found: Mask = is_in_size & (words[starts] == first) & (words[starts + 2] == last)
    return found


def _high(data: bytes) -> int:
    """Bytes above 127."""
    return int(np.count_nonzero(np.frombuffer(data, dtype=np.uint8) & 0x80))


class Walker:
    """Where each message is read next. One that is not whole goes on from its end; what is read there is not used.

    data: with PADDING behind the last message. starts: where the first field of each stands.
    """

    def __init__(self, data: bytes, starts: Numbers, ends: Numbers) -> None:
        self._bytes: Bytes = np.frombuffer(data, dtype=np.uint8)
        self._words = np.ndarray((len(data) - 7,), dtype="<u8", buffer=data, strides=(1,))
        self._fours = np.ndarray((len(data) - 3,), dtype="<u4", buffer=data, strides=(1,))
        self._sixteen = np.ndarray((len(data) - VIEW + 1,), dtype=f"V{VIEW}", buffer=data, strides=(1,))
        self._at = starts
        self._ends = ends
        self._is_whole = np.ones(ends.size, dtype=bool)
        self.high = 0  # bytes above 127 of numbers; makes sense where every message is whole

    def read(self, field: Field) -> _Column:
        """The next field of every message."""
        if not field.is_nullable:
            column = _Column(field)
            column.values, self._at = self._value(field.type, self._at, None)
        else:
            branch = self._bytes[self._at]
            self._at += 1
            column = self._optional(field, branch)
        self._stay_inside()
        return column

    def number(self) -> Numbers:
        """The next number of every message."""
        values, self._at = self._number(self._at, None)
        self._stay_inside()
        return values

    def skip(self, sizes: Numbers | int) -> Numbers:
        """Go so many bytes on, none of them back; returns the places from where."""
        places = self._at
        self._at = places + sizes
        self._stay_inside()
        return places

    def finish(self) -> Mask:
        """Which messages were read whole: no field was out of the ordinary, and the last one ends where they do."""
        self._is_whole &= self._at == self._ends
        return self._is_whole

    def _optional(self, field: Field, branch: Bytes) -> _Column:
        every = int(np.bitwise_or.reduce(branch))  # of no messages: 0
        if every == 0:
            return _Column(field)
        if every & ~2:
            self._is_whole &= branch & 0xFD == 0
        present = branch == 2
        if present.all():
            column = _Column(field)
            column.values, self._at = self._value(field.type, self._at, None)
            return column
        rows = np.flatnonzero(present)
        values, self._at[rows] = self._value(field.type, self._at[rows], rows)
        column = _Column(field, np.zeros((branch.size, *values.shape[1:]), dtype=values.dtype), present)
        column.values[rows] = values
        return column

    def _value(self, kind: str, at: Numbers, rows: Numbers | None) -> tuple[Any, Numbers]:
        """What stands at these places, of text its views, and the places behind it. rows: whose it is; None: all."""
        if kind == "double":
            values = self._words[at]
            self.high += int(np.count_nonzero(values.view(np.uint8) & 0x80))
            return values.view(np.float64), at + 8
        if kind == "long":
            return self._number(at, rows)
        sizes, at = self._number(at, rows)
        if sizes.min(initial=0) < 0:
            self._refuse(sizes < 0, rows)
            sizes = np.maximum(sizes, 0)
        return self._views(at, sizes), at + sizes

    def _views(self, at: Numbers, sizes: Numbers) -> Views:
        """Text of these sizes at these places. Made while its bytes are near: a moment ago their size was read."""
        views: Views
        if sizes.min(initial=INLINE + 1) > INLINE:
            views = np.zeros((sizes.size, 4), dtype=np.uint32)
            views[:, 1] = self._fours[at]
            views[:, 3] = at
        else:
            views = self._sixteen[at - 4].view("<u4").reshape(sizes.size, 4)  # a header stands before any text
            views &= KEPT_WORDS.take(np.minimum(sizes, INLINE + 1), axis=0)
            if sizes.max() > INLINE:
                views[:, 3] |= np.where(sizes > INLINE, at, 0).astype(np.uint32)
        views[:, 0] = sizes
        return views

    def _number(self, at: Numbers, rows: Numbers | None) -> tuple[Numbers, Numbers]:
        """Zig-zag varints of up to eight bytes, and the places behind them."""
        first = self._bytes[at]
        if not np.bitwise_or.reduce(first) & 0x80:
            # still as bytes: an eighth of the memory
            return ((first >> 1).view(np.int8) ^ -(first & 1).view(np.int8)).astype(np.int64), at + 1
        fours = self._fours[at]
        if (fours & np.uint32(0x8080)).max() < 0x8080:  # two bytes at most: half the work of eight
            is_two = first > 127
            low = fours & np.uint32(0x7F)
            plain = np.where(is_two, fours >> np.uint32(1) & np.uint32(0x3F80) | low, low).astype(np.int64)
            self.high += int(np.count_nonzero(is_two))
            return (plain >> 1) ^ -(plain & 1), at + 1 + is_two
        words = self._words[at]
        stops = ~words & CONTINUES
        if not stops.all():
            endless = stops == 0
            self._refuse(endless, rows)
            stops[endless] = 0x80  # one byte, so that these go on; the others keep theirs
        upto = stops ^ (stops - np.uint64(1))  # the bits of a number's bytes, the stop bit of its last one on top
        words &= upto & ~CONTINUES
        for bits, shift in SEVEN:
            words = (words & ~np.uint64(bits)) | ((words & np.uint64(bits)) >> np.uint64(shift))
        width = np.bitwise_count(upto).astype(np.int64) >> 3
        self.high += int(width.sum()) - width.size
        values = (words >> np.uint64(1)).astype(np.int64) ^ -(words & np.uint64(1)).astype(np.int64)
        return values, at + width

    def _refuse(self, which: Mask, rows: Numbers | None) -> None:
        if rows is None:
            self._is_whole &= ~which
        else:
            self._is_whole[rows[which]] = False

    def _stay_inside(self) -> None:
        beyond = self._at > self._ends
        if beyond.any():
            self._is_whole &= ~beyond
            np.minimum(self._at, self._ends, out=self._at)


def _are_valid(columns: list[_Column], data: bytes, height: int) -> Mask:
    """For each row whether all its text is UTF-8; only asked of a batch that is not plain ASCII."""
    found = np.ones(height, dtype=bool)
    for column in columns:
        if column.is_text:
            raw = cast(pl.Series, pl.from_arrow(_texts(pa.binary_view(), column.values, None, pa.py_buffer(data))))
            try:
                raw.cast(pl.String)
            except pl.exceptions.ComputeError:
                found &= [_is_utf8(value) for value in raw.to_list()]
    return found


def _texts(kind: Any, views: Views, bits: Any, data: Any) -> Any:
    """Views into the bytes of a batch as an Arrow array: of text, which they must be, or of bytes."""
    return pa.Array.from_buffers(kind, len(views), [bits, pa.py_buffer(views), data])


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _frame(columns: list[_Column], data: bytes, height: int) -> pl.DataFrame:
    arrays, buffer = [], pa.py_buffer(data)
    for column in columns:
        kind = ARROW[column.field.type]
        bits = None if column.present is None else pa.py_buffer(np.packbits(column.present, bitorder="little"))
        if column.values is None:
            arrays.append(pa.nulls(height, kind))
        elif column.is_text:
            arrays.append(_texts(kind, column.values, bits, buffer))
        else:
            arrays.append(pa.Array.from_buffers(kind, height, [bits, pa.py_buffer(column.values)]))
    batch = pa.RecordBatch.from_arrays(arrays, [column.field.name for column in columns])
    return pl.DataFrame(batch)
