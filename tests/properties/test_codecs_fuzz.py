"""No mutation of one message in a batch is accepted wrongly, and none harms its neighbours.

The reference is strict single decoding (`schemas/codecs/single.py`: every byte walked, then fastavro), so what the
block reader hands out for a mutated message must be exactly that, or a rejection.
"""

import math
import random
from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from schemas import registry
from schemas.codecs import Batch, json_events, single
from schemas.codecs.blocks import decode_batch, frame_of
from schemas.codecs.single import UnreadableError
from schemas.errors import Reason
from schemas.events import RECORD_TOPICS
from tests.builders import at, event, metric, span

MESSAGES = 20
FOUND_IN = 900  # rounds of each record in which the seed below found something
ROUNDS = 400  # of each record with a seed that is new in each run
# what is readable may only be refused for these
OUT_OF_RANGE = {
    Reason.TIME_OUT_OF_RANGE,
    Reason.NEGATIVE_NUMBER,
    Reason.NOT_FINITE,
    Reason.UNKNOWN_VALUE,
    Reason.MISSING_FIELD,
    Reason.TEXT_TOO_LONG,
    Reason.NESTED_TOO_DEEP,
    Reason.WRONG_TYPE,  # a count beyond any count
}
Mutation = Callable[[bytearray, random.Random], None]


def flip(data: bytearray, chance: random.Random) -> None:
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def insert(data: bytearray, chance: random.Random) -> None:
    place = chance.randrange(len(data) + 1)
    data[place:place] = chance.randbytes(chance.randint(1, 12))


def delete(data: bytearray, chance: random.Random) -> None:
    place = chance.randrange(len(data))
    del data[place : place + chance.randint(1, 12)]


def overwrite(data: bytearray, chance: random.Random) -> None:
    place = chance.randrange(len(data))
    data[place : place + chance.randint(1, 8)] = chance.randbytes(chance.randint(1, 8))


def huge_number(data: bytearray, chance: random.Random) -> None:
    place = chance.randrange(10, len(data))
    number = chance.choice((2**20, 2**31, 2**40, 2**62, 2**63 - 1)) << 1
    varint = bytearray()
    while number > 0x7F:
        varint.append(number & 0x7F | 0x80)
        number >>= 7
    data[place : place + 1] = varint + bytes([number])


def nudge(data: bytearray, chance: random.Random) -> None:
    """A length, a union index or a number a little greater or less: the mutations that stay well-formed for longest."""
    place = chance.randrange(10, len(data))
    data[place] = (data[place] + chance.choice((-4, -2, -1, 1, 2, 4))) % 256


def swap(data: bytearray, chance: random.Random) -> None:
    one, other = chance.randrange(10, len(data)), chance.randrange(10, len(data))
    data[one], data[other] = data[other], data[one]


def pad(data: bytearray, chance: random.Random) -> None:
    """A number in more bytes than it needs."""
    place = chance.randrange(10, len(data))
    data[place : place + 1] = bytes([data[place] | 0x80, 0])


def double(data: bytearray, chance: random.Random) -> None:
    """The record, or all of the message, once more."""
    data += data[chance.choice((0, 10)) :]


MUTATIONS: tuple[Mutation, ...] = (flip, insert, delete, overwrite, huge_number, nudge, swap, pad, double)


def rows_of(record: str, chance: random.Random) -> list[dict[str, Any]]:
    def text(most: int) -> str:
        return "".join(chance.choice("abcäß€😀{[") for _ in range(chance.randrange(1, most)))

    makers: dict[str, Callable[[int], dict[str, Any]]] = {
        "agent_span": lambda n: span(
            n,
            start_time=at(n - 1),
            parent_span_id=chance.choice((None, text(20))),
            tool_args=chance.choice((None, text(100))),
            input_tokens=chance.choice((0, 63, 64, 8192, 2**40)),
            step=chance.choice((None, n)),
            summary=chance.choice((None, text(100))),
        ),
        "metric_point": lambda n: metric(n, chance.uniform(-1, 1), unit=chance.choice((None, "ms"))),
        "cluster_event": lambda n: event(n, f"e{n}", "flag", "prod/shop/flag/x", value=text(9), labels=None),
    }
    rows = [makers[record](n) for n in range(MESSAGES)]
    return [{name: value for name, value in row.items() if name != "type"} for row in rows]


def reference(value: bytes, record: str) -> dict[str, Any] | None:
    """What strict single decoding gives; None where it refuses."""
    try:
        if json_events.is_json(value):
            found = json_events.decode(value, record)
            return None if found is None else dict(found.__dict__)
        name, row = single.decode(value)
    except UnreadableError:
        return None
    return row if name == record else None


def same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return one == other and math.copysign(1, one) == math.copysign(1, other)
    return type(one) is type(other) and one == other


@pytest.mark.parametrize("seed", [2338797325, None])  # one that found something, and one that is new each time
@pytest.mark.parametrize("record", RECORD_TOPICS)
def test_a_mutated_message_is_refused_or_read_exactly_and_harms_no_neighbour(
    record: str, seed: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds = ROUNDS if seed is None else FOUND_IN
    if seed is None:  # drawn here, because all processes of a run must collect the same tests
        seed = random.SystemRandom().randrange(2**32)
    monkeypatch.delenv("RUST_BACKTRACE", raising=False)  # a trace a panic would take most of the time
    chance = random.Random(f"{record} {seed}")
    columns = [field.name for field in registry.newest(record).fields]
    rows = rows_of(record, chance)
    values = [single.encode(record, row) for row in rows]
    offsets, stamps = list(range(MESSAGES)), [at(60)] * MESSAGES
    whole = frame_of(record, rows, 0, offsets, stamps)
    accepted = 0
    for _ in range(rounds):
        place = chance.randrange(MESSAGES)
        data = bytearray(values[place])
        for _ in range(chance.choice((1, 1, 1, 2, 3))):
            chance.choice(MUTATIONS)(data, chance)
        mutated = bytes(data)
        batch = [mutated if n == place else value for n, value in enumerate(values)]
        decoded = decode_batch(Batch(RECORD_TOPICS[record], 0, offsets, stamps, [None] * MESSAGES, batch), record)
        neighbours = decoded.frame.filter(pl.col("offset") != place)
        assert neighbours.equals(whole.filter(pl.col("offset") != place)), (seed, place, mutated)
        mine = decoded.frame.filter(pl.col("offset") == place)
        assert mine.height + len(decoded.rejected) + decoded.ticks == 1, (seed, place, mutated)
        expected = reference(mutated, record)
        if mine.height:
            accepted += 1
            found = mine.row(0, named=True)
            assert expected is not None, (seed, place, mutated)
            assert all(same(found[name], expected[name]) for name in columns), (seed, place, mutated)
        elif expected is not None:
            assert decoded.rejected[0].reason in OUT_OF_RANGE, (seed, place, mutated)
    # some mutations only change a text or a number: a run without any would have shown nothing
    assert accepted > rounds // 50
