"""The raw attributes of a span as the JSON text that is kept of them: whole, or cut where they are too much."""

from typing import Any, Final

import orjson

from pipeline.ingest.telemetry import Attributes
from pipeline.ingest.values import json_text

ATTRIBUTES_LENGTH: Final = 16_384
FRAGMENT_LENGTH: Final = ATTRIBUTES_LENGTH // 4  # of the resource's part of it
VALUE_LENGTH: Final = 1_024


def text_of(kept: Attributes) -> str:
    """JSON of at most 16,384 characters. Of what is too much, values are cut; then those that come first go."""
    text = dumped(kept)
    if len(text) > ATTRIBUTES_LENGTH:
        kept = shortened(kept)
        text = dumped(kept)
        while len(text) > ATTRIBUTES_LENGTH:  # the last are ours
            kept = dict(list(kept.items())[len(kept) // 2 :])
            text = dumped(kept)
    return text


def shortened(attributes: Attributes) -> Attributes:
    """Each value cut to 1,024 characters."""
    return {name: _shorter(value) for name, value in attributes.items()}


def _shorter(value: Any) -> Any:
    if isinstance(value, str):
        return value[:VALUE_LENGTH]
    return value if isinstance(value, int | float | bool | None | orjson.Fragment) else json_text(value)[:VALUE_LENGTH]


def dumped(value: Attributes) -> str:
    """JSON of attributes; what JSON cannot say (NaN, a number beyond 64 bits, half a character) is said otherwise."""
    try:
        return orjson.dumps(value).decode()
    except (TypeError, ValueError):
        return json_text(value)
