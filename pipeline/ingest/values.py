"""What the values of attributes become: names, digests, JSON text. Any value is taken; nothing is raised."""

import hashlib
from typing import Any, Final

import orjson

from schemas.codecs.nesting import is_too_deep
from schemas.events import NAME_LENGTH

DIGEST: Final = hashlib.blake2b(digest_size=8)  # copied for each digest: that takes 0.6 of the time of a new one


def name_of(value: Any) -> str | None:
    """A value as a name: text of at most 512 characters; None where there is none."""
    if type(value) is str and 0 < len(value) <= NAME_LENGTH:  # nearly all are
        return value
    if value is None or value == "" or isinstance(value, list | dict):
        return None
    text = value if isinstance(value, str) else str(value)
    return text if len(text) <= NAME_LENGTH else text[:NAME_LENGTH]


def parsed(value: Any) -> Any:
    """Arguments as they are, or as the JSON in a text says; a text that is none stays a text."""
    if not isinstance(value, str):
        return value
    if value[:1] in "[{" and not is_too_deep(value):
        try:
            return orjson.loads(value)
        except ValueError:
            pass
    return value


def json_bytes(value: Any) -> bytes:
    """JSON that is the same for the same value."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except (
        TypeError,
        ValueError,
    ):  # a number beyond 64 bits, half a character: JSON cannot say them
        return orjson.dumps(str(value).encode("utf-8", "replace").decode())


def json_text(value: Any) -> str:
    """The same as text."""
    return json_bytes(value).decode()


def digest(value: Any) -> str:
    """Of a result: the same for the same JSON, however its keys are ordered."""
    return digest_of(json_bytes(parsed(value)))


def digest_of(data: bytes) -> str:
    """Sixteen hex digits."""
    found = DIGEST.copy()
    found.update(data)
    return found.hexdigest()
