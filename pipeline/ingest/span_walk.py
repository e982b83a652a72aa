"""Spans as bytes -> those that have the same attributes in the same order, all of them walked together.

An instrumentation writes few shapes of spans: the same names, in one order, with values of the same kinds. What a shape
says is worked out once (span_columns.py); so all that is left of a span are its values. The place where each span is
read is one number in a column, and a step reads the next field of all of them at once, as schemas/codecs/walk.py does
with Avro. Fields are taken in the order of their numbers, as every writer of protobuf puts them; a span that does not
end where it should has something else in it, and is left out, as are spans with events, links or a trace state: those
are read one by one by protobuf (otlp_protobuf.py), which also says what is wrong with one.

Shapes are told apart by a hash, and then compared name by name with the first of their kind: nobody's bytes can make
one shape pass for another.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from pipeline.ingest.telemetry import NANOS_PER_MICRO
from schemas.codecs.packed import PADDING, Numbers, Packed

Mask = np.ndarray[Any, np.dtype[np.bool_]]

# On the wire a tag is field << 3 | type
TRACE_ID, SPAN_ID, PARENT, NAME, KIND, START, END, ATTRIBUTE = 0x0A, 0x12, 0x22, 0x2A, 0x30, 0x39, 0x41, 0x4A
DROPPED_ATTRIBUTES, DROPPED_EVENTS, DROPPED_LINKS, STATUS, FLAGS = 0x50, 0x60, 0x70, 0x7A, (0x85, 0x01)
MESSAGE, CODE = 0x12, 0x18  # of a status
KEY, VALUE = 0x0A, 0x12  # of a KeyValue
MOST_ATTRIBUTES: Final = 64  # of a span; those with more are rare
TRACE_BYTES, SPAN_BYTES = 16, 8
LONGEST_SAME: Final = 64  # bytes of values that are compared; what is longer is seldom the same
MORE: Final = 0x80  # a length goes on in the next byte

# kinds of values: the tag of AnyValue, where the walk reads it itself
NOTHING, EMPTY, OTHER, TEXT, FLAG, COUNT, REAL = 0, 1, 2, 0x0A, 0x10, 0x18, 0x21

# of a word, by how many of its bytes count: which bits, and which say that a number goes on
BELOW: Final = np.array([(1 << 8 * size) - 1 for size in range(9)], dtype=np.uint64)
GO_ON: Final = BELOW & np.uint64(0x8080808080808080)
STOPS: Final = np.array([0] + [GO_ON[size - 1] for size in range(1, 9)], dtype=np.uint64)
SEVEN: Final = (  # bits to close up, and by how many
    (0x007F007F007F007F, 0x7F007F007F007F00, 1),
    (0x00003FFF00003FFF, 0x3FFF00003FFF0000, 2),
    (0x000000000FFFFFFF, 0x0FFFFFFF00000000, 4),
)
MIX: Final = np.uint64(0x9E3779B97F4A7C15)
ODD: Final = np.array([pow(0x9E3779B97F4A7C15, 2 * step + 1, 1 << 64) for step in range(MOST_ATTRIBUTES)], np.uint64)


@dataclass(slots=True)
class Alike:
    """Spans of one shape. rows: their places among all spans, in order."""

    rows: Numbers
    names: tuple[bytes, ...]
    kinds: tuple[int, ...]
    _of: "_Walked"
    _begin: Numbers = field(init=False)  # of each attribute of each of them
    _end: Numbers = field(init=False)
    is_same: list[bool] = field(init=False)  # of each attribute, whether all of them have the same value

    def __post_init__(self) -> None:
        entries = self._of.entries[: len(self.names), self.rows]
        self._begin, self._end = self._of.begin[entries], self._of.end[entries]
        same = self._of.are_same(self._begin, self._end).tolist()
        self.is_same = [is_same and kind != OTHER for is_same, kind in zip(same, self.kinds, strict=True)]

    def at(self, places: Sequence[int] | Numbers) -> "Alike":
        """Those at these places among them."""
        return Alike(self.rows[places], self.names, self.kinds, self._of)

    def longest(self, number: int) -> int:
        """The bytes of the longest value of an attribute."""
        return int((self._end[number] - self._begin[number]).max())

    def values(self, number: int) -> list[Any]:
        """The values of one attribute; of kind OTHER the bytes of its KeyValue. Raises UnicodeDecodeError."""
        kind, of = self.kinds[number], self._of
        begin, end = self._begin[number], self._end[number]
        if kind == OTHER:
            begin = of.starts[of.entries[number, self.rows]]
            return [of.data[a:b] for a, b in zip(begin.tolist(), end.tolist(), strict=True)]
        if self.is_same[number]:  # then one object stands for all of them
            return self._read(kind, begin[:1], end[:1]) * self.rows.size
        return self._read(kind, begin, end)

    def _read(self, kind: int, begin: Numbers, end: Numbers) -> list[Any]:
        of = self._of
        if kind == TEXT:
            return of.texts(begin, end)
        if kind == COUNT:
            found: list[Any] = of.numbers(begin, end).tolist()
        elif kind == REAL:
            found = of.words[begin].view(np.float64).tolist()
        elif kind == FLAG:
            found = of.bytes[begin].astype(bool).tolist()
        else:
            found = [None if kind == NOTHING else ""] * begin.size
        return found

    def trace_ids(self) -> list[str]:
        """In hex."""
        return self._of.hex(self._of.trace_ids[self.rows], TRACE_BYTES)

    def span_ids(self) -> list[str]:
        """In hex."""
        return self._of.hex(self._of.span_ids[self.rows], SPAN_BYTES)

    def parents(self) -> list[str | None]:
        """In hex; None where there is none."""
        places = self._of.parents[self.rows]
        found = self._of.hex(places, SPAN_BYTES)
        if places.all():
            return list(found)
        return [parent if place else None for parent, place in zip(found, places.tolist(), strict=True)]

    def span_names(self) -> list[str]:
        """Raises UnicodeDecodeError."""
        begin, end = (part[self.rows] for part in self._of.span_names)
        if self._of.are_same(begin[None, :], end[None, :])[0]:
            return self._of.texts(begin[:1], end[:1]) * self.rows.size
        return self._of.texts(begin, end)

    def times(self) -> tuple[Numbers, Numbers]:
        """Start and end, microseconds; an end before the start, or none, is the start."""
        start, end = ((part[self.rows] // NANOS_PER_MICRO).astype(np.int64) for part in self._of.times)
        end = np.maximum(start, end)
        return np.where(start == 0, end, start), end

    def statuses(self) -> Numbers:
        """Their status codes."""
        return self._of.statuses[self.rows]

    def messages(self) -> list[str]:
        """The messages of their statuses. Raises UnicodeDecodeError."""
        return self._of.texts(*(part[self.rows] for part in self._of.messages))


def shapes(spans: Sequence[bytes]) -> tuple[list[Alike], list[int]]:
    """The spans by shape, and the places of those that are left out."""
    walked = _Walked(Packed.of(spans))
    return walked.alike()


class _Walked:
    """Where everything stands in the spans. Entries are all attributes of all spans that are whole.

    entries: entry by step and span. starts: where the KeyValue of an entry begins; begin: its value; end: of both.
    """

    def __init__(self, packed: Packed) -> None:
        self.data = packed.data
        self.bytes = np.frombuffer(packed.data, dtype=np.uint8)
        self.words = np.ndarray((len(packed.data) - 7,), dtype="<u8", buffer=packed.data, strides=(1,))
        self._text = packed.data.decode("latin-1")  # a place in it is one in the bytes
        self._beyond = len(packed.data) - len(PADDING) + 1  # behind the end of every span, and nothing stands there
        self._at = packed.starts
        ends = packed.starts + packed.sizes
        self.trace_ids = self._at + 2
        whole = self._take_exactly(TRACE_ID, TRACE_BYTES)[0]
        self.span_ids = self._at + 2
        whole &= self._take_exactly(SPAN_ID, SPAN_BYTES)[0]
        has, place = self._take_exactly(PARENT, SPAN_BYTES)
        self.parents = np.where(has, place, 0)
        self.span_names = self._take_sized(NAME)
        self._take_byte(KIND)
        self.times = self._take_word(START), self._take_word(END)
        steps: list[tuple[Numbers, Numbers]] = []
        while len(steps) < MOST_ATTRIBUTES and (self.bytes[self._at] == ATTRIBUTE).any():
            before = self._at
            begin, end = self._take_sized(ATTRIBUTE)
            whole &= (begin < end) | (before == end)  # one of no bytes is an attribute, too
            steps.append((begin, end))
        for tag in (DROPPED_ATTRIBUTES, DROPPED_EVENTS, DROPPED_LINKS):
            self._take_byte(tag)
        self._take_status()
        flags = (self.bytes[self._at] == FLAGS[0]) & (self.bytes[self._at + 1] == FLAGS[1])
        self._go(np.where(flags, self._at + 6, self._at))
        whole &= self._at == ends
        self._read_attributes(steps, whole)

    def alike(self) -> tuple[list[Alike], list[int]]:
        """The spans that are whole, by shape, and the places of the others."""
        rows = np.flatnonzero(self._whole)
        found = []
        _, first, of, sizes = np.unique(self._shape[rows], return_index=True, return_inverse=True, return_counts=True)
        whole = self._whole.copy()
        whole[rows] = self._equal(rows, rows[first][of])
        order = rows[np.argsort(of, kind="stable")]
        for group in np.split(order, np.cumsum(sizes)[:-1]):
            group = group[whole[group]]
            if group.size:
                entries = self.entries[: self._counts[group[0]], group[0]]
                found.append(Alike(group, self._names(entries), tuple(self._kinds[entries].tolist()), self))
        return found, np.flatnonzero(~whole).tolist()

    def texts(self, begin: Numbers, end: Numbers) -> list[str]:
        """The texts that stand there. Raises UnicodeDecodeError."""
        found = [self._text[a:b] for a, b in zip(begin.tolist(), end.tolist(), strict=True)]
        if "".join(found).isascii():
            return found
        return [text if text.isascii() else text.encode("latin-1").decode() for text in found]

    def are_same(self, begin: Numbers, end: Numbers) -> Mask:
        """For each line of places whether the same short bytes stand at all of them."""
        sizes = end - begin
        first = sizes[:, :1]
        same: Mask = (first[:, 0] <= LONGEST_SAME) & (sizes == first).all(axis=1)
        lines = np.flatnonzero(same)
        for offset in range(0, int(first[lines].max(initial=0)), 8):
            mask = BELOW[np.clip(first[lines] - offset, 0, 8)]
            words = self.words[np.minimum(begin[lines] + offset, self._beyond)] & mask
            same[lines] = (words == words[:, :1]).all(axis=1)
            lines = np.flatnonzero(same)
        return same

    def numbers(self, begin: Numbers, end: Numbers) -> Numbers:
        """The varints that stand there, of at most eight bytes."""
        found = self.words[begin] & (BELOW ^ GO_ON)[end - begin]
        for low, high, bits in SEVEN:
            found = (found & np.uint64(low)) | ((found & np.uint64(high)) >> np.uint64(bits))
        signed: Numbers = found.view(np.int64)
        return signed

    def hex(self, places: Numbers, size: int) -> list[str]:
        """So many bytes from each place on, in hex."""
        whole = self.bytes[places[:, None] + np.arange(size)].tobytes().hex()
        return [whole[at : at + 2 * size] for at in range(0, len(whole), 2 * size)]

    def _go(self, to: Numbers) -> None:
        """Nobody goes further than the padding, and who gets there is not whole."""
        self._at = np.minimum(to, self._beyond)

    def _take_exactly(self, tag: int, size: int) -> tuple[Mask, Numbers]:
        has = (self.bytes[self._at] == tag) & (self.bytes[self._at + 1] == size)
        place = self._at + 2
        self._go(np.where(has, place + size, self._at))
        return has, place

    def _take_sized(self, tag: int) -> tuple[Numbers, Numbers]:
        """Where it begins and ends: the same where there is none."""
        has = self.bytes[self._at] == tag
        begin, size = self._size(self._at + 1)
        begin = np.where(has, begin, self._at)
        self._go(np.where(has, begin + size, self._at))
        return begin, self._at

    def _take_byte(self, tag: int) -> Numbers:
        """A number of one byte; 0 where there is none."""
        value = self.bytes[self._at + 1]
        has = (self.bytes[self._at] == tag) & (value < MORE)
        self._go(np.where(has, self._at + 2, self._at))
        return np.where(has, value, 0)

    def _take_word(self, tag: int) -> Numbers:
        has = self.bytes[self._at] == tag
        value = np.where(has, self.words[self._at + 1], 0)
        self._go(np.where(has, self._at + 9, self._at))
        return value

    def _take_status(self) -> None:
        has = self.bytes[self._at] == STATUS
        begin, size = self._size(self._at + 1)
        inside = np.where(has, begin, self._at)
        end = np.where(has, np.minimum(begin + size, self._beyond), self._at)
        # what is behind the status of others is none of it: those look at the padding
        self._at = np.where(has & (size > 0), inside, self._beyond)
        self.messages = self._take_sized(MESSAGE)
        self.statuses = self._take_byte(CODE)
        self._at = np.where(~has | (size == 0) | (self._at == end), end, self._beyond)

    def _size(self, at: Numbers) -> tuple[Numbers, Numbers]:
        """A length of at most three bytes that stands there: where it ends, and what it says; more is never right."""
        size = self.bytes[at].astype(np.int64)
        end = at + 1
        for bits in (7, 14):
            goes_on = (size >> bits) > 0
            if not goes_on.any():
                return end, size
            more = self.bytes[np.minimum(end, self._beyond)].astype(np.int64)
            size = np.where(goes_on, (size & ((1 << bits) - 1)) | more << bits, size)
            end = end + goes_on
        return end, size  # with a fourth byte: two megabytes at least, behind the end of any message

    def _read_attributes(self, steps: list[tuple[Numbers, Numbers]], whole: Mask) -> None:
        begins = np.array([begin for begin, _ in steps], dtype=np.int64).reshape(len(steps), whole.size)
        ends = np.array([end for _, end in steps], dtype=np.int64).reshape(len(steps), whole.size)
        present = (begins < ends) & whole
        self._counts = present.sum(axis=0)
        self.entries = np.cumsum(present).reshape(present.shape) - 1  # where there is one
        self.starts, self.end = begins[present], ends[present]
        good = self._read_keys()
        good &= self._read_values()
        self._steps, self._spans = np.nonzero(present)
        whole[self._spans[~good]] = False
        self._whole = whole
        hashes = np.zeros(present.shape, dtype=np.uint64)
        hashes[present] = (self._hashes ^ self._kinds.astype(np.uint64)) * MIX
        self._shape = (hashes * ODD[: len(steps), None]).sum(axis=0, dtype=np.uint64)

    def _read_keys(self) -> Mask:
        """Where keys are and what their words are, and which are not as they should be."""
        size = self.bytes[self.starts + 1].astype(np.int64)
        good: Mask = (self.bytes[self.starts] == KEY) & (self.starts + 2 + size <= self.end) & (size < MORE)
        size = np.where(good, size, 0)
        self._key_sizes = size
        self._key_words = []
        mask = BELOW[np.minimum(size, 8)]
        last = np.maximum(size - 8, 0)  # from there on eight bytes, or as many as there are
        self._hashes = size.astype(np.uint64)
        begin = self.starts + 2
        for offset, odd in zip(range(0, int(size.max(initial=0)), 8), ODD, strict=False):
            word = self.words[begin + np.minimum(last, offset)] & mask
            self._hashes += word * odd
            self._key_words.append(word)
        self._hashes ^= self._hashes >> np.uint64(29)
        return good

    def _read_values(self) -> Mask:
        """Where values are and of which kinds, and which are not as they should be."""
        value = np.minimum(self.starts + 2 + self._key_sizes, self._beyond)
        inside, size = self._size(value + 1)
        good: Mask = (self.bytes[value] == VALUE) & (inside + size == self.end)
        inside = np.where(good, inside, self._beyond)
        tag = self.bytes[inside]
        begin, length = self._size(inside + 1)
        number = inside + 1
        digits = np.clip(size - 1, 0, 8)
        word = self.words[number]
        kinds = np.full(size.size, OTHER, dtype=np.uint8)
        is_text = (tag == TEXT) & (begin + length == self.end)
        kinds[is_text] = TEXT
        kinds[is_text & (length == 0)] = EMPTY
        kinds[(tag == FLAG) & (size == 2) & (self.bytes[number] < 2)] = FLAG
        kinds[(tag == COUNT) & (size - 1 == digits) & (digits > 0) & ((word & GO_ON[digits]) == STOPS[digits])] = COUNT
        kinds[(tag == REAL) & (size == 9)] = REAL
        kinds[size == 0] = NOTHING
        self.begin = np.where(is_text, begin, number)
        self._kinds = kinds
        return good

    def _equal(self, rows: Numbers, others: Numbers) -> Mask:
        """Whether each of these spans has the shape of the other at the same place."""
        equal: Mask = self._counts[rows] == self._counts[others]
        other = np.arange(self._whole.size)
        other[rows] = np.where(equal, others, rows)
        theirs = self.entries[self._steps, other[self._spans]]
        same = (self._kinds == self._kinds[theirs]) & (self._key_sizes == self._key_sizes[theirs])
        for word in self._key_words:
            same &= word == word[theirs]
        differs = np.zeros(self._whole.size, dtype=bool)
        differs[self._spans[~same]] = True
        return equal & ~differs[rows]

    def _names(self, entries: Numbers) -> tuple[bytes, ...]:
        begin = (self.starts[entries] + 2).tolist()
        sizes = self._key_sizes[entries].tolist()
        return tuple(self.data[at : at + size] for at, size in zip(begin, sizes, strict=True))
