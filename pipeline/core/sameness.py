"""When are two tool calls the same, in that the second brought nothing new? Pure, no state.

Same: equal tool, target and canonical arguments, and nothing moved: the same result again, or an error again. Arguments
are canonical: key order, `1.0` and `1`, absent and null, a trailing slash and white space make no difference.
A call whose arguments are unknown is no evidence of repetition.

An argument may also jitter: it changes while all else stays, and does not make the call a new one. It counts as jitter
when its name or its value says so (a request id, a time, a nonce), or when it changes in every call of a cycle, also
between calls that stand side by side. A batch over items is not jitter: its calls name each item, in a cycle more than
once, or their results differ.
"""

import re
from dataclasses import dataclass
from typing import Any

import orjson

from schemas.signals import stable_hash

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


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call as far as sameness needs it. `arguments` maps a name to (hash of the value, looks like a nonce)."""

    tool: str | None
    target: str | None
    arguments: dict[str, tuple[str, bool]] | None
    digest: str | None  # digest of the full arguments, where the sender gave one
    result: str | None
    is_error: bool
    is_write: bool


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


def arguments_of(text: str | None) -> dict[str, tuple[str, bool]] | None:
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
    }


def canonical_hash(text: str | None) -> int:
    """A 64-bit hash of the canonical arguments; 0 where there are none."""
    arguments = arguments_of(text)
    if arguments is None:
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
    if is_proof and stays_same and all(_jitters(name, call, beside) for name in differing):
        return frozenset(differing)
    return None


def _jitters(name: str, call: Call, beside: Call | None) -> bool:
    assert call.arguments is not None
    value = call.arguments.get(name)
    if name.lower() in JITTER_NAMES or (value is not None and value[1]):
        return True
    if beside is None or not beside.arguments or name not in beside.arguments:
        return False
    return beside.arguments[name] != value
