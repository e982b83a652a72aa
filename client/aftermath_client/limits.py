"""limits.yml as Aftermath published it: what it says of one call. The same rules as in the workers, in small.

Of several entries that match, the last one that states a limit wins. Names that this client does not know are ignored.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

MOST_ANSWERS = 2_000
NOTHING: Mapping[str, Any] = {}


@dataclass(slots=True)
class Version:
    """One version, in force from a moment on (None: always)."""

    number: int
    effective_from: int | None
    limits: tuple[Mapping[str, Any], ...] = ()
    reads: tuple[Mapping[str, Any], ...] = ()
    _answers: dict[tuple[str | None, ...], Mapping[str, Any]] = field(default_factory=dict)

    def of(self, call: Mapping[str, str | None]) -> Mapping[str, Any]:
        """Every limit for this call: tenant, agent_id, agent_version, model, tool_name, target."""
        key = tuple(call.values())
        found = self._answers.get(key)
        if found is None:
            stated: dict[str, Any] = {}
            for entry in self.limits:
                if covers(entry.get("match", NOTHING), call):
                    stated.update({name: value for name, value in entry.items() if value is not None})
            stated.pop("match", None)
            if len(self._answers) >= MOST_ANSWERS:
                self._answers.clear()
            found = self._answers[key] = stated
        return found


class Versions:
    """All versions that count, oldest first. Written by one thread; others see whole tuples."""

    def __init__(self) -> None:
        self._versions: tuple[Version, ...] = ()
        self._none = Version(0, None)

    def add(self, record: Mapping[str, Any], appended_at: int) -> str | None:
        """Take the next record of `limits.v1`; what is wrong with it, None where it counts."""
        number, moment = record["version"], record["effective_from"]
        try:
            document = json.loads(record["document"])
            version = Version(number, moment, tuple(document.get("limits", ())), tuple(document.get("reads", ())))
        except (ValueError, AttributeError, TypeError) as error:
            return f"version {number} cannot be read: {error}"
        if self._versions:
            last = self._versions[-1]
            if any(known.number == number for known in self._versions):
                return None
            if number < last.number or moment is None or moment <= (last.effective_from or 0) or moment < appended_at:
                return f"version {number} does not follow version {last.number}"
        self._versions = (*self._versions, version)
        return None

    def in_force(self, now: int) -> Version:
        """The version that holds now; one without limits where none does."""
        for version in reversed(self._versions):
            if version.effective_from is None or version.effective_from <= now:
                return version
        return self._none


def covers(match: Mapping[str, str], call: Mapping[str, str | None]) -> bool:
    """An entry that names a version, a model, a tool or a target says nothing of calls without one."""
    for name, pattern in match.items():
        value = call.get(name)
        if pattern != "*" and (value is None or not fnmatchcase(value, pattern)):
            return False
    return True
