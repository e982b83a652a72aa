"""A load of AgentSpans, as Avro bytes: about 350 bytes each, some 29 fields filled, the same bytes for the same seed.

A fleet of 20 agents in 4 tenants has `concurrent` sessions under way; each does something in its turn (so with 2,000
sessions every 1.8 s), and one that ends is replaced. 45% model calls, 45% tool calls (a tenth of them write), the rest
retrievals and the ends of sessions. Arguments all differ, and nearly all results. Every 200th session gets stuck and
makes one call eight times over: what a detector must find, and all it may find. `Truth` keeps these and the tokens
of each session and minute, so that whoever reads the load can be checked.

Encoded by joining prepared pieces, since a thousand times more bytes are made here than anybody looks at: the pieces
stand in the order of schemas/avro/agent_span.v1.avsc. tests/services/test_load.py reads some back by the real codec.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from schemas import registry
from schemas.times import MICROS, MINUTE

BEGINS = 1_772_366_400 * MICROS
EVENTS_A_SECOND = 2_000_000 / 1_800  # of event time, whatever their number: half an hour for two million
FEWEST, MOST = 150, 350  # spans of a session
STUCK_SPANS, STUCK_AFTER = 16, 12  # 8 equal calls, each with a model call; from so many spans on
TENANTS = ("acme", "globex", "initech", "umbrella")
AGENTS = ("capacity-agent", "triage-agent", "docs-agent", "deploy-agent", "billing-agent")
READ_TOOLS = ("files.read", "search.web", "search.code", "http.get", "tickets.find", "metrics.query")
WRITE_TOOLS = ("kubernetes.scale", "tickets.update")
TARGETS = (
    "deployment/cart",
    "deployment/web",
    "deployment/search",
    "statefulset/cart-db",
    "configmap/flags",
    "job/mail",
)
MODELS = ("model-large-4", "model-small-4")
SMALL = 1 << 17


def varint(value: int) -> bytes:
    """An Avro long."""
    value = (value << 1) ^ (value >> 63)
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def text(value: str) -> bytes:
    """An Avro string."""
    data = value.encode()
    return varint(len(data)) + data


def some(value: str) -> bytes:
    """The string branch of a union with null."""
    return b"\x02" + text(value)


NULL = b"\x00"
NULLS = [NULL * number for number in range(12)]


@dataclass(frozen=True, slots=True)
class Load:
    """Which load. `concurrent`: sessions under way at any time; `rate`: events a second of event time."""

    events: int = 2_000_000
    concurrent: int = 2_000
    seed: int = 7
    begins: int = BEGINS
    rate: float = EVENTS_A_SECOND
    stuck_every: int = 200  # sessions

    @property
    def seconds(self) -> float:
        """Of event time."""
        return self.events / self.rate


@dataclass(slots=True)
class Truth:
    """What is in the load: the session of each loop and when its fifth equal call ended; tokens by session and minute."""

    loops: dict[str, int] = field(default_factory=dict)
    tokens: dict[tuple[str, int], int] = field(default_factory=dict)
    sessions: int = 0
    spans: int = 0
    bytes: int = 0


@dataclass(slots=True)
class _Session:
    name: str
    key: bytes
    owner: bytes  # tenant, trace_id
    who: bytes  # session_id to prompt_version
    root_span: bytes
    left: int
    step: int
    delay: int  # from the end of a span to its append: the same for a session, so that its order is kept
    stuck_from: int  # step; never: 0
    stuck_call: bytes
    stuck_calls: int = 0
    last_chat: bytes = b""
    minute: int = -1
    tokens: int = 0


class Spans:
    """One pass over a load: iterate once, then look at `truth`."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.truth = Truth()
        self._random = random.Random(load.seed)
        self._small = [varint(value) for value in range(SMALL)]
        self._maybe = [b"\x02" + value for value in self._small]
        self._header = registry.newest("agent_span").header

    def __iter__(self) -> Iterator[tuple[bytes, bytes, int]]:
        """Key, value and append time in microseconds, whole milliseconds, never falling."""
        load, truth = self.load, self.truth
        slots = [self._begin(is_first=True) for _ in range(load.concurrent)]
        every = MICROS / load.rate
        lengths = min(1_500_000, max(20_000, int(every * load.concurrent * 0.9)))
        for number in range(load.events):
            slot = number % load.concurrent
            session = slots[slot]
            stamp = (load.begins + int(number * every)) // 1000 * 1000
            value = self._span(session, stamp, lengths)
            truth.bytes += len(value)
            yield session.key, value, stamp
            if session.left == 0:
                self._settle(session)
                slots[slot] = self._begin(is_first=False)
        for session in slots:
            self._settle(session)
        truth.spans = load.events

    def _begin(self, *, is_first: bool) -> _Session:
        number = self.truth.sessions
        self.truth.sessions += 1
        bits = self._random.getrandbits
        tenant, agent = TENANTS[number % 4], AGENTS[number // 4 % 5]
        length = FEWEST + bits(32) % (MOST - FEWEST)
        step = bits(32) % length if is_first else 0  # those under way at the beginning are anywhere in their lives
        left = length - step
        gets_stuck = number % self.load.stuck_every == 0 and left > STUCK_AFTER + STUCK_SPANS + 12
        # and get stuck at any time in what is left of them, not all together
        stuck_after = STUCK_AFTER + (number * 37 % (left - STUCK_AFTER - STUCK_SPANS) if gets_stuck and is_first else 0)
        name = f"run-{self.load.seed:02d}-{number:08d}"
        who = (
            text(name), some(name), text(agent), some(agent.replace("-", " ").title()), some(f"2.{number % 3}.1"),
            some("rightsizing"), some(f"user:{number % 97:02d}"), some(f"{bits(64):016x}"), some("p-17"),
        )  # fmt: skip
        arguments = f'{{"query": "stuck at {number}", "limit": 50}}'
        call = some("tickets.find") + some(arguments) + some(f"{bits(64):016x}") + some(f"{bits(64):016x}")
        return _Session(
            name=name,
            key=f"{tenant}/{name}".encode(),
            owner=text(tenant) + text(f"{bits(128):032x}"),
            who=b"".join(who),
            root_span=some(f"{bits(64):016x}"),
            left=left,
            step=step,
            delay=50_000 + bits(32) % 1_950_000,
            stuck_from=step + stuck_after if gets_stuck else 0,
            stuck_call=call,
        )

    def _settle(self, session: _Session) -> None:
        if session.tokens:
            self.truth.tokens[session.name, session.minute] = session.tokens

    def _span(self, session: _Session, stamp: int, lengths: int) -> bytes:
        dice = self._random.getrandbits(64)
        end = stamp - session.delay
        took = dice % lengths
        session.step += 1
        session.left -= 1
        span = b"\x20%016x" % self._random.getrandbits(64)
        is_stuck = 0 < session.stuck_from <= session.step < session.stuck_from + STUCK_SPANS
        kind = (dice >> 24) % 200
        if session.left == 0:
            parent, body = NULL, _end(self._random.getrandbits(64))
        elif is_stuck and session.step % 2:
            session.stuck_calls += 1
            if session.stuck_calls == 5:
                self.truth.loops[session.name] = end
            parent, body = session.last_chat or session.root_span, TOOL + NULLS[2] + session.stuck_call + AFTER_READ
        elif is_stuck or kind < 90:
            parent, body = session.root_span, self._chat(session, dice >> 32, end)
            session.last_chat = b"\x02" + span
        else:
            parent, body = session.last_chat or session.root_span, self._call(session, kind, dice >> 32)
        tail = self._maybe[session.step] + MAX_STEPS + ATTEMPT
        return b"".join(
            (
                self._header, _time(end), b"\x02", _time(end - took), self._small[took // 1000], session.owner,
                span, parent, session.who, body.replace(b"@STEP@", tail, 1),
            )
        )  # fmt: skip

    def _chat(self, session: _Session, dice: int, end: int) -> bytes:
        context = min(2_000 + 350 * session.step, SMALL - 1)
        written = 20 + dice % 900
        thought = written * (dice >> 10) % 7 // 2 % (written + 1)
        minute = end // MINUTE
        if minute != session.minute:
            self._settle(session)
            session.minute, session.tokens = minute, 0
        session.tokens += context + written
        small = self._small
        return b"".join(
            (
                CHATS[dice & 1], b"\x02\x20%016x" % (dice * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF), NULLS[2],
                small[context], small[written], small[context * 7 // 10], small[thought], self._maybe[context],
                CONTEXT_LIMIT, FINISH[dice >> 4 & 1], b"@STEP@", OK, NULLS[7],
            )
        )  # fmt: skip

    def _call(self, session: _Session, kind: int, dice: int) -> bytes:
        if kind >= 180:  # a tenth: retrievals
            head, after, tool = RETRIEVAL, AFTER_READ, RETRIEVE
            arguments = b'{"question": "how is case %d handled", "k": 8}' % dice
        elif kind < 99:  # a tenth of the tool calls
            head, after = TOOL, AFTER_WRITES[dice % len(AFTER_WRITES)]
            tool = WRITES[dice & 1]
            arguments = b'{"ticket": %d, "replicas": %d, "comment": "as asked"}' % (dice, dice % 40)
        else:
            which = dice % 8
            head, tool = TOOL, READS[which % len(READS)]
            has_target = which == 5
            after = AFTER_TARGETS[dice % len(AFTER_TARGETS)] if has_target else AFTER_READ
            arguments = b'{"path": "/srv/app/part/%d.py", "line": %d}' % (dice, dice % 4_000)
            if dice % 33 == 0:
                after = AFTER_ERROR
        result = self._random.getrandbits(64)
        if result % 20 == 0:
            result = 0xE0E0  # what an empty answer hashes to
        return b"".join(
            (
                head, NULLS[2], tool, b"\x02", self._small[len(arguments)], arguments,
                b"\x02\x20%016x" % (dice * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF), b"\x02\x20%016x" % result, after,
            )
        )  # fmt: skip


def _time(value: int) -> bytes:
    """An Avro long of eight bytes, which every time since 1971 and up to 3111 is."""
    value <<= 1
    return bytes(
        (
            value & 127 | 128, value >> 7 & 127 | 128, value >> 14 & 127 | 128, value >> 21 & 127 | 128,
            value >> 28 & 127 | 128, value >> 35 & 127 | 128, value >> 42 & 127 | 128, value >> 49,
        )
    )  # fmt: skip


TOOL, RETRIEVAL = text("execute_tool"), text("retrieval")
CHATS = [text("chat") + some("example") + some(model) + NULLS[3] for model in MODELS]
FINISH = [some("tool_calls"), some("stop")]
CONTEXT_LIMIT, MAX_STEPS, ATTEMPT, OK = b"\x02" + varint(200_000), b"\x02" + varint(400), varint(1), text("ok")
NO_TOKENS = varint(0) * 4 + NULLS[3]  # the four counts; context_tokens, context_limit, finish_reason
READS, WRITES, RETRIEVE = (
    [some(name) for name in READ_TOOLS],
    [some(name) for name in WRITE_TOOLS],
    some("documents.find"),
)
PLACES = [f"prod-eu/checkout/{target}" for target in TARGETS] + [f"prod-us/orders/{target}" for target in TARGETS]
AFTER_READ = some("read") + NULL + NO_TOKENS + b"@STEP@" + OK + NULLS[7]
AFTER_ERROR = some("read") + NULL + NO_TOKENS + b"@STEP@" + text("error") + some("timeout") + NULLS[6]
AFTER_TARGETS = [some("read") + some(place) + NO_TOKENS + b"@STEP@" + OK + NULLS[7] for place in PLACES]
AFTER_WRITES = [
    some("write") + some(place) + NO_TOKENS + b"@STEP@" + OK + NULL + some("not_required") + NULL
    + some("the queue is long and the case asks for it") + NULLS[3]
    for place in PLACES
]  # fmt: skip


def _end(dice: int) -> bytes:
    return text("invoke_agent") + NULLS[5] + b"\x02\x20%016x" % dice + NULLS[2] + NO_TOKENS + b"@STEP@" + OK + NULLS[7]
