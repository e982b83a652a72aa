"""One line of `when`: a field of the incident and what it must be.

    kind: agent_caused_failure                   equal to
    scope: [prod-eu/checkout, prod-us/checkout]  one of
    severity: {at_least: warning}                in the order info, warning, critical
    attribution.probability: {at_least: 0.8}     a number, or the length of a list

All conditions of a rule must hold. A value that is absent fulfils nothing but `null`. Alternatives are two
rules: there is no "or" and no "not", so that a rule is read in one glance and can be tested on both sides of
each line.
"""

import math
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

from alerts.rules.fields import Type, field
from schemas.incidents import SEVERITIES, Incident

# decided by the life cycle of the incident and by the outbox, never by a rule
NOT_FOR_RULES = frozenset({"status", "revision"})
MAX_VALUES = 1_000


class Condition(BaseModel):
    """What one field must be. Checked against the type of the field when the rule is loaded."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    expected: Any

    @model_validator(mode="after")
    def _check(self) -> "Condition":
        found = field(self.name)
        if self.name in NOT_FOR_RULES or found.type is Type.TIME:
            raise ValueError(f"{self.name} cannot be a condition: remove it; when to tell is decided by the outbox")
        if isinstance(self.expected, dict):
            self._check_least()
            return self
        if found.type is Type.COUNT:
            raise ValueError(f"{self.name} is a list: write {{at_least: 1}} to ask how many entries it has")
        values = self.expected if isinstance(self.expected, list) else [self.expected]
        if not 1 <= len(values) <= MAX_VALUES:
            raise ValueError(f"{self.name} needs between 1 and {MAX_VALUES} values, not {len(values)}")
        for value in values:
            self._check_value(value)
        return self

    def _check_value(self, value: Any) -> None:
        found = field(self.name)
        if value is None:
            if not found.is_nullable:
                raise ValueError(f"{self.name} is never null")
            return
        if found.type is Type.CHOICE:
            if value not in found.choices:
                raise ValueError(f"{self.name} must be one of {', '.join(found.choices)}, not {str(value)[:40]!r}")
        elif found.type is Type.TEXT:
            if not isinstance(value, str):
                raise ValueError(f"{self.name} is text: put {str(value)[:40]} in quotes")
        elif found.type is Type.FLAG:
            if not isinstance(value, bool):
                raise ValueError(f"{self.name} is true or false, not {str(value)[:40]!r}")
        elif not _is_number(value):
            raise ValueError(f"{self.name} is a number, not {str(value)[:40]!r}")

    def _check_least(self) -> None:
        found = field(self.name)
        if set(self.expected) != {"at_least"}:
            raise ValueError(f"{self.name} must be a value, a list of values or {{at_least: x}}")
        least = self.expected["at_least"]
        if self.name == "severity":
            if least not in SEVERITIES:
                raise ValueError(f"severity can be at least {', '.join(SEVERITIES)}, not {str(least)[:40]!r}")
        elif found.type not in (Type.NUMBER, Type.COUNT):
            raise ValueError(f"{self.name} holds {found.type}: at_least is for severity, numbers and lists")
        elif not _is_number(least):
            raise ValueError(f"{self.name} must be at least a number, not {str(least)[:40]!r}")

    def holds(self, incident: Incident) -> bool:
        """Whether this incident fulfils it."""
        value = field(self.name).of(incident)
        if not isinstance(self.expected, dict):
            return value in self.expected if isinstance(self.expected, list) else bool(value == self.expected)
        if value is None:
            return False
        least = self.expected["at_least"]
        if self.name == "severity":
            return SEVERITIES.index(value) >= SEVERITIES.index(least)
        return bool(value >= least)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
