"""What the arguments of a call say in numbers: how much of its target it changes, and to which amount. Pure."""

from typing import Any

import orjson

PERCENT = ("percent", "percentage", "weight", "traffic", "canary", "rollout")
SHARE = ("share", "fraction", "ratio")


def share_of(text: str | None) -> float | None:
    """How much of the target an action changes, in percent, where its arguments say it."""
    for name, value in leaves_of(text):
        words = name.lower().replace("-", "_").split("_")
        if value is True and "canary" in words:
            return 0.0
        if isinstance(value, bool):
            continue
        number = number_of(value)
        if number is not None and not set(words).isdisjoint(SHARE):
            return number * 100 if number <= 1 else number
        if number is not None and not set(words).isdisjoint(PERCENT):
            return number
        if isinstance(value, str) and name.lower() == "strategy" and "canary" in value.lower():
            return 0.0
    return None


def number_of(value: Any) -> float | None:
    """A number, or a text that is one, with or without a percent sign."""
    try:
        return float(value.strip().removesuffix("%")) if isinstance(value, str) else float(value)
    except (TypeError, ValueError):
        return None


def leaves_of(text: str | None) -> list[tuple[str, Any]]:
    """Names and values of a JSON object, and of the objects in it."""
    try:
        found = orjson.loads(text or "{}")
    except orjson.JSONDecodeError:
        return []
    leaves, waiting = [], [found]
    while waiting:
        item = waiting.pop(0)
        for name, value in item.items() if isinstance(item, dict) else ():
            if isinstance(value, dict):
                waiting.append(value)
            else:
                leaves.append((str(name), value))
    return leaves
