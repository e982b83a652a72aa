"""When are two tool calls the same, in that the second brought nothing new? Pure, no state.

Same: equal tool, target and canonical arguments, and nothing moved: the same result again, or an error again. Arguments
are canonical: key order, `1.0` and `1`, absent and null, a trailing slash and white space make no difference.
A call whose arguments are unknown is no evidence of repetition.

An argument may also jitter: it changes while all else stays, and does not make the call a new one. It counts as jitter
when its name or its value says so (a request id, a time, a nonce), or when it changes in every call of a cycle, also
between calls that stand side by side (of calls that fail only where they fail at the same thing). A batch over items is
not jitter: its calls name each item, in a cycle more than once, or their results differ. A write that is answered the
same proves nothing: ten edits of one file are answered "ok" ten times. There only arguments that are volatile by name
count, for what is written and a note that does not matter cannot be told apart. What is not known to read may write,
but for a hand-off.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any

import orjson

from schemas.signals import stable_hash
from schemas.times import MICROS

MAX_ARGUMENTS = 32
JITTER_NAMES = frozenset(
    [
        "request_id",
        "requestid",
        "nonce",
        "trace_id",
        "span_id",
        "correlation_id",
        "idempotency_key",
        "timestamp",
        "ts",
        "time",
        "now",
        "date",
        "since",
        "until",
        "timeout",
        "seed",
        "attempt",
        "retry",
        "retries",
        "revision",
        "rev",
        "run_id",
        "uuid",
        "etag",
        "cursor",
        "offset",
        "page",
        "page_token",
        "checksum",
    ]
)
NONCE = re.compile(
    r"^([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"  # uuid
    r"|(?=.*[0-9])(?=.*[a-f])[0-9a-f]{12,}"  # hexadecimal digest
    r"|1[0-9]{9}([0-9]{3}){0,2}"  # unix time in s, ms or us
    r"|[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:.]+(Z|[+-][0-9:]+)?)$"  # RFC 3339
)


TOKEN = re.compile(r"[\w./:@#?&=%+-]+")
NAMES = re.compile(r"\d|\w[./:@#_]\w")  # in a token that names something: a path, an address, an id, a number
THING = re.compile(r"(?=.*[^\W\d_]).{6}")  # of such: more than a number, an option or a version
MOST_TEXT = 4_000  # characters that are looked at for names
MOST_NAMES = 16
NUMBER = re.compile(r"\d+(?:\.\d+)?")
LEAST_WAIT = 5 * MICROS
GESTURES = frozenset(["click", "press", "tap", "scroll", "swipe", "key", "keypress"])
WORD = re.compile(r"[A-Z]?[a-z]+")
WAIT_SLACK = 2 * MICROS
Arguments = Mapping[str, tuple[str, bool]]


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call as far as sameness needs it. `arguments` maps a name to (hash of the value, looks like a nonce).

    names: hashes of what its arguments name (paths, addresses, ids, numbers): words say it, they do not name it.
    things: its target, and those of the names that are more than a number; of a call that failed.
    may_write: nobody said that it only looks.
    is_wait: it says how long it takes, and takes that long: one of its numbers is its duration.
    is_gesture: it presses or scrolls something on a page, and its answer is the page: another one means it moved.
    """

    tool: str | None
    target: str | None
    arguments: Arguments | None
    digest: str | None  # digest of the full arguments, where the sender gave one
    result: str | None
    is_error: bool
    is_write: bool
    names: tuple[int, ...] = ()
    is_wait: bool = False
    things: tuple[int, ...] = ()
    may_write: bool = False
    is_gesture: bool = False


def call_of(row: Mapping[str, Any], volatile: Iterable[str] = ()) -> Call:
    """The call of an AgentSpan row; arguments that are declared volatile do not belong to it."""
    is_error = row["status"] == "error"
    arguments, names, is_gesture = _told(row["tool_args"], tuple(volatile))
    return Call(
        tool=row["tool_name"],
        target=row["target"],
        arguments=arguments,
        digest=None if volatile else row["args_digest"],
        result=row["result_digest"],
        is_error=is_error,
        is_write=row["access"] not in (None, "read"),
        names=names,
        is_wait=not is_error and _waits(row["tool_args"], row["event_time"] - row["start_time"]),
        things=_things(row["target"], row["tool_args"]) if is_error else (),
        may_write=row["access"] != "read" and row["operation"] != "handoff",
        is_gesture=is_gesture or _names_gesture(row["tool_name"]),
    )


@lru_cache(maxsize=1_000)
def _told(text: str | None, volatile: tuple[str, ...]) -> tuple[Arguments | None, tuple[int, ...], bool]:
    """What the text of a call's arguments holds: them, their names, and whether one is a gesture (`{"do": "click"}`).

    Kept, since a call that is looked at repeats: most of the time of a loop's calls went here.
    """
    arguments = arguments_of(text, volatile)
    is_gesture = not GESTURES.isdisjoint(value.lower() for value in _strings(text))
    return arguments, names_in(text) if arguments else (), is_gesture


@lru_cache(maxsize=1_000)
def _names_gesture(tool: str | None) -> bool:
    """By a word of the tool's name: `browser_click`."""
    return not GESTURES.isdisjoint(word.lower() for word in WORD.findall(tool or ""))


def names_in(text: str | None) -> tuple[int, ...]:
    """Hashes of what a text names, each once, in order; a target that was named before is no new one."""
    return _hashes(_named(text))


def _things(target: str | None, text: str | None) -> tuple[int, ...]:
    return _hashes(name for name in (target or "", *_named(text)) if THING.match(name))


def _named(text: str | None) -> list[str]:
    tokens = TOKEN.findall(" ".join(_strings(text))[:MOST_TEXT])
    return list(dict.fromkeys(token.strip(".:?") for token in tokens if NAMES.search(token)))


def _hashes(names: Iterable[str]) -> tuple[int, ...]:
    return tuple(int(stable_hash(name), 16) for name in islice(names, MOST_NAMES))


def _strings(text: str | None) -> list[str]:
    try:
        value = orjson.loads(text or "")
    except orjson.JSONDecodeError:
        return [text or ""]
    waiting, found = [value], []
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item
        else:
            found.append(str(item))
    return found


def _waits(text: str | None, duration: int) -> bool:
    if duration < LEAST_WAIT or not text:
        return False
    stated = (float(number) for number in NUMBER.findall(text))
    return any(
        abs(duration - number * unit) <= WAIT_SLACK + duration // 20 for number in stated for unit in (MICROS, 1000)
    )


def canonical(value: Any) -> Any:
    """The value in its plainest form."""
    if isinstance(value, dict):
        return {key: canonical(item) for key, item in sorted(value.items()) if item is not None}
    if isinstance(value, list):
        return [canonical(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str):
        text = " ".join(value.split())
        return text[:-1] if len(text) > 1 and text.endswith("/") else text
    return value


def arguments_of(text: str | None, volatile: Iterable[str] = ()) -> Arguments | None:
    """Canonical arguments by name; what is not a JSON object counts as one argument. None where there are none."""
    if not text:
        return None
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        value = text
    fields = canonical(value) if isinstance(value, dict) else {"": canonical(value)}
    return {
        name: (stable_hash(item), isinstance(item, str | int) and bool(NONCE.match(str(item))))
        for name, item in list(fields.items())[:MAX_ARGUMENTS]
        if name not in volatile
    }


def canonical_hash(text: str | None, volatile: Iterable[str] = ()) -> int:
    """A 64-bit hash of the canonical arguments; 0 where there are none."""
    arguments = arguments_of(text, volatile)
    if not arguments:
        return 0
    return int(stable_hash(sorted(arguments.items())), 16) or 1


def repeats(call: Call, earlier: Call, beside: Call | None) -> frozenset[str] | None:
    """The arguments that jitter (none: equal), or None where `call` is something new compared with `earlier`.

    `beside` is the call right before `call`, when the two compared are further apart than that.
    """
    if (call.tool, call.target) != (earlier.tool, earlier.target) or call.is_error != earlier.is_error:
        return None
    if not call.is_error and call.result != earlier.result:
        return None  # the world moved
    if call.digest is not None and call.digest == earlier.digest:
        return frozenset()
    if call.arguments is None or earlier.arguments is None:
        return None
    names = call.arguments.keys() | earlier.arguments.keys()
    differing = {name for name in names if call.arguments.get(name) != earlier.arguments.get(name)}
    if not differing:
        # arguments that were cut before they reached us may look equal: then the digest decides
        return None if call.digest != earlier.digest else frozenset()
    is_proof = call.is_error or call.result is not None or call.is_write
    stays_same = len(differing) < len(names) or call.target is not None
    if call.is_error and beside is not None and set(call.things).isdisjoint(earlier.things):
        beside = None  # a list of things, each of which is not there, is gone through
    if is_proof and stays_same and all(_jitters(name, call, beside) for name in differing):
        return frozenset(differing)
    return None


def _jitters(name: str, call: Call, beside: Call | None) -> bool:
    arguments = call.arguments or {}
    value = arguments.get(name)
    if name.lower() in JITTER_NAMES:
        return True
    if value is not None and value[1] and (call.target is not None or call.is_error or not call.is_write):
        return True
    if call.may_write and not call.is_error:
        return False  # "ok" says nothing of what was written: a batch over items, or edits of one file, look the same
    if beside is None or not beside.arguments or name not in beside.arguments:
        return False
    return beside.arguments[name] != value
