"""Rules over many incidents: how often one like this began within a time. `times` of a rule.

Decided by the incidents alone, in event time: those that match the rule, have the same values of `by` (and the tenant),
and began no more than `within` before this one, this one included. Withdrawn ones do not count.

Memory: for each rule with `times` and value of `by`, the beginnings of the last `within`, at most `MOST` of them.
"""

from collections.abc import Sequence

from alerts.rules.fields import field
from alerts.rules.model import Rule
from schemas.incidents import Incident

MOST = 1_000
Key = tuple[str, ...]


class History:
    """What began, for the rules that ask."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = [version for rule in rules for version in _versions(rule) if version.times is not None]
        self._began: dict[Key, dict[str, int]] = {}

    @property
    def is_needed(self) -> bool:
        """Whether any rule looks back."""
        return bool(self._rules)

    def note(self, incident: Incident) -> None:
        """A revision, in any order."""
        for rule in self._rules:
            began = self._began.setdefault(_key(rule, incident), {})
            if incident.status == "withdrawn" or not rule.matches(incident):
                began.pop(incident.incident_id, None)
                continue
            began[incident.incident_id] = incident.started_at
            oldest = max(began.values()) - (rule.times.within if rule.times else 0)
            kept = sorted(((at, name) for name, at in began.items() if at > oldest), reverse=True)[:MOST]
            self._began[_key(rule, incident)] = {name: at for at, name in kept}

    def holds(self, rule: Rule, incident: Incident) -> bool:
        """Whether enough began; a rule without `times` asks for nothing. The incident itself was noted."""
        if rule.times is None:
            return True
        began = self._began.get(_key(rule, incident), {})
        since = incident.started_at - rule.times.within
        return sum(since < at <= incident.started_at for at in began.values()) >= rule.times.count


def _versions(rule: Rule | None) -> list[Rule]:
    return [] if rule is None else [rule, *_versions(rule.before)]


def _key(rule: Rule, incident: Incident) -> Key:
    names = rule.times.by if rule.times else ()
    return (rule.id, str(rule.effective_from), incident.tenant, *(str(field(name).of(incident)) for name in names))
